package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/checkpoint"
	"arf/nn"
	"arf/torch"

	"golang.org/x/sys/unix"
)

// regression learns y = tanh(x·Aᵀ) with a perceptron; the data of a step are a
// function of the step.
type regression struct {
	model *regressor
	// broken steps have an infinite loss.
	broken  map[int]bool
	before  func(step int) error
	after   func(step int) error // of the forward pass
	began   []int
	updates int
	ctx     context.Context
}

type regressor struct {
	First  *nn.Linear    `weight:"first"`
	Second *nn.Linear    `weight:"second"`
	Scale  *torch.Tensor `weight:"logit_scale,nodecay"`
	Seen   *torch.Tensor `weight:"seen,buffer"`
}

func newRegression() *regression {
	m := &regressor{
		First: nn.NewLinear(4, 8, true), Second: nn.NewLinear(8, 2, true),
		Scale: torch.Full(torch.CPU, 0.1).Keep(), Seen: torch.Zeros(torch.CPU, torch.Float32, 1).Keep(),
	}
	rng := rand.New(rand.NewPCG(1, 2))
	torch.Scope(func() {
		torch.NoGrad(func() {
			for _, w := range []*torch.Tensor{m.First.Weight, m.Second.Weight} {
				w.Copy_(normal(rng, w.Shape()...).Scale_(0.5))
			}
		})
	})
	return &regression{model: m, broken: map[int]bool{}}
}

func normal(rng *rand.Rand, shape ...int) *torch.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	data := make([]float32, n)
	for i := range data {
		data[i] = float32(rng.NormFloat64())
	}
	return torch.From(torch.CPU, data, shape...)
}

func (r *regression) Trained() any { return r.model }

func (r *regression) Begin(ctx context.Context, step int) error {
	r.ctx = ctx
	r.began = append(r.began, step)
	return nil
}

func (r *regression) Step(step int) (Loss, error) {
	if r.before != nil {
		if err := r.before(step); err != nil {
			return Loss{}, err
		}
	}
	x := normal(rand.New(rand.NewPCG(3, uint64(step))), 16, 4)
	y := x.Narrow(1, 0, 2).Tanh()
	out := r.model.Second.Forward(r.model.First.Forward(x).Tanh()).Mul(r.model.Scale.Exp())
	error2 := out.Sub(y)
	total := error2.Mul(error2).Mean()
	torch.NoGrad(func() { r.model.Seen.Add_(torch.Full(torch.CPU, 1, 1), 1) })
	if r.after != nil {
		if err := r.after(step); err != nil {
			return Loss{}, err
		}
	}
	if r.broken[step] {
		total = total.Scale(math.Inf(1))
	}
	return Loss{Total: total, Terms: map[string]*torch.Tensor{"class": total}, LogitScale: r.model.Scale, Samples: 16}, nil
}

func (r *regression) Updated() { r.updates++ }

func (r *regression) weights() string {
	var b bytes.Buffer
	for _, p := range nn.Params(r.model) {
		fmt.Fprintf(&b, "%s %x\n", p.Name, p.Tensor.Bytes())
	}
	return b.String()
}

func options(dir string, steps int) Options {
	return Options{
		Dir: dir, Schedule: Schedule{LR: 0.01, WarmupSteps: 3, Steps: steps}, StepsPerEpoch: 4,
		Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 0.1, GradClip: 0.5, Hash: "a",
	}
}

// uninterrupted gives the weights of a run in one go.
func uninterrupted(t *testing.T, o Options, prepare func(*regression)) string {
	t.Helper()
	o.Dir = ""
	task := newRegression()
	if prepare != nil {
		prepare(task)
	}
	if err := Run(context.Background(), task, o); err != nil {
		t.Fatal(err)
	}
	return task.weights()
}

func metrics(t *testing.T, dir string) []map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var lines []map[string]any
	for line := range bytes.Lines(data) {
		var m map[string]any
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		lines = append(lines, m)
	}
	return lines
}

