package finetune

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/clip"
	"arf/eval"
	"arf/imaging"
	"arf/nn"
	"arf/torch"
	"arf/train"
)

func TestZeroLambdaIsFLYP(t *testing.T) {
	data := pictures(16, 3)
	run := func(method Method, lambda float64) string {
		m := tiny(t)
		o := quick(method)
		o.LambdaTCA, o.LambdaITA = lambda, lambda
		mustRun(t, m, data, o)
		return weights(m)
	}
	flyp := run(FLYP, 0)
	for _, method := range []Method{FLYPTCA, FLYPITA, ARF} {
		if run(method, 0) != flyp {
			t.Errorf("%s with λ = 0 differs from flyp", method)
		}
		if run(method, 1) == flyp {
			t.Errorf("%s with λ = 1 is flyp", method)
		}
	}
}

// All methods see the same images and prompts.
func TestTheClassTermIsTheSameInEveryMethod(t *testing.T) {
	data := pictures(16, 3)
	first := func(method Method) float64 {
		o := quick(method)
		o.StopAfter = 1
		var loss float64
		o.Progress = func(m train.Metrics) { loss = m.Terms["class"] }
		if _, err := Run(context.Background(), tiny(t), data, o); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		return loss
	}
	want := first(FLYP)
	for _, method := range []Method{FLYPTCA, FLYPITA, ARF} {
		if got := first(method); math.Abs(got-want) > 1e-5*want {
			t.Errorf("%s begins with a class loss of %.7f, flyp with %.7f", method, got, want)
		}
	}
}

func TestResumeIsBitIdentical(t *testing.T) {
	data := pictures(18, 3) // the last two of an epoch's order are left out
	for name, test := range map[string]struct {
		model func(testing.TB) *clip.Model
		set   func(*Options)
	}{
		"arf fp32":        {tiny, func(*Options) {}},
		"arf bf16":        {tiny, func(o *Options) { o.Precision = torch.BFloat16 }},
		"arf mask":        {tiny, func(o *Options) { o.Negatives = Mask }},
		"arf soft bf16":   {tiny, func(o *Options) { o.Negatives, o.Precision = Soft, torch.BFloat16 }},
		"ft":              {tiny, func(o *Options) { o.Method = FT }},
		"batch norm fp32": {tinyResNet, func(o *Options) { o.TrainBatchNorm = true }},
	} {
		t.Run(name, func(t *testing.T) {
			options := func(dir string) Options {
				o := quick(ARF)
				test.set(&o)
				o.Dir = dir
				return o
			}
			run := func(ctx context.Context, o Options) (string, error) {
				m := test.model(t)
				data := data
				if o.Method == FT {
					data.ZeroShotHead = head(t, m)
				}
				result, err := Run(ctx, m, data, o)
				if err != nil {
					return "", err
				}
				return weights(m) + fmt.Sprint(result.Head), nil
			}
			want, err := run(context.Background(), options(""))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			o := options(dir)
			o.StopAfter = 5
			if _, err := run(context.Background(), o); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			// Ctrl-C while the feed works ahead.
			ctx, cancel := context.WithCancel(context.Background())
			o = options(dir)
			o.Progress = func(m train.Metrics) {
				if m.Step == 7 {
					cancel()
				}
			}
			if _, err := run(ctx, o); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			got, err := run(context.Background(), options(dir))
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Error("the weights differ from an uninterrupted run's")
			}
			if steps := metricsOf(t, dir); len(steps) != 12 {
				t.Errorf("%d lines of metrics, want 12", len(steps))
			}
			// Once more: nothing to do, the same weights.
			if got, err = run(context.Background(), options(dir)); err != nil || got != want {
				t.Errorf("the finished run restores other weights, or fails: %v", err)
			}
		})
	}
}

func metricsOf(t *testing.T, dir string) []map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []map[string]any
	for line := range bytes.Lines(data) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, m)
	}
	return lines
}

func TestKilledRunGoesOnFromItsLastCheckpoint(t *testing.T) {
	data := pictures(16, 3)
	m := tiny(t)
	mustRun(t, m, data, quick(ARF))
	want := weights(m)
	dir := t.TempDir()
	o := quick(ARF)
	o.Dir, o.CheckpointEvery, o.KeepCheckpoints = dir, 3, 2
	const killed = "killed"
	func() {
		defer func() {
			if r := recover(); r != killed {
				t.Fatalf("recovered %v", r)
			}
		}()
		o := o
		o.Progress = func(m train.Metrics) {
			if m.Step == 8 {
				panic(killed)
			}
		}
		_, _ = Run(context.Background(), tiny(t), data, o)
	}()
	if lines := metricsOf(t, dir); len(lines) != 8 {
		t.Fatalf("%d lines of metrics at the kill", len(lines))
	}
	m = tiny(t)
	mustRun(t, m, data, o)
	if weights(m) != want {
		t.Error("the weights differ from an uninterrupted run's")
	}
	if lines := metricsOf(t, dir); len(lines) != 12 || lines[6]["step"] != 7.0 {
		t.Errorf("%d lines of metrics", len(lines))
	}
}

