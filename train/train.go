// Package train is the loop that every training of this project runs in:
// optimiser groups, schedule, metrics, checkpoints, and a resume that gives the
// weights of an uninterrupted run. What is trained is a Task.
package train

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"path/filepath"
	"time"

	"arf/dist"
	"arf/nn"
	"arf/profile"
	"arf/torch"
)

// Task is something to train. Everything random in it must be a function of the
// step, so that a resumed run repeats nothing and misses nothing. A Task that
// is an io.Closer is closed when the run ends.
type Task interface {
	// Trained is the model whose parameters are optimised and saved.
	Trained() any
	// Begin prepares the data from a step on; ctx ends its workers.
	Begin(ctx context.Context, step int) error
	// Step computes the loss of a step, counted from 0, without its gradient.
	// It runs inside a torch.Scope.
	Step(step int) (Loss, error)
	// Updated is called after the weights have moved.
	Updated()
}

// Loss is what a step gives: the sum to minimise and what it is made of. In a
// group of processes it is this one's part: the sum of all parts is minimised.
type Loss struct {
	Total      *torch.Tensor
	Backward   func()                   // adds the gradient to the weights; nil = Total.Backward
	Terms      map[string]*torch.Tensor // by objective, unweighted
	LogitScale *torch.Tensor            // log of the factor, or nil
	Measured   map[string]float64       // what else the step found out, such as a held-out accuracy
	Samples    int                      // finetune samples in the step
}

// Options say how to optimise.
type Options struct {
	Dir             string // run folder: metrics.jsonl, checkpoints/; "" keeps nothing
	Schedule        Schedule
	StepsPerEpoch   int // for metrics only
	Beta1, Beta2    float64
	Eps             float64
	WeightDecay     float64
	GradClip        float64 // largest gradient norm; 0 = no clipping
	CheckpointEvery int     // steps; 0 = at the end and on interruption only
	KeepCheckpoints int     // 0 = 2
	StopAfter       int     // ends after that many steps as an interruption would; 0 = never
	// Hash identifies config and data; a checkpoint with another one is refused.
	Hash     string
	Device   torch.Device
	Group    *dist.Group   // the processes that train together; nil = this one alone
	Progress func(Metrics) // may be nil
	// Profile measures steps; nil measures none.
	Profile *profile.Profile
}

// maxSkipped ends a run whose gradients stay infinite; maxSkippedLast is how
// many skipped steps a run may end with.
const (
	maxSkipped     = 10
	maxSkippedLast = 2
)

