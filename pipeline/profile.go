package pipeline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"arf/config"
	"arf/finetune"
	"arf/profile"
	"arf/train"
)

// profileWarmup is how many steps come before the measured ones: the first ones
// fill caches.
const profileWarmup = 3

// ProfilePath is where a config's profile is written.
func ProfilePath(cfg *config.Config) string { return filepath.Join(Dir(cfg), "profile.json") }

// profile measures finetuning steps of the config's first method and seed and
// writes profile.json. The run's finetuned models stay as they are.
func (r *run) profile(ctx context.Context) error {
	i := slices.IndexFunc(r.cfg.Methods, config.Method.Trains)
	if i < 0 {
		return errors.New("profile: none of the methods trains; name one, such as --method arf")
	}
	m := r.cfg.Methods[i]
	model, given, o, err := r.training(ctx, m, r.cfg.Seeds[0])
	if err != nil {
		return err
	}
	p := &profile.Profile{Warmup: profileWarmup, Steps: r.o.ProfileSteps}
	o.Group, o.Profile, o.StopAfter = r.group, p, p.Warmup+p.Steps
	// An epoch has one step or more, so that there are enough.
	o.Epochs, o.WarmupSteps = p.Warmup+p.Steps+1, 0
	if r.o.Training != nil {
		var show func(train.Metrics)
		o.Planned = func(int) { show = r.o.Training("profile of "+string(m), o.StopAfter) }
		o.Progress = func(m train.Metrics) { show(m) }
	}
	if _, err := finetune.Run(ctx, model, given, o); err != nil && (ctx.Err() != nil || !errors.Is(err, context.Canceled)) {
		return fmt.Errorf("profile %s: %w", m, err)
	}
	if !r.group.Leads() {
		return nil // rank 0's profile counts, and the machine is measured by it alone
	}
	peak := train.PeakMemory(r.device) // before the machine is measured, which takes memory too
	report := p.Report(r.precision, min(o.BatchSize, r.data.finetune.Len()))
	report.Method, report.Model, report.PeakMemoryBytes = string(m), r.cfg.Model, peak
	if err := report.Save(ProfilePath(r.cfg)); err != nil {
		return err
	}
	if r.o.Out == nil {
		return nil
	}
	return report.Table(r.o.Out)
}
