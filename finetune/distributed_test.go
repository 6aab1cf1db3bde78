package finetune

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"arf/checkpoint"
	"arf/clip"
	"arf/dataset"
	"arf/dist"
	"arf/internal/disttest"
	"arf/nn"
	"arf/profile"
	"arf/torch"
	"arf/train"
)

// trainCase is a training that processes do together.
type trainCase struct {
	name   string
	model  func(testing.TB) *clip.Model
	change func(*Data, *Options)
}

var trainedCases = []trainCase{
	{"arf", tiny, func(*Data, *Options) {}},
	{"mask", tiny, func(_ *Data, o *Options) { o.Negatives = Mask }},
	{"soft", tiny, func(_ *Data, o *Options) { o.Negatives = Soft }},
	{"clipped gradient", tiny, func(_ *Data, o *Options) { o.GradClip = 0.1 }},
	{"linear head", tiny, func(_ *Data, o *Options) { o.Method = FT }},
	{"in parts", tiny, func(_ *Data, o *Options) { o.MicroBatch = 3 }},
	{"linear head in parts", tiny, func(_ *Data, o *Options) { o.Method, o.MicroBatch = FT, 1 }},
	{"frozen scale", tiny, func(_ *Data, o *Options) { o.Method, o.FreezeLogitScale = FLYP, true }},
	{"resnet", tinyResNet, func(_ *Data, o *Options) { o.Epochs = 2 }},
	{"siglip", tinySigLIP, func(*Data, *Options) {}},
	{"siglip mask", tinySigLIP, func(_ *Data, o *Options) { o.Negatives = Mask }},
	{"broken images", tiny, func(d *Data, o *Options) {
		// Steps in which a process of 4 has nothing.
		for _, i := range []int{1, 6, 7, 12} {
			d.Finetune.(*memory).samples[i].Image = nil
		}
		o.AllowMissingCaptions = true
	}},
	{"few pairs", tiny, func(d *Data, o *Options) {
		for i, s := range d.Finetune.(*memory).samples {
			if i%5 != 0 {
				delete(d.Pairs, s.Key)
			}
		}
		o.AllowMissingPairs = true
	}},
}

// begin makes a case's model, data and options. Adam divides by the gradient's
// size: without a larger Eps, gradients that are 0 but for rounding, as of the
// biases of keys, would move weights as far as others do.
func (c trainCase) begin(t testing.TB) (*clip.Model, Data, Options) {
	data, o := pictures(16, 3), quick(ARF)
	o.Eps = 1e-4
	c.change(&data, &o)
	m := c.model(t)
	if o.Method == FT {
		data.ZeroShotHead = head(t, m)
	}
	return m, data, o
}

func trained(m *clip.Model, r *Result) checkpoint.Tensors {
	all := checkpoint.Tensors{}
	for _, p := range nn.Params(m) {
		all[p.Name] = checkpoint.FromTorch(p.Tensor)
	}
	if r.Head != nil {
		torch.Scope(func() {
			all["head"] = checkpoint.FromTorch(torch.From(torch.CPU, r.Head.Weight, len(r.Head.Classes), r.Head.Dim))
		})
	}
	return all
}

// trainCases trains every case, prints a hash of the weights and the result,
// and has rank 0 write the weights into the folder.
func trainCases(ctx context.Context, g *dist.Group, args []string) error {
	for _, c := range trainedCases {
		m, data, o := c.begin(disttest.TB{})
		if g.Rank() > 0 { // rank 0's weights count
			m.Init(99)
		}
		if o.Method == FT { // the head is made of them
			m.Init(1)
		}
		o.Group = g
		var losses []string
		o.Progress = func(m train.Metrics) { losses = append(losses, fmt.Sprintf("%.4f", m.Loss)) }
		r, err := Run(ctx, m, data, o)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		h := sha256.New()
		fmt.Fprint(h, weights(m))
		fmt.Printf("%s: %x, broken %d %d, losses %s\n", c.name, h.Sum(nil)[:8], r.Broken.Count, r.BrokenPairs.Count, strings.Join(losses, " "))
		if g.Leads() {
			if err := checkpoint.WriteSafetensors(filepath.Join(args[0], c.name), trained(m, r), nil); err != nil {
				return err
			}
		}
	}
	return nil
}