func TestOtherDataOrOptionsAreRefusedOnResume(t *testing.T) {
	data := pictures(16, 3)
	dir := t.TempDir()
	o := quick(ARF)
	o.Dir, o.StopAfter = dir, 2
	if _, err := Run(context.Background(), tiny(t), data, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Data, *Options){
		"seed":     func(_ *Data, o *Options) { o.Seed++ },
		"lambda":   func(_ *Data, o *Options) { o.LambdaITA = 2 },
		"captions": func(d *Data, _ *Options) { d.Captions["circle/0.png"] = []string{"a red circle"} },
		"pairs":    func(d *Data, _ *Options) { d.Pairs["circle/0.png"] = []PairRef{{Row: 7}} },
		"template": func(d *Data, _ *Options) { d.Templates = []string{"{}"} },
		"hash":     func(_ *Data, o *Options) { o.Hash = "other" },
	} {
		data, o := pictures(16, 3), o
		change(&data, &o)
		if _, err := Run(context.Background(), tiny(t), data, o); err == nil || !strings.Contains(err.Error(), "another config or other data") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	o.Workers, o.CheckpointEvery = 1, 1
	if _, err := Run(context.Background(), tiny(t), data, o); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "step 4 of 12") {
		t.Errorf("other workers: %v", err)
	}
}

func TestSixteenPicturesAreLearned(t *testing.T) {
	for _, method := range []Method{FT, ARF} {
		t.Run(string(method), func(t *testing.T) {
			data := pictures(16, 3)
			m := tiny(t)
			data.ZeroShotHead = head(t, m)
			o := quick(method)
			o.BatchSize, o.Epochs, o.LR, o.Negatives, o.Augment = 16, 90, 1e-3, Mask, imaging.Augment{}
			var losses []train.Metrics
			o.Progress = func(m train.Metrics) { losses = append(losses, m) }
			before := accuracy(t, m, nil, data)
			result := mustRun(t, m, data, o)
			after := accuracy(t, m, result.Head, data)
			for name, first := range losses[0].Terms {
				mean := 0.0 // of the last ten, as texts are drawn
				for _, l := range losses[len(losses)-10:] {
					mean += l.Terms[name] / 10
				}
				if mean > first/2 {
					t.Errorf("%s went from %.3f to %.3f, want half or less", name, first, mean)
				}
			}
			if after < 0.95 {
				t.Errorf("accuracy on the pictures themselves went from %.2f to %.2f", before, after)
			}
			if result.Steps != 90 || result.Last.Step != 90 || result.StepsPerEpoch != 1 || result.Broken.Count+result.BrokenPairs.Count+result.Truncated+result.Skipped != 0 {
				t.Errorf("result %+v", result)
			}
		})
	}
}