// Run trains from the newest checkpoint in o.Dir to the schedule's end. When
// ctx ends it finishes the step, saves, and returns ctx's error. When the
// schedule's end is already reached it only restores. In a group rank 0 alone
// has the folder; any number of processes goes on with what another left.
func Run(ctx context.Context, task Task, o Options) (err error) {
	defer torch.Catch(&err)
	if !o.Group.Leads() {
		o.Dir = ""
	}
	params := nn.Params(task.Trained())
	opt, names := optimizer(params, o)
	var trained []*torch.Tensor
	for _, g := range opt.Groups {
		trained = append(trained, g.Params...)
	}
	checkpoints := filepath.Join(o.Dir, "checkpoints")
	start, skipped := 0, 0 // steps; skipped are those in a row, up to now
	if o.Dir != "" {
		unlock, err := Lock(o.Dir, "use another folder")
		if err != nil {
			return err
		}
		defer unlock()
		if start, skipped, err = restore(checkpoints, o, task.Trained(), opt, names); err != nil {
			return err
		}
	}
	if start, skipped, err = join(o.Group, o.Hash, start, skipped, params, opt); err != nil {
		return err
	}
	write, sync := func(Metrics) error { return nil }, func() error { return nil }
	if o.Dir != "" {
		file, err := openMetrics(filepath.Join(o.Dir, "metrics.jsonl"), start)
		if err != nil {
			return err
		}
		defer file.Close()
		encoder := json.NewEncoder(file)
		write, sync = func(m Metrics) error { return encoder.Encode(m) }, file.Sync
	}
	keep := func(step int) error {
		if o.Dir == "" {
			return nil
		}
		// The log of a step that is saved reaches the disk before it.
		if err := sync(); err != nil {
			return fmt.Errorf("write metrics of step %d: %w", step, err)
		}
		err := save(checkpoints, step, skipped, o, params, opt, names)
		if left := listSteps(checkpoints); err != nil && len(left) > 0 {
			err = fmt.Errorf("%w; the checkpoint of step %d is kept, and the same command goes on from there", err, left[0])
		}
		return err
	}
	if start >= o.Schedule.Steps {
		return nil
	}
	for _, p := range trained {
		p.SetRequiresGrad(true)
	}
	defer func() {
		for _, p := range trained {
			p.SetGrad(nil)
			p.SetRequiresGrad(false)
		}
	}()
	stopped := func(done int, cause error) error {
		if o.Dir == "" || done == 0 {
			return fmt.Errorf("stopped after step %d of %d: %w", done, o.Schedule.Steps, cause)
		}
		return fmt.Errorf("stopped after step %d of %d, which is saved; the same command goes on from there: %w", done, o.Schedule.Steps, cause)
	}
	if ctx.Err() != nil {
		return stopped(start, context.Cause(ctx))
	}
	data, cancel := dataContext(ctx, o.Group)
	defer cancel()
	if closer, ok := task.(io.Closer); ok {
		defer closer.Close()
	}
	if err := task.Begin(data, start); err != nil {
		return err
	}
	ranks, err := newRanks(o.Group, trained)
	if err != nil {
		return err
	}
	defer ranks.close()
	warned := false
	for step := start; step < o.Schedule.Steps; step++ {
		o.Profile.Begin(o.Device)
		m, moved, stop, err := oneStep(ctx, task, opt, params, trained, ranks, o, step)
		o.Profile.End()
		if err != nil && ctx.Err() != nil {
			// The task's data ended with ctx, or another process did, before the
			// weights moved.
			if step > start {
				if err := keep(step); err != nil {
					return err
				}
			}
			return stopped(step, context.Cause(ctx))
		}
		if err != nil {
			err = fmt.Errorf("step %d: %w", step+1, err)
			if moved || step == start || o.Dir == "" {
				return err
			}
			// Data that can't be read or a GPU without memory cost no step that is done.
			if also := keep(step); also != nil {
				return fmt.Errorf("%w; %w", err, also)
			}
			return fmt.Errorf("%w; step %d is saved, and the same command goes on from there", err, step)
		}
		if skipped++; !m.Skipped {
			skipped = 0
		}
		if m.Skipped && !warned {
			warned = true
			slog.Warn("the loss or its gradient is not finite, so the step was skipped; if more are, lower train.lr or set precision to fp32",
				"step", step+1, "not finite", m.Cause)
		}
		if skipped >= maxSkipped {
			err := fmt.Errorf("step %d: the gradient was not finite %d times in a row, now the %s; lower train.lr or set precision to fp32", step+1, skipped, m.Cause)
			if o.Dir == "" {
				return err
			}
			if dir, also := saveNonFinite(o.Dir, step+1, params, task); also != nil {
				err = fmt.Errorf("%w; %w", err, also)
			} else {
				err = fmt.Errorf("%w; the step's weights and batch are in %s", err, dir)
			}
			return err
		}
		if err := write(m); err != nil {
			// The steps since the last checkpoint may still find room.
			err = fmt.Errorf("write metrics of step %d: %w", step+1, err)
			if also := keep(step + 1); also != nil {
				err = fmt.Errorf("%w; %w", err, also)
			}
			return err
		}
		if o.Progress != nil {
			o.Progress(m)
		}
		done := step + 1
		if done == o.Schedule.Steps {
			// Before it's saved: a damaged end isn't a result.
			if err := diverged(params, done, skipped); err != nil {
				return err
			}
		}
		interrupted := ctx.Err()
		if o.Group != nil {
			// All stop after one step, that at which the first was told to.
			if interrupted = nil; stop {
				interrupted = context.Canceled
			}
		}
		if interrupted == nil && o.StopAfter > 0 && done-start >= o.StopAfter {
			interrupted = context.Canceled
		}
		if done == o.Schedule.Steps || interrupted != nil || (o.CheckpointEvery > 0 && done%o.CheckpointEvery == 0) {
			if err := keep(done); err != nil {
				return err
			}
		}
		if interrupted != nil && done < o.Schedule.Steps {
			return stopped(done, interrupted)
		}
	}
	return nil
}