// Two, three and four processes give the weights of one with the same batch.
func TestProcessesGiveTheWeightsOfOne(t *testing.T) {
	alone := map[string]checkpoint.Tensors{}
	line := map[string]string{}
	for _, c := range trainedCases {
		m, data, o := c.begin(t)
		before := trained(m, &Result{})
		var losses []string
		o.Progress = func(m train.Metrics) { losses = append(losses, fmt.Sprintf("%.4f", m.Loss)) }
		r := mustRun(t, m, data, o)
		alone[c.name] = trained(m, r)
		line[c.name] = fmt.Sprintf("broken %d %d, losses %s", r.Broken.Count, r.BrokenPairs.Count, strings.Join(losses, " "))
		if moved := farthest(t, alone[c.name], before); moved < 1e-3 {
			t.Errorf("%s: no weight moved by more than %g", c.name, moved)
		}
	}
	for _, n := range []int{2, 3, 4} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			dir := t.TempDir()
			out := disttest.Run(t, n, "train", dir)
			for rank, text := range out[1:] {
				if text != out[0] {
					t.Errorf("rank %d says\n%srank 0\n%s", rank+1, text, out[0])
				}
			}
			for i, c := range trainedCases {
				got, _, err := checkpoint.ReadSafetensors(filepath.Join(dir, c.name))
				if err != nil {
					t.Fatal(err)
				}
				difference := farthest(t, got, alone[c.name])
				t.Logf("%s: %d processes differ from one by at most %.2g", c.name, n, difference)
				if difference > 1e-5 {
					t.Errorf("%s: %d processes differ from one by %g", c.name, n, difference)
				}
				if said := strings.Split(out[0], "\n")[i]; !strings.HasSuffix(said, line[c.name]) {
					t.Errorf("%s: %d processes say\n%s, one\n%s", c.name, n, said, line[c.name])
				}
			}
		})
	}
}

// farthest is the greatest difference of an element.
func farthest(t *testing.T, a, b checkpoint.Tensors) float64 {
	t.Helper()
	most := 0.0
	for name, want := range b {
		got, ok := a[name]
		if !ok || !slices.Equal(got.Shape, want.Shape) {
			t.Fatalf("%s has shape %v, want %v", name, got.Shape, want.Shape)
		}
		torch.Scope(func() {
			x, y := torch.To[float32](got.ToTorch(torch.CPU).Cast(torch.Float32)), torch.To[float32](want.ToTorch(torch.CPU).Cast(torch.Float32))
			for i := range x {
				if d := math.Abs(float64(x[i] - y[i])); !(d <= most) {
					most = d
				}
			}
		})
	}
	return most
}

// The processes' shares make up each batch of one process: no image twice, none lost.
func TestSharesMakeUpTheBatch(t *testing.T) {
	data := pictures(18, 0)
	for _, n := range []int{2, 3, 4} {
		load := func(part, parts int) [][]int {
			l, err := dataset.NewLoader(data.Finetune, dataset.Options{
				BatchSize: 7, Preprocess: tiny(t).Preprocess, Shuffle: true, Seed: 3, Epochs: 2, Part: part, Parts: parts, Workers: 2,
			})
			if err != nil {
				t.Fatal(err)
			}
			var all [][]int
			for b, err := range l.Batches(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, b.Index)
			}
			return all
		}
		whole := load(0, 0)
		joined := make([][]int, len(whole))
		for part := range n {
			for step, index := range load(part, n) {
				joined[step] = append(joined[step], index...)
			}
		}
		if fmt.Sprint(joined) != fmt.Sprint(whole) {
			t.Errorf("%d parts make\n%v, want\n%v", n, joined, whole)
		}
	}
}

// trainUntilStopped trains in the folder args[0]. With args[1] "slow" it says
// when step 5 is done and takes its time from there, with "interrupt" rank 1 is
// interrupted after 2 steps.
func trainUntilStopped(ctx context.Context, g *dist.Group, args []string) error {
	ctx, interrupt := context.WithCancel(ctx)
	defer interrupt()
	m, data, o := trainedCases[0].begin(disttest.TB{})
	o.Group, o.Dir, o.Epochs, o.CheckpointEvery = g, args[0], 6, -1
	steps := 0
	o.Progress = func(m train.Metrics) {
		steps++
		switch {
		case args[1] == "slow" && m.Step == 5:
			fmt.Println("step 5")
		case args[1] == "slow" && m.Step > 5:
			time.Sleep(300 * time.Millisecond)
		case args[1] == "interrupt" && steps == 2 && g.Rank() == 1:
			interrupt()
		}
	}
	_, err := Run(ctx, m, data, o)
	return err
}

