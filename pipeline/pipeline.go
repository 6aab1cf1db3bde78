// Package pipeline makes a run from a config: captions, retrieved pairs,
// finetuning of every method and seed, evaluation, report. Each step leaves its
// result in the run folder with a stamp of what it was made from, so that a
// step that is done is not done again, and one whose inputs changed is.
//
//	runs/<name>/config.yaml, run.json
//	runs/features/<hash>/                           of the pool and other sets, shared by runs
//	runs/<name>/anchors/captions.jsonl, pairs.parquet
//	runs/<name>/train/<method>/seed-<s>/            metrics.jsonl, checkpoints/, model/
//	runs/<name>/train/<method>/before-seed-<s>-…/   the last one of other settings or data
//	runs/<name>/eval/<method>/seed-<s>/             a JSON file a suite, drift.json, wise-<alpha>/
//	runs/<name>/report.html, results.json, results.csv
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"arf/clip"
	"arf/config"
	"arf/dist"
	"arf/eval"
	"arf/hub"
	"arf/internal/atomicfile"
	"arf/remote"
	"arf/report"
	"arf/torch"
	"arf/train"

	"github.com/goccy/go-yaml"
)

// Options of a run that are no part of its results.
type Options struct {
	// Group is the processes that share the work, each of which calls Run; nil =
	// this one alone. All must reach the data, the model and the run folder by the
	// same paths; rank 0 alone writes the run's files, but for shards of features.
	Group   *dist.Group
	Version string // of this program
	Command string // as it was typed, for the report
	// Training, if any, is told of a finetuning that begins and gives the
	// function that its steps are told to.
	Training func(name string, steps int) func(train.Metrics)
	// Stage, if any, is told how far other steps are.
	Stage func(stage string, done, total int)
	// Fetch, if any, is told how many bytes of a model's file the hub has sent.
	Fetch func(file string, done, total int64)
	Out   io.Writer // of the result table; nil prints none
	// ProfileSteps makes the step Finetune measure that many training steps
	// (package profile) and train nothing; 0 trains.
	ProfileSteps int
}

// Step names a part of a run, for those who want only that.
type Step string

const (
	Captions Step = "captions"
	Pairs    Step = "pairs"
	Finetune Step = "finetune"
	Evaluate Step = "evaluate"
	Reports  Step = "report"
)

// Steps in their order.
var Steps = []Step{Captions, Pairs, Finetune, Evaluate, Reports}

// run is a run in progress.
type run struct {
	cfg       *config.Config
	group     *dist.Group
	o         Options
	dir       string
	model     string // where cfg.Model is on this machine
	captioner string // the same of the captioner, if one is needed
	device    torch.Device
	precision torch.DType
	modelHash string
	data      *data
	evaluator *eval.Evaluator
	info      report.Info
	worked    bool           // a step had something to do
	zeroshot  []*eval.Result // of the pretrained model, once measured
}

// Dir is a config's run folder.
func Dir(cfg *config.Config) string { return filepath.Join(cfg.Output, cfg.Name) }