func wantSteps(t *testing.T, dir string, n int) {
	t.Helper()
	lines := metrics(t, dir)
	if len(lines) != n {
		t.Fatalf("%d lines of metrics, want %d", len(lines), n)
	}
	for i, m := range lines {
		if m["step"] != float64(i+1) {
			t.Fatalf("line %d is of step %v", i+1, m["step"])
		}
	}
}

func TestTrainingLearnsAndWritesMetrics(t *testing.T) {
	dir, task := t.TempDir(), newRegression()
	o := options(dir, 200)
	var shown []Metrics
	o.Progress = func(m Metrics) { shown = append(shown, m) }
	if err := Run(context.Background(), task, o); err != nil {
		t.Fatal(err)
	}
	first, last := shown[0].Loss, shown[199].Loss
	if last > first/4 {
		t.Errorf("loss went from %.4f to %.4f, want a quarter or less", first, last)
	}
	wantSteps(t, dir, 200)
	m := metrics(t, dir)[1]
	for _, key := range []string{"step", "epoch", "loss", "loss_class", "lr", "logit_scale", "grad_norm", "samples_per_second", "peak_memory_bytes", "time"} {
		if _, ok := m[key]; !ok {
			t.Errorf("metrics lack %s: %v", key, m)
		}
	}
	if m["epoch"] != 0.5 || m["loss"] != m["loss_class"] || m["lr"] != o.Schedule.At(1) {
		t.Errorf("second step is %v", m)
	}
	if peak := m["peak_memory_bytes"].(float64); peak < 1<<20 {
		t.Errorf("peak memory is %v bytes", peak)
	}
	for _, p := range nn.Params(task.model) {
		if p.Tensor.RequiresGrad() || p.Tensor.Grad() != nil {
			t.Errorf("%s still collects gradients", p.Name)
		}
	}
	if task.ctx.Err() == nil {
		t.Error("the context of the task's workers outlives the run")
	}
}

func TestResumeGivesTheSameWeights(t *testing.T) {
	o := options("", 12)
	want := uninterrupted(t, o, nil)
	for name, stop := range map[string]func(o *Options) (context.Context, *regression){
		"stop after": func(o *Options) (context.Context, *regression) {
			o.StopAfter = 5
			return context.Background(), newRegression()
		},
		"cancelled between steps": func(o *Options) (context.Context, *regression) {
			ctx, cancel := context.WithCancel(context.Background())
			o.Progress = func(m Metrics) {
				if m.Step == 5 {
					cancel()
				}
			}
			return ctx, newRegression()
		},
		"cancelled while waiting for data": func(*Options) (context.Context, *regression) {
			ctx, cancel := context.WithCancel(context.Background())
			task := newRegression()
			task.before = func(step int) error {
				if step == 5 {
					cancel()
					<-task.ctx.Done()
					return fmt.Errorf("read batch: %w", task.ctx.Err())
				}
				return nil
			}
			return ctx, task
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			first := options(dir, 12)
			ctx, task := stop(&first)
			err := Run(ctx, task, first)
			if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "step 5 of 12") {
				t.Fatalf("interrupted run: %v", err)
			}
			wantSteps(t, dir, 5)
			// Another process starts with other weights in memory.
			again := newRegression()
			torch.NoGrad(func() { again.model.First.Weight.Fill_(9) })
			if err := Run(context.Background(), again, options(dir, 12)); err != nil {
				t.Fatal(err)
			}
			if again.began[0] != 5 {
				t.Errorf("resumed at step %d, want 5", again.began[0])
			}
			if again.weights() != want {
				t.Error("weights differ from an uninterrupted run's")
			}
			wantSteps(t, dir, 12)
		})
	}
}