// A process that dies ends all, each says which it was, rank 0 saves, and
// another number of processes goes on to the weights of an uninterrupted run.
func TestARunGoesOnWithAnotherNumberOfProcesses(t *testing.T) {
	m, data, o := trainedCases[0].begin(t)
	o.Epochs = 6
	want := trained(m, mustRun(t, m, data, o))

	dir := t.TempDir()
	rs := disttest.Start(t, 4, "until stopped", dir, "slow")
	rs.Printed(t, "step 5", time.Minute)
	began := time.Now()
	if err := rs[2].Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	rs.Wait(t, 30*time.Second)
	for i, r := range rs {
		if i == 2 {
			continue
		}
		if text := r.Err.String(); r.Status == nil || !strings.Contains(text, fmt.Sprintf("rank 2 (process %d", rs[2].Process.Pid)) {
			t.Errorf("rank %d: %v, %q", i, r.Status, text)
		}
		t.Logf("rank %d reported and ended after %v", i, r.At.Sub(began))
	}
	if text := rs[0].Err.String(); !strings.Contains(text, "which is saved") {
		t.Errorf("rank 0 says %q", text)
	}
	saved, err := os.ReadDir(filepath.Join(dir, "checkpoints"))
	if err != nil || len(saved) == 0 {
		t.Fatalf("no checkpoint: %v", err)
	}
	t.Logf("saved: %v", saved)

	// Ctrl-C at one of two: both stop after the same step.
	rs = disttest.Start(t, 2, "until stopped", dir, "interrupt")
	rs.Wait(t, time.Minute)
	stopped := regexp.MustCompile(`stopped after step \d+ of 24`)
	first, second := stopped.FindString(rs[0].Err.String()), stopped.FindString(rs[1].Err.String())
	if rs[0].Status == nil || rs[1].Status == nil || first == "" || first != second {
		t.Errorf("interrupted, rank 0 says %q, rank 1 %q", rs[0].Err.String(), rs[1].Err.String())
	}
	disttest.Run(t, 3, "until stopped", dir, "on")
	m, data, o = trainedCases[0].begin(t)
	o.Epochs, o.Dir, o.CheckpointEvery = 6, dir, -1
	m.Init(7)
	got := trained(m, mustRun(t, m, data, o))
	if d := farthest(t, got, want); d > 1e-5 {
		t.Errorf("the weights differ from an uninterrupted run's by %g", d)
	}
}

// trainProfiled prints how the sums of a step's gradients overlapped with its
// backward pass.
func trainProfiled(ctx context.Context, g *dist.Group, _ []string) error {
	data, o := pictures(16, 0), quick(FLYP)
	p := &profile.Profile{Warmup: 1, Steps: 1}
	o.Group, o.Profile, o.StopAfter = g, p, 2
	if _, err := Run(ctx, icon(disttest.TB{}), data, o); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("stopped after two steps: %w", err)
	}
	sums := p.Report(torch.Float32, 4).GradientSums
	fmt.Println(sums.Buckets, sums.Overlapped)
	return nil
}

// In a step all buckets but the last are sent while backward goes on.
func TestGradientsTravelDuringBackward(t *testing.T) {
	for rank, got := range disttest.Run(t, 2, "profiled") {
		var buckets, overlapped int
		if _, err := fmt.Sscan(got, &buckets, &overlapped); err != nil || buckets < 2 || overlapped != buckets-1 {
			t.Errorf("rank %d: %q (%v), want two buckets or more, and all but one sent during the backward pass", rank, got, err)
		}
	}
}

// trainMisfits has rank 1 differ from rank 0, or all ask for what can't be.
func trainMisfits(ctx context.Context, g *dist.Group, args []string) error {
	m, data, o := trainedCases[0].begin(disttest.TB{})
	switch args[0] {
	case "options":
		o.LR *= float64(1 + g.Rank())
	case "data":
		data.Finetune.(*memory).samples[3].Key += strings.Repeat("x", g.Rank())
		o.AllowMissingCaptions, o.AllowMissingPairs = true, true
	case "small batch":
		o.BatchSize = 1
	case "batch norm":
		m, o.TrainBatchNorm = tinyResNet(disttest.TB{}), true
	}
	o.Group = g
	_, err := Run(ctx, m, data, o)
	return err
}

func TestProcessesThatDoNotFit(t *testing.T) {
	for what, want := range map[string]string{
		"options":     "rank 1 was started with another config or other data",
		"data":        "rank 1 was started with another config or other data",
		"small batch": "raise train.batch_size",
		"batch norm":  "train.freeze_batch_norm",
	} {
		rs := disttest.Start(t, 2, "misfits", what)
		rs.Wait(t, time.Minute)
		for i, r := range rs {
			if r.Status == nil || !strings.Contains(r.Err.String(), want) {
				t.Errorf("%s: rank %d: %v, %q, want %q", what, i, r.Status, r.Err.String(), want)
			}
		}
	}
}
