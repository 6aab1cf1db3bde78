package profile

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"arf/torch"
)

func TestProfile(t *testing.T) {
	torch.SetThreads(1)
	const n, steps = 64, 3
	p := &Profile{Warmup: 2, Steps: steps}
	for range p.Warmup + p.Steps {
		p.Begin(torch.CPU)
		p.Phase("wait")
		time.Sleep(20 * time.Millisecond)
		torch.Scope(func() {
			p.Phase("product")
			torch.Randn(torch.CPU, n, n).MatMul(torch.Randn(torch.CPU, n, n)).ReLU()
		})
		p.Sums(torch.Overlap{Buckets: 4, Overlapped: 3, Bytes: 52e6})
		p.End()
	}
	r := p.Report(torch.Float32, 8)
	r.Method = "arf"
	find := func(name string) (found Phase) {
		for _, phase := range r.Phases {
			if phase.Name == name {
				return phase
			}
		}
		t.Fatalf("no phase %s: %+v", name, r.Phases)
		return
	}
	want := 2.0 * n * n * n / 1e9 // a step; warm-up doesn't count
	if got := find("product"); math.Abs(got.GFLOP-want) > 1e-9 || got.OperatorSeconds <= 0 || got.OperatorSeconds > got.Seconds {
		t.Errorf("product: %+v, want %g GFLOP", got, want)
	}
	if got := find("wait"); got.Seconds < 0.02 || got.GFLOP != 0 {
		t.Errorf("wait: %+v", got)
	}
	sum := 0.0
	for _, phase := range r.Phases {
		sum += phase.Seconds
	}
	if math.Abs(sum-r.StepSeconds) > 1e-6*r.StepSeconds {
		t.Errorf("the phases take %g s, the step %g", sum, r.StepSeconds)
	}
	if m := r.Machine; m.GFLOPs <= 0 || m.GBPerSecond <= 0 || r.Utilisation <= 0 || r.Utilisation > 1 || r.RooflineSeconds <= 0 || r.RooflineSeconds > r.StepSeconds {
		t.Errorf("%+v, utilisation %g, roofline %g s", m, r.Utilisation, r.RooflineSeconds)
	}
	path := filepath.Join(t.TempDir(), "profile.json")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(data, &back); err != nil || back.GFLOP != r.GFLOP || len(back.Classes) != len(r.Classes) {
		t.Errorf("%v: %+v", err, back)
	}
	var b bytes.Buffer
	if err := r.Table(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"matrix product", "activation", "wait", "3 steps of 8 images", "52.0 MB in 4 buckets, 3 of them sent during"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
	var none *Profile // as in a run without
	none.Begin(torch.CPU)
	none.Phase("x")
	none.Sums(torch.Overlap{})
	none.End()
}

func TestClasses(t *testing.T) {
	for op, want := range map[string]string{
		"aten::addmm": "matrix product", "aten::mkldnn_convolution": "convolution", "aten::convolution_backward": "convolution",
		"aten::_foreach_add_": "elementwise and sums", "aten::native_layer_norm_backward": "normalisation",
		"autograd::engine::evaluate_function: AddmmBackward0": "autograd", "aten::copy_": "copy, cast, fill", "aten::add_": "elementwise and sums",
		"aten::_log_softmax": "softmax and loss", "aten::silu_backward": "activation", "aten::as_strided": "views and others",
		"aten::embedding_dense_backward": "embedding and index", "aten::avg_pool2d": "pooling",
	} {
		if got := classOf(op); got != want {
			t.Errorf("%s is in %q, want %q", op, got, want)
		}
	}
}