func TestFinishedRunOnlyRestores(t *testing.T) {
	dir := t.TempDir()
	if err := Run(context.Background(), newRegression(), options(dir, 4)); err != nil {
		t.Fatal(err)
	}
	task := newRegression()
	if err := Run(context.Background(), task, options(dir, 4)); err != nil {
		t.Fatal(err)
	}
	if len(task.began) != 0 || task.weights() != uninterrupted(t, options("", 4), nil) {
		t.Errorf("began %v, or the weights are not the finished ones", task.began)
	}
	wantSteps(t, dir, 4)
}

func TestCancelledBeforeItBegins(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	task := newRegression()
	if err := Run(ctx, task, options(t.TempDir(), 4)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if len(task.began) != 0 {
		t.Error("the task began")
	}
}

// Errors of the task and of the engine end a run, but cost no step that is done.
func TestErrorsComeOutAndCostNothing(t *testing.T) {
	want := uninterrupted(t, options("", 6), nil)
	broken := errors.New("no such picture")
	for name, test := range map[string]struct {
		fails func() error
		says  string
	}{
		"task": {func() error { return broken }, "no such picture"},
		"engine": {func() error {
			torch.Zeros(torch.CPU, torch.Float32, 2, 3).MatMul(torch.Zeros(torch.CPU, torch.Float32, 2, 3))
			return nil
		}, "matmul"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			task := newRegression()
			task.after = func(step int) error { // of the forward pass, which counts in Seen
				if step == 3 {
					return test.fails()
				}
				return nil
			}
			err := Run(context.Background(), task, options(dir, 6))
			if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), "step 4: ") || !strings.Contains(err.Error(), "step 3 is saved") {
				t.Fatalf("got %v", err)
			}
			wantFolders(t, filepath.Join(dir, "checkpoints"), "step-3")
			again := newRegression()
			if err := Run(context.Background(), again, options(dir, 6)); err != nil {
				t.Fatal(err)
			}
			if again.began[0] != 3 || again.weights() != want {
				t.Errorf("went on from %d, or with other weights", again.began[0])
			}
			wantSteps(t, dir, 6)
			// In the first step there is nothing to save.
			task = newRegression()
			task.after = func(int) error { return test.fails() }
			if err := Run(context.Background(), task, options(t.TempDir(), 6)); err == nil || strings.Contains(err.Error(), "saved") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestNonFiniteGradientsAreSkipped(t *testing.T) {
	dir := t.TempDir()
	task := newRegression()
	task.broken[0], task.broken[3] = true, true
	// Also resumes right after a first step that moved nothing.
	o := options(dir, 8)
	o.StopAfter = 1
	if err := Run(context.Background(), task, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := Run(context.Background(), task, options(dir, 8)); err != nil {
		t.Fatal(err)
	}
	if task.updates != 6 {
		t.Errorf("%d updates, want 6", task.updates)
	}
	for i, m := range metrics(t, dir) {
		if skipped := m["skipped"] == true; skipped != task.broken[i] || skipped != (m["cause"] == "loss_class") {
			t.Errorf("step %d: skipped is %v, because of %v", i+1, skipped, m["cause"])
		}
	}
	// Their forward pass moved no running statistic either.
	if got := task.model.Seen.Item(); got != 6 {
		t.Errorf("the statistics saw %g steps, want 6", got)
	}
	for _, p := range nn.Params(task.model) {
		if !p.Tensor.AllFinite() {
			t.Errorf("%s is not finite", p.Name)
		}
	}
	want := uninterrupted(t, options("", 8), func(r *regression) { r.broken = task.broken })
	if task.weights() != want {
		t.Error("weights differ from an uninterrupted run's")
	}
}

func TestGradientsThatStayInfiniteEndTheRun(t *testing.T) {
	task := newRegression()
	for step := range 40 {
		task.broken[step] = step >= 2
	}
	err := Run(context.Background(), task, options("", 40))
	if err == nil || !strings.Contains(err.Error(), "step 12:") || !strings.Contains(err.Error(), "10 times in a row") || !strings.Contains(err.Error(), "loss_class") {
		t.Errorf("got %v", err)
	}
	// In a folder, what ended it is kept: the weights of the last good step, and the batch.
	two := options("", 40)
	two.StopAfter = 2
	good := newRegression()
	if err := Run(context.Background(), good, two); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	saver := savesBatch{newRegression()}
	saver.broken = task.broken
	dir := t.TempDir()
	err = Run(context.Background(), saver, options(dir, 40))
	where := filepath.Join(dir, "nonfinite", "step-12")
	if err == nil || !strings.Contains(err.Error(), where) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one that names %s", err, where)
	}
	wantFolders(t, where, "batch", "model.safetensors")
	kept, _, err := checkpoint.ReadSafetensors(filepath.Join(where, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range nn.Params(good.model) {
		if !bytes.Equal(kept[p.Name].Data, p.Tensor.Bytes()) {
			t.Errorf("%s is not that of the last good step", p.Name)
		}
	}
	// A batch that can't be saved doesn't hide why.
	failing := failsToSave{newRegression()}
	failing.broken = task.broken
	err = Run(context.Background(), failing, options(t.TempDir(), 40))
	if err == nil || !strings.Contains(err.Error(), "10 times in a row") || !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v", err)
	}
}

type savesBatch struct{ *regression }

func (savesBatch) SaveBatch(dir string) error {
	return os.WriteFile(filepath.Join(dir, "batch"), []byte("x"), 0o644)
}

type failsToSave struct{ *regression }

func (failsToSave) SaveBatch(string) error { return fs.ErrPermission }

// A gradient may overflow where the loss doesn't: the parameter is named.
func TestTheCauseOfASkippedStep(t *testing.T) {
	dir := t.TempDir()
	task := newRegression()
	o := options(dir, 1)
	overflow := overflows{task}
	if err := Run(context.Background(), overflow, o); err == nil || !strings.Contains(err.Error(), "not finite") {
		t.Fatalf("got %v", err)
	}
	if m := metrics(t, dir)[0]; m["cause"] != "gradient of first.weight" {
		t.Errorf("the cause is %v", m["cause"])
	}
}

// overflows has a loss of √0, whose derivative is infinite.
type overflows struct{ *regression }

func (o overflows) Step(int) (Loss, error) {
	w := o.model.First.Weight
	zero := w.Sub(w.Detach())
	return Loss{Total: torch.Call("aten::sqrt", zero)[0].(*torch.Tensor).Sum(), Samples: 1}, nil
}

func TestADivergedEndIsNoResult(t *testing.T) {
	dir := t.TempDir()
	task := newRegression()
	for step := 5; step < 8; step++ {
		task.broken[step] = true
	}
	err := Run(context.Background(), task, options(dir, 8))
	if err == nil || !strings.Contains(err.Error(), "last 3 steps") || !strings.Contains(err.Error(), "train.lr") {
		t.Errorf("got %v", err)
	}
	if saved := listSteps(filepath.Join(dir, "checkpoints")); slices.Contains(saved, 8) {
		t.Errorf("checkpoints of steps %v, want none of the last", saved)
	}
	// Nor does it become one when the run goes on from a checkpoint near its end.
	dir = t.TempDir()
	o := options(dir, 8)
	o.StopAfter = 7
	if err := Run(context.Background(), task, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := Run(context.Background(), task, options(dir, 8)); err == nil || !strings.Contains(err.Error(), "diverged") {
		t.Errorf("got %v", err)
	}
	// One skipped step is forgiven, right after a resumption too.
	dir, task = t.TempDir(), newRegression()
	task.broken[7] = true
	o.Dir = dir
	if err := Run(context.Background(), task, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := Run(context.Background(), task, options(dir, 8)); err != nil {
		t.Errorf("a skipped last step: %v", err)
	}
	// Weights that are damaged aren't.
	task = newRegression()
	task.before = func(step int) error {
		if step == 3 {
			torch.NoGrad(func() { nn.Params(task.model)[0].Tensor.Fill_(math.Inf(1)) })
		}
		return nil
	}
	err = Run(context.Background(), task, options("", 4))
	if err == nil || !strings.Contains(err.Error(), "are not finite") || !strings.Contains(err.Error(), "train.lr") {
		t.Errorf("got %v", err)
	}
}

func TestAnotherHashIsRefused(t *testing.T) {
	dir := t.TempDir()
	o := options(dir, 4)
	o.StopAfter = 2
	if err := Run(context.Background(), newRegression(), o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	o.Hash = "b"
	task := newRegression()
	before := task.weights()
	err := Run(context.Background(), task, o)
	if err == nil || !strings.Contains(err.Error(), "another config") || !strings.Contains(err.Error(), dir) {
		t.Errorf("got %v", err)
	}
	if task.weights() != before {
		t.Error("the refused checkpoint was loaded")
	}
	wantSteps(t, dir, 2)
}

func TestAnotherArchitectureIsRefused(t *testing.T) {
	dir := t.TempDir()
	o := options(dir, 4)
	o.StopAfter = 2
	if err := Run(context.Background(), newRegression(), o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	wider := newRegression()
	wider.model.First, wider.model.Second = nn.NewLinear(4, 9, true), nn.NewLinear(9, 2, true)
	if err := Run(context.Background(), wider, o); err == nil || !strings.Contains(err.Error(), "first.weight") {
		t.Errorf("got %v", err)
	}
	with := newRegression()
	more := &struct {
		*regressor `weight:""`
		Extra      *nn.Linear `weight:"extra"`
	}{with.model, nn.NewLinear(2, 2, false)}
	if err := Run(context.Background(), wrapped{with, more}, o); err == nil || !strings.Contains(err.Error(), "extra.weight") {
		t.Errorf("got %v", err)
	}
}

type wrapped struct {
	*regression
	model any
}

func (w wrapped) Trained() any { return w.model }

func TestDamagedCheckpointsFallBack(t *testing.T) {
	const steps = 12
	want := uninterrupted(t, options("", steps), nil)
	flip := func(t *testing.T, path string) {
		t.Helper()
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data[len(data)-3] ^= 1
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		damage func(t *testing.T, checkpoints string)
		from   int
	}{
		"none":               {func(*testing.T, string) {}, 9},
		"bit of the model":   {func(t *testing.T, c string) { flip(t, filepath.Join(c, "step-9", modelFile)) }, 6},
		"bit of the moments": {func(t *testing.T, c string) { flip(t, filepath.Join(c, "step-9", optimizerFile)) }, 6},
		"bit of the state": {func(t *testing.T, c string) { // another number of updates
			path := filepath.Join(c, "step-9", stateFile)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			changed := bytes.Replace(data, []byte(`"updates": 9`), []byte(`"updates": 8`), 1)
			if bytes.Equal(changed, data) {
				t.Fatalf("no updates in %s", data)
			}
			if err := os.WriteFile(path, changed, 0o644); err != nil {
				t.Fatal(err)
			}
		}, 6},
		"of another step": {func(t *testing.T, c string) {
			if err := errors.Join(os.RemoveAll(filepath.Join(c, "step-9")), os.CopyFS(filepath.Join(c, "step-9"), os.DirFS(filepath.Join(c, "step-6")))); err != nil {
				t.Fatal(err)
			}
		}, 6},
		"no state":  {func(_ *testing.T, c string) { os.Remove(filepath.Join(c, "step-9", stateFile)) }, 6},
		"cut state": {func(_ *testing.T, c string) { os.Truncate(filepath.Join(c, "step-9", stateFile), 20) }, 6},
		"no model":  {func(_ *testing.T, c string) { os.Remove(filepath.Join(c, "step-9", modelFile)) }, 6},
		"cut model": {func(_ *testing.T, c string) { os.Truncate(filepath.Join(c, "step-9", modelFile), 40) }, 6},
		"killed while saving": {func(_ *testing.T, c string) {
			os.Rename(filepath.Join(c, "step-9"), filepath.Join(c, "step-9.partial"))
		}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := options(dir, steps)
			o.CheckpointEvery, o.KeepCheckpoints, o.StopAfter = 3, 2, 9
			if err := Run(context.Background(), newRegression(), o); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			checkpoints := filepath.Join(dir, "checkpoints")
			wantFolders(t, checkpoints, "step-6", "step-9")
			test.damage(t, checkpoints)

			// Stopped once more before it reaches the damaged one's step.
			o.StopAfter = 1
			task := newRegression()
			if err := Run(context.Background(), task, o); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if task.began[0] != test.from {
				t.Errorf("went on from step %d, want %d", task.began[0], test.from)
			}
			wantSteps(t, dir, test.from+1)
			o.StopAfter = 0
			task = newRegression()
			if err := Run(context.Background(), task, o); err != nil {
				t.Fatal(err)
			}
			if task.began[0] != test.from+1 {
				t.Errorf("went on from step %d, want %d", task.began[0], test.from+1)
			}
			if task.weights() != want {
				t.Error("weights differ from an uninterrupted run's")
			}
			wantSteps(t, dir, steps)
		})
	}
}

// With no checkpoint left to read, a run stops rather than overwrite what is there.
func TestAllCheckpointsDamagedIsAnError(t *testing.T) {
	dir := t.TempDir()
	o := options(dir, 12)
	o.CheckpointEvery, o.KeepCheckpoints, o.StopAfter = 3, 2, 9
	if err := Run(context.Background(), newRegression(), o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	for _, step := range []string{"step-6", "step-9"} {
		if err := os.Truncate(filepath.Join(dir, "checkpoints", step, modelFile), 40); err != nil {
			t.Fatal(err)
		}
	}
	metrics := filepath.Join(dir, "metrics.jsonl")
	before, err := os.ReadFile(metrics)
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(context.Background(), newRegression(), o); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v, want one that names the folder", err)
	}
	if after, err := os.ReadFile(metrics); err != nil || string(after) != string(before) {
		t.Errorf("the metrics were changed (%v)", err)
	}
}

func wantFolders(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		t.Errorf("%s has %v, want %v", dir, got, names)
	}
}

func TestFailedSaveKeepsTheCheckpointBefore(t *testing.T) {
	dir := t.TempDir()
	o := options(dir, 6)
	o.CheckpointEvery = 2
	// A folder where the second checkpoint wants to write its file.
	task := newRegression()
	task.before = func(step int) error {
		if step == 3 {
			return os.WriteFile(filepath.Join(dir, "checkpoints", "step-4"), []byte("in the way"), 0o444)
		}
		return nil
	}
	// A file in the way is replaced; a name that can't be made is an error.
	if err := Run(context.Background(), task, o); err != nil {
		t.Fatal(err)
	}
	wantFolders(t, filepath.Join(dir, "checkpoints"), "step-4", "step-6")

	blocked := t.TempDir()
	if err := os.WriteFile(filepath.Join(blocked, "checkpoints"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	var pathError *fs.PathError
	if err := Run(context.Background(), newRegression(), options(blocked, 2)); !errors.As(err, &pathError) || !strings.Contains(err.Error(), "save checkpoint") {
		t.Errorf("got %v", err)
	}
}

// A full disk, played by a limit on the size of files: the error says what is
// kept, nothing half written is left, and with room again the run goes on.
func TestFullDiskKeepsTheCheckpointBefore(t *testing.T) {
	// The limit is the whole process's, so that the log which `go test` keeps of
	// a test's files would not fit either: the limited part has its own process.
	const inside = "ARF_TEST_FULL_DISK"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	want := uninterrupted(t, options("", 8), nil)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	limit := func(bytes uint64) {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: old.Max}); err != nil {
			t.Error(err)
		}
	}
	defer limit(old.Cur)
	for name, test := range map[string]struct {
		at   int // the last step whose metrics have room
		room func(metrics int64) uint64
		want string
		left []string
		from int
	}{
		"checkpoint":   {6, func(int64) uint64 { return 64 }, "step 4 is kept", []string{"step-2", "step-4"}, 4},
		"metrics only": {5, func(size int64) uint64 { return uint64(size) }, "metrics of step 6", []string{"step-4", "step-6"}, 6},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			o := options(dir, 8)
			o.CheckpointEvery = 2
			o.Progress = func(m Metrics) { // after the step's line is written
				if m.Step == test.at {
					info, err := os.Stat(filepath.Join(dir, "metrics.jsonl"))
					if err != nil {
						t.Error(err)
						return
					}
					limit(test.room(info.Size()))
				}
			}
			err := Run(context.Background(), newRegression(), o)
			limit(old.Cur)
			if !errors.Is(err, unix.EFBIG) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Fatalf("got %v", err)
			}
			wantFolders(t, filepath.Join(dir, "checkpoints"), test.left...)
			again := newRegression()
			if err := Run(context.Background(), again, options(dir, 8)); err != nil {
				t.Fatal(err)
			}
			if again.began[0] != test.from || again.weights() != want {
				t.Errorf("went on from %d, or with other weights", again.began[0])
			}
		})
	}
}

func TestMetricsOfLaterStepsAreDropped(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		step    int
		want    string
	}{
		"missing":       {"", 3, ""},
		"all kept":      {"{\"step\":1}\n{\"step\":2}\n", 2, "{\"step\":1}\n{\"step\":2}\n"},
		"later dropped": {"{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n", 1, "{\"step\":1}\n"},
		"cut line":      {"{\"step\":1}\n{\"step\":2}\n{\"st", 5, "{\"step\":1}\n{\"step\":2}\n"},
		"zeros":         {"{\"step\":1}\n{\"step\":2}\n" + strings.Repeat("\x00", 3<<20), 5, "{\"step\":1}\n{\"step\":2}\n"},
		"zeros inside":  {"{\"step\":1}\n" + strings.Repeat("\x00", 3<<20) + "\n{\"step\":2}\n", 5, "{\"step\":1}\n{\"step\":2}\n"},
		"no end":        {"{\"step\":1}\n{\"step\":2}", 5, "{\"step\":1}\n"},
		"from nothing":  {"{\"step\":1}\n", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "run", "metrics.jsonl")
			if test.content != "" {
				os.MkdirAll(filepath.Dir(path), 0o755)
				if err := os.WriteFile(path, []byte(test.content), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			file, err := openMetrics(path, test.step)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(file, `{"step":9}`)
			file.Close()
			if got, _ := os.ReadFile(path); string(got) != test.want+"{\"step\":9}\n" {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestSchedule(t *testing.T) {
	cosine := Schedule{LR: 2, WarmupSteps: 4, Steps: 12}
	line := Schedule{LR: 2, WarmupSteps: 4, Steps: 20, Cooldown: 0.5}
	for _, test := range []struct {
		s    Schedule
		step int
		want float64
	}{
		{cosine, 0, 0.5}, {cosine, 3, 2}, {cosine, 4, 2}, {cosine, 6, 1 + math.Sqrt2/2}, {cosine, 8, 1}, {cosine, 12, 0}, {cosine, 99, 0},
		{line, 0, 0.5}, {line, 4, 2}, {line, 10, 2}, {line, 15, 1}, {line, 19, 0.2}, {line, 20, 0},
		{Schedule{LR: 1, Steps: 1}, 0, 1}, {Schedule{LR: 1, WarmupSteps: 500, Steps: 10}, 9, 0.02},
	} {
		if got := test.s.At(test.step); math.Abs(got-test.want) > 1e-12 {
			t.Errorf("%+v at step %d: %g, want %g", test.s, test.step, got, test.want)
		}
	}
}

func TestOptimizerGroups(t *testing.T) {
	m := newRegression().model
	opt, names := optimizer(nn.Params(m), options("", 1))
	if got := fmt.Sprint(names); got != "[[first.weight second.weight] [first.bias second.bias logit_scale]]" {
		t.Errorf("groups are %s", got)
	}
	if opt.Groups[0].WeightDecay != 0.1 || opt.Groups[1].WeightDecay != 0 {
		t.Errorf("decays are %v and %v", opt.Groups[0].WeightDecay, opt.Groups[1].WeightDecay)
	}
}

func TestMemoryStaysFlat(t *testing.T) {
	task := newRegression()
	var counts []int64
	o := options("", 30)
	o.Progress = func(Metrics) { counts = append(counts, torch.Live()) }
	if err := Run(context.Background(), task, o); err != nil {
		t.Fatal(err)
	}
	if counts[29] > counts[2] {
		t.Errorf("%d tensors live after step 3, %d after step 30", counts[2], counts[29])
	}
}

func BenchmarkStep(b *testing.B) {
	task := newRegression()
	o := options("", b.N)
	b.ReportAllocs()
	if err := Run(context.Background(), task, o); err != nil {
		b.Fatal(err)
	}
}

// The optimiser sees a gradient of at most that norm, in its direction.
func TestGradientsAreClipped(t *testing.T) {
	first := func(clip float64) (norm float64, moments []float64) {
		dir := t.TempDir()
		o := options(dir, 4)
		o.GradClip, o.StopAfter = clip, 1
		if err := Run(context.Background(), newRegression(), o); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		saved, _, err := checkpoint.ReadSafetensors(filepath.Join(dir, "checkpoints", "step-1", optimizerFile))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range saved.Names() {
			if strings.HasPrefix(name, "m.") { // (1 − β1) · gradient after the first step
				for _, x := range torch.To[float32](saved[name].ToTorch(torch.CPU)) {
					moments = append(moments, float64(x)/(1-o.Beta1))
				}
			}
		}
		return metrics(t, dir)[0]["grad_norm"].(float64), moments
	}
	length := func(v []float64) float64 {
		sum := 0.0
		for _, x := range v {
			sum += x * x
		}
		return math.Sqrt(sum)
	}
	norm, whole := first(0)
	if norm == 0 || math.Abs(length(whole)-norm) > 1e-5*norm {
		t.Fatalf("a gradient of norm %g, the metrics say %g", length(whole), norm)
	}
	told, clipped := first(norm / 4)
	if told != norm || math.Abs(length(clipped)-norm/4) > 1e-4*norm {
		t.Errorf("clipped to %g of %g, told %g", length(clipped), norm, told)
	}
	for i := range whole {
		if math.Abs(clipped[i]*4-whole[i]) > 1e-4*norm {
			t.Errorf("element %d: %g of %g", i, clipped[i], whole[i])
		}
	}
}

// A run that goes on with another number of threads says what that means.
func TestAnotherMachineIsTold(t *testing.T) {
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	threads := torch.Threads()
	defer torch.SetThreads(threads)
	dir := t.TempDir()
	for i, n := range []int{threads, threads, threads + 1} {
		torch.SetThreads(n)
		o := options(dir, 9)
		o.StopAfter = 2
		if err := Run(context.Background(), newRegression(), o); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		told := strings.Contains(log.String(), fmt.Sprintf("%d threads", threads+1))
		if told != (i == 2) {
			t.Errorf("call %d with %d threads said %q", i, n, &log)
		}
	}
}