// diverged tells whether a run ended with weights that are of no use. skipped is
// the number of steps in a row, up to the last, whose gradient was not finite.
func diverged(params []nn.Param, steps, skipped int) error {
	const mend = "the training diverged; lower train.lr or set precision to fp32"
	if skipped > maxSkippedLast || skipped == steps {
		return fmt.Errorf("step %d: the gradient of the last %d steps was not finite: %s", steps, skipped, mend)
	}
	for _, p := range params {
		finite := true
		torch.Scope(func() {
			torch.NoGrad(func() { finite = p.Tensor.Cast(torch.Float32).AllFinite() })
		})
		if !finite {
			return fmt.Errorf("step %d: the weights %s are not finite: %s", steps, p.Name, mend)
		}
	}
	return nil
}

// oneStep moves the weights once. moved tells whether it did; if not, the running
// statistics are what they were, too. stop tells whether ctx had ended, at any
// process of the group.
func oneStep(ctx context.Context, task Task, opt *torch.AdamW, params []nn.Param, trained []*torch.Tensor, ranks *ranks, o Options, step int) (m Metrics, moved, stop bool, err error) {
	defer func() { err = o.Group.Explain(err) }()
	defer torch.Catch(&err)
	began := time.Now()
	torch.Scope(func() {
		statistics := copyBuffers(params)
		defer func() {
			if !moved {
				statistics.restore()
			}
		}()
		var loss Loss
		if loss, err = task.Step(step); err != nil {
			return
		}
		ranks.backward(loss, o.Profile)
		m = Metrics{Step: step + 1, LR: o.Schedule.At(step), Loss: loss.Total.Item(), Terms: map[string]float64{}}
		for name, term := range loss.Terms {
			m.Terms[name] = term.Item()
		}
		m.Measured = loss.Measured
		if stop, err = ranks.sum(&m, &loss.Samples, ctx.Err() != nil); err != nil {
			return
		}
		if loss.LogitScale != nil {
			m.LogitScale = math.Exp(loss.LogitScale.Item())
		}
		o.Profile.Phase("gradient norm")
		m.GradNorm = torch.GradNorm(trained)
		o.Profile.Phase(profile.Other)
		if !finite(m.GradNorm + m.Loss) {
			m.Skipped, m.Cause = true, cause(loss, params)
			for _, p := range trained {
				p.SetGrad(nil)
			}
			m.GradNorm, m.Loss, m.Terms = 0, 0, nil // JSON has no NaN
		} else {
			moved = true
			o.Profile.Phase("optimiser")
			opt.Step(m.LR, torch.ClipScale(m.GradNorm, o.GradClip))
			o.Profile.Phase(profile.Other)
			task.Updated()
		}
		m.SamplesPerSecond = float64(loss.Samples) / time.Since(began).Seconds()
	})
	if o.StepsPerEpoch > 0 {
		m.Epoch = float64(step+1) / float64(o.StepsPerEpoch)
	}
	m.PeakMemoryBytes, m.Time = PeakMemory(o.Device), time.Now().UTC()
	return m, moved, stop, err
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }

// optimizer groups the trained parameters by decay; names has each group's.
func optimizer(params []nn.Param, o Options) (*torch.AdamW, [][]string) {
	opt := &torch.AdamW{Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.Eps}
	var decayed, plain torch.ParamGroup
	var decayedNames, plainNames []string
	decayed.WeightDecay = o.WeightDecay
	for _, p := range params {
		switch {
		case p.Buffer:
		case p.Decay:
			decayed.Params, decayedNames = append(decayed.Params, p.Tensor), append(decayedNames, p.Name)
		default:
			plain.Params, plainNames = append(plain.Params, p.Tensor), append(plainNames, p.Name)
		}
	}
	opt.Groups = []torch.ParamGroup{decayed, plain}
	return opt, [][]string{decayedNames, plainNames}
}