// Run does all steps up to the last one named, those that it needs first; all
// when last is "". When ctx ends, what was done is kept, and the same call goes
// on from there.
func Run(ctx context.Context, cfg *config.Config, last Step, o Options) (err error) {
	defer torch.Catch(&err)
	if last == "" {
		last = Reports
	}
	if !slices.Contains(Steps, last) {
		return fmt.Errorf("step %q is not known; known are %v", last, Steps)
	}
	r := &run{cfg: cfg, o: o, group: o.Group, dir: Dir(cfg), device: o.Group.Device()}
	resolve := func() (err error) {
		if r.model, err = hub.Resolve(ctx, cfg.Model, hub.Options{Progress: o.Fetch}); err != nil || !cfg.NeedsCaptions() || cfg.Anchors.Captions.Captioner == "" || cfg.Anchors.Captions.Retrieves() {
			return err
		}
		if r.captioner, err = hub.Resolve(ctx, cfg.Anchors.Captions.Captioner, hub.Options{Progress: o.Fetch}); err != nil {
			return fmt.Errorf("anchors.captions.captioner: %w", err)
		}
		return nil
	}
	// First rank 0, so that the others find what it fetched.
	if err := r.group.Lead(resolve); err != nil {
		return err
	}
	if err := resolve(); err != nil {
		return err
	}
	if r.group == nil {
		if r.device, err = torch.ParseDevice(cfg.Device); err != nil {
			return err
		}
	}
	if cfg.Threads > 0 {
		torch.SetThreads(cfg.Threads)
	}
	if cfg.Deterministic {
		torch.SetDeterministic(true)
		defer torch.SetDeterministic(false)
	}
	r.precision = precision(cfg.Precision, r.device)
	unlock := func() {}
	err = r.group.Lead(func() (err error) {
		if err := checkFolder(r.dir); err != nil {
			return err
		}
		if unlock, err = train.Lock(r.dir, "give this run another name (--set name=…)"); err != nil {
			return fmt.Errorf("run folder: %w", err)
		}
		if err := atomicfile.Clean(r.dir); err != nil { // no other process works there now
			unlock()
			return fmt.Errorf("run folder: %w", err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	defer unlock()
	if r.modelHash, err = clip.Hash(r.model); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if r.data, err = openData(ctx, cfg); err != nil {
		return err
	}
	if err := r.sameData(); err != nil {
		return err
	}
	// Before anything is trained: a class that no prompt names is found here.
	suites := r.evalOptions()
	suites.CacheBytes = cachedImages / int64(max(1, len(r.data.suites)))
	if r.evaluator, err = eval.New(r.data.suites, suites); err != nil {
		return err
	}
	if err := r.group.Lead(r.begin); err != nil {
		return err
	}
	for _, step := range Steps {
		if err := r.do(ctx, step); err != nil {
			return err
		}
		if step == last {
			break
		}
	}
	return r.group.Lead(r.finish)
}

// checkFolder refuses a folder that holds something else than a run.
func checkFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("run folder: %w", err)
	}
	for _, e := range entries {
		if slices.Contains([]string{"config.yaml", "run.json", ".lock"}, e.Name()) {
			return nil
		}
	}
	if len(entries) > 0 {
		return fmt.Errorf("run folder %s holds something else, such as %s; give the run another name (--set name=…)", dir, entries[0].Name())
	}
	return nil
}

func (r *run) do(ctx context.Context, step Step) error {
	switch step {
	case Captions:
		return r.captions(ctx)
	case Pairs:
		return r.pairs(ctx)
	case Finetune:
		if r.o.ProfileSteps > 0 {
			return r.profile(ctx)
		}
		return r.finetuneAll(ctx)
	case Evaluate:
		return r.evaluateAll(ctx)
	case Reports:
		if len(r.data.suites) == 0 {
			slog.Warn("nothing was evaluated, so there is no report; eval.suites and data.validation name what to evaluate on")
			return nil
		}
		return r.group.Lead(func() error {
			if err := r.finish(); err != nil { // the report shows run.json
				return err
			}
			_, err := Report(ctx, r.dir, r.o.Out)
			return err
		})
	}
	return nil
}

// begin writes the resolved config and what is known of the run so far.
func (r *run) begin() error {
	text, err := yaml.Marshal(r.cfg)
	if err != nil {
		return err
	}
	perm := os.FileMode(0o644)
	if remote.RedactedText(string(text)) != string(text) { // it has a password or signature
		perm = 0o600
	}
	if err := atomicfile.Write(filepath.Join(r.dir, "config.yaml"), text, perm); err != nil {
		return fmt.Errorf("write the run's config: %w", err)
	}
	device := r.device.String()
	r.info = report.Info{
		Version: r.o.Version, Engine: "libtorch " + torch.Version(), Device: device, Threads: torch.Threads(), Precision: r.precision.String(),
		Command: remote.RedactedText(r.o.Command), Started: time.Now().UTC(),
		Model: report.ModelInfo{Name: r.cfg.Model, SHA256: r.modelHash}, FinetuneSeconds: map[string]float64{},
	}
	if old, err := readInfo(r.dir); err == nil {
		r.info.Started = old.Started // of the call that began the run
		r.info.Finished = old.Finished
		if old.FinetuneSeconds != nil {
			r.info.FinetuneSeconds = old.FinetuneSeconds
		}
		warnChanged(old.Data, r.data.parts)
	} else if !errors.Is(err, os.ErrNotExist) {
		slog.Warn("run.json can't be read and is written anew", "error", err)
	}
	r.info.Source, r.info.Data = r.data.source, r.data.parts
	return report.WriteInfo(r.dir, r.info)
}

// warnChanged tells which data are not what they were when the run was last
// worked on.
func warnChanged(before, now []report.DataInfo) {
	for _, part := range now {
		i := slices.IndexFunc(before, func(b report.DataInfo) bool { return b.Role == part.Role && b.Path == part.Path })
		if i >= 0 && before[i].SHA256 != "" && before[i].SHA256 != part.SHA256 {
			slog.Warn("the data changed since this run was last worked on, so what depends on them is done anew",
				"data", part.Role, "path", part.Path, "images", part.Images, "before", before[i].Images)
		}
	}
}

func (r *run) finish() error {
	if r.worked || r.info.Finished.IsZero() {
		r.info.Finished, r.worked = time.Now().UTC(), false
	}
	return report.WriteInfo(r.dir, r.info)
}

func (r *run) stage(name string) func(done, total int) {
	if r.o.Stage == nil {
		return nil
	}
	return func(done, total int) { r.o.Stage(name, done, total) }
}

func precision(p config.Precision, d torch.Device) torch.DType {
	switch p {
	case config.PrecisionBF16:
		return torch.BFloat16
	case config.PrecisionFP32:
		return torch.Float32
	}
	return train.AutoPrecision(d)
}