// head is the zero-shot head of the shapes.
func head(t testing.TB, m *clip.Model) *eval.Head {
	t.Helper()
	h, err := eval.ZeroShotHead(context.Background(), m, eval.Classes(shapes...), templates, torch.Float32)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// accuracy is that on the finetune pictures themselves.
func accuracy(t *testing.T, m *clip.Model, h *eval.Head, data Data) float64 {
	t.Helper()
	if h == nil {
		h = head(t, m)
	}
	s := eval.Suite{Name: "itself", Data: data.Finetune, Classes: eval.Classes(shapes...), Templates: templates}
	e, err := eval.New([]eval.Suite{s}, eval.Options{})
	if err != nil {
		t.Fatal(err)
	}
	results, err := e.Evaluate(context.Background(), m, h)
	if err != nil {
		t.Fatal(err)
	}
	return results[0].Metrics.Acc1
}

func TestPlainFinetuningStartsFromTheZeroShotHead(t *testing.T) {
	data := pictures(16, 0)
	m := tiny(t)
	data.ZeroShotHead = head(t, m)
	text, logitScale := weights(m.Text), m.LogitScale.Item()
	o := quick(FT)
	o.LR = 1e-30 // moves nothing
	result := mustRun(t, m, data, o)
	if strings.Join(result.Head.Classes, " ") != strings.Join(shapes, " ") {
		t.Errorf("the head's classes are %v", result.Head.Classes)
	}
	for i, v := range result.Head.Weight {
		if want := data.ZeroShotHead.Weight[i]; math.Abs(float64(v-want)) > 1e-6 {
			t.Fatalf("weight %d of the head is %g, want %g", i, v, want)
		}
	}
	// The loss of the first step is that of the zero-shot logits.
	task := startTask(t, m, data, o, 0)
	var err error
	if task.head, err = newLinear(m, shapes, data.ZeroShotHead); err != nil {
		t.Fatal(err)
	}
	b, err := task.feed.next()
	if err != nil {
		t.Fatal(err)
	}
	torch.Scope(func() {
		features := m.EncodeImage(m.Pixels(b.Pixels, 4))
		logits := m.Logits(features, torch.From(torch.CPU, data.ZeroShotHead.Weight, 4, 16))
		want := torch.CrossEntropy(logits, torch.From(torch.CPU, b.Labels, 4)).Item()
		if got := task.loss(b).Total.Item(); math.Abs(got-want) > 1e-5 {
			t.Errorf("the first loss is %g, want %g", got, want)
		}
	})
	before, start := weights(m.ViT), fmt.Sprint(result.Head.Weight)
	o.LR = 1e-3
	result = mustRun(t, m, data, o)
	if weights(m.ViT) == before || fmt.Sprint(result.Head.Weight) == start {
		t.Error("the image tower or the head did not move")
	}
	if weights(m.Text) != text || m.LogitScale.Item() != logitScale {
		t.Error("the text tower or the logit scale moved")
	}
}

func TestBatchNormStatistics(t *testing.T) {
	data := pictures(8, 2)
	statistics := func(m *clip.Model) string {
		var b strings.Builder
		for _, p := range nn.Params(m) {
			if p.Buffer {
				b.Write(p.Tensor.Bytes())
			}
		}
		return b.String()
	}
	for _, trained := range []bool{false, true} {
		m := tinyResNet(t)
		before := statistics(m)
		o := quick(ARF)
		o.Epochs, o.TrainBatchNorm = 1, trained
		mustRun(t, m, data, o)
		if moved := statistics(m) != before; moved != trained {
			t.Errorf("TrainBatchNorm %v: statistics moved: %v", trained, moved)
		}
		if m.ResNet.BN1.Training {
			t.Error("the model is left in training mode")
		}
	}
}

func TestLogitScaleIsTrainedClampedOrFrozen(t *testing.T) {
	data := pictures(16, 0)
	run := func(start float64, frozen bool) float64 {
		m := tiny(t)
		torch.NoGrad(func() { m.LogitScale.Fill_(start) })
		o := quick(FLYP)
		o.FreezeLogitScale, o.LR = frozen, 0.05
		mustRun(t, m, data, o)
		return m.LogitScale.Item()
	}
	if got := run(2, false); got == 2 {
		t.Error("it is not trained")
	}
	if got := run(2, true); got != 2 {
		t.Errorf("frozen, it went from 2 to %g", got)
	}
	if got := run(9, false); got > clip.MaxLogitScale+1e-6 {
		t.Errorf("it is %g, above the limit", got)
	}
}

func TestZeroShotChangesNothing(t *testing.T) {
	m := tiny(t)
	before := weights(m)
	dir := filepath.Join(t.TempDir(), "run")
	result := mustRun(t, m, Data{}, Options{Method: ZeroShot, Dir: dir, LR: 1})
	if weights(m) != before || result.Steps != 0 {
		t.Error("it trained")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("it wrote into the run folder: %v", err)
	}
}

func TestMetricsNameTheTerms(t *testing.T) {
	dir := t.TempDir()
	o := quick(ARF)
	o.Dir, o.Epochs = dir, 1
	mustRun(t, tiny(t), pictures(16, 3), o)
	for _, m := range metricsOf(t, dir) {
		sum := m["loss_class"].(float64) + 0.7*m["loss_tca"].(float64) + 1.3*m["loss_ita"].(float64)
		if math.Abs(sum-m["loss"].(float64)) > 1e-4 {
			t.Errorf("step %v: loss %v, its terms make %.6f", m["step"], m["loss"], sum)
		}
		if m["logit_scale"].(float64) < 10 || m["epoch"] != m["step"].(float64)/4 {
			t.Errorf("step %v: logit_scale %v, epoch %v", m["step"], m["logit_scale"], m["epoch"])
		}
	}
}

// Steps none of whose images has a pair move nothing and end nothing.
func TestStepsWithoutAnyTerm(t *testing.T) {
	for _, micro := range []int{0, 3} {
		data, o := pictures(16, 3), quick(PairsOnly)
		clear(data.Pairs)
		data.Pairs["circle/4.png"] = []PairRef{{Row: 1}}
		o.AllowMissingPairs, o.Epochs, o.Dir, o.MicroBatch = true, 1, t.TempDir(), micro
		if result := mustRun(t, tiny(t), data, o); result.MissingPairs != 15 {
			t.Errorf("%d images without pairs", result.MissingPairs)
		}
		with := 0
		for _, m := range metricsOf(t, o.Dir) {
			if _, ok := m["loss_ita"]; ok {
				with++
			} else if m["loss"].(float64) != 0 || m["grad_norm"].(float64) != 0 {
				t.Errorf("a step without pairs: %v", m)
			}
		}
		if with != 1 {
			t.Errorf("%d steps have pairs, want 1", with)
		}
	}
	o := quick(PairsOnly)
	o.LambdaITA = 0
	if _, err := Run(t.Context(), tiny(t), pictures(16, 3), o); err == nil || !strings.Contains(err.Error(), "train.lambda_") {
		t.Errorf("no term at all: %v", err)
	}
}
