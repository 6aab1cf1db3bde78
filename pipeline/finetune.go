package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"arf/anchor"
	"arf/clip"
	"arf/config"
	"arf/dataset"
	"arf/eval"
	"arf/finetune"
	"arf/imaging"
	"arf/train"
)

// of gives a folder of one method and seed under "train" or "eval".
func (r *run) of(kind string, m config.Method, seed int) string {
	return filepath.Join(r.dir, kind, string(m), "seed-"+strconv.Itoa(seed))
}

// finetuneInputs are what the weights of a method and seed depend on.
func (r *run) finetuneInputs(m config.Method, seed int) (inputs, error) {
	t := r.cfg.Train
	t.Workers, t.CheckpointEvery, t.KeepCheckpoints, t.Templates = 0, 0, 0, config.List{Items: r.data.templates}
	t.MicroBatch, t.ActivationCheckpointing = 0, false // round otherwise, no more
	t.SecondPrompts = config.List{}
	if m == config.MethodSecondPrompt {
		t.SecondPrompts.Items = r.data.second
	}
	if !m.TCA() {
		t.LambdaTCA = 0
	}
	if m.Pairs() == config.PairsNone {
		t.LambdaITA = 0
	}
	in := inputs{
		{contentOf + "model", r.modelHash}, {contentOf + "data.finetune", r.data.hashes["finetune"]}, {"classes", prompts(r.data.classes)},
		{"method", m}, {"seed", seed}, {"train", t}, {"precision", r.precision.String()},
	}
	if own := names(r.data.classes); !slices.Equal(own, prompts(r.data.classes)) {
		in.add("classes' names in the data", own)
	}
	// The anchors by their content, as people may edit them.
	if m.Captions() {
		h, err := fileHash(r.captionsPath())
		if err != nil {
			return nil, err
		}
		in.add(contentOf+"captions", h)
		in = append(in, r.captionFilterInputs()...)
	}
	if s := m.Pairs(); s != config.PairsNone {
		h, err := fileHash(r.pairsPath(s))
		if err != nil {
			return nil, err
		}
		in.add(contentOf+"pairs", h)
	}
	return in, nil
}

func (r *run) finetuneAll(ctx context.Context) error {
	for _, seed := range r.cfg.Seeds {
		for _, m := range r.cfg.Methods {
			if !m.Trains() {
				continue
			}
			if err := r.finetune(ctx, m, seed); err != nil {
				return fmt.Errorf("finetune %s, seed %d: %w", m, seed, err)
			}
		}
	}
	return nil
}

func (r *run) finetune(ctx context.Context, m config.Method, seed int) error {
	dir := r.of("train", m, seed)
	inputs, todo, err := r.agreed(func() (string, bool, error) {
		in, err := r.finetuneInputs(m, seed)
		if err != nil {
			return "", false, err
		}
		inputs := in.hash("finetune")
		if done(dir, inputs) {
			return inputs, false, nil
		}
		r.worked = true
		changes := in.changes(dir)
		aside, err := setAside(dir, inputs)
		if err != nil {
			return inputs, true, err
		}
		if aside != "" {
			slog.Warn("settings or data changed, so what was finetuned with the former ones is set aside; with them it comes back, and --set name=… keeps both",
				"method", m, "seed", seed, "changed", cmp.Or(changes, "unknown: the folder is from before changes were kept"), "folder", aside)
		}
		// Results of the weights that were here are none of those to come.
		if err := os.RemoveAll(r.of("eval", m, seed)); err != nil {
			return inputs, true, err
		}
		if done(dir, inputs) {
			slog.Info("a model that was finetuned with these settings before is brought back", "method", m, "seed", seed)
			return inputs, false, r.noteSeconds(m, dir)
		}
		return inputs, true, restart(dir, inputs, in)
	})
	if err != nil || !todo {
		return err
	}
	model, given, o, err := r.training(ctx, m, seed)
	if err != nil {
		return err
	}
	o.Dir, o.Hash, o.Group = dir, inputs, r.group
	if r.o.Training != nil {
		var show func(train.Metrics)
		o.Planned = func(steps int) { show = r.o.Training(fmt.Sprintf("%s seed %d", m, seed), steps) }
		o.Progress = func(m train.Metrics) { show(m) }
	}
	result, err := finetune.Run(ctx, model, given, o)
	if err != nil {
		return err
	}
	if result.Skipped > 0 {
		slog.Warn("steps whose loss or gradient was not finite were skipped", "method", m, "seed", seed, "count", result.Skipped)
	}
	for what, broken := range map[string]int{"finetune images": result.Broken.Count, "pool pairs": result.BrokenPairs.Count} {
		if broken > 0 {
			slog.Warn("samples that could not be read were left out", "what", what, "count", broken)
		}
	}
	return r.group.Lead(func() error { return r.finetuned(m, seed, model, result, inputs) })
}

// finetuned saves what a method and seed gave.
func (r *run) finetuned(m config.Method, seed int, model *clip.Model, result *finetune.Result, inputs string) error {
	dir := r.of("train", m, seed)
	path := filepath.Join(dir, "model")
	card := r.card(m, seed, nil)
	if err := model.SaveWith(path, clip.SaveOptions{Card: &card}); err != nil {
		return err
	}
	if err := r.zeroShot().Save(path); err != nil {
		return err
	}
	if result.Head != nil {
		if err := result.Head.Save(headPath(path)); err != nil {
			return err
		}
	}
	if err := r.noteSeconds(m, dir); err != nil {
		return err
	}
	if err := finished(dir, inputs); err != nil {
		return err
	}
	// The model is what is wanted; checkpoints are for resuming only.
	return os.RemoveAll(filepath.Join(dir, "checkpoints"))
}

// noteSeconds has the report say how long the training in dir took.
func (r *run) noteSeconds(m config.Method, dir string) (err error) {
	r.info.FinetuneSeconds[string(m)], err = trainingSeconds(filepath.Join(dir, "metrics.jsonl"), min(r.cfg.Train.BatchSize, r.data.finetune.Len()))
	return err
}

// training is what finetuning of a method and seed needs: the pretrained model,
// its data, and options without a folder.
func (r *run) training(ctx context.Context, m config.Method, seed int) (model *clip.Model, given finetune.Data, o finetune.Options, err error) {
	if model, err = clip.Load(r.model, r.device); err != nil {
		return nil, given, o, err
	}
	given = finetune.Data{Finetune: r.data.finetune, Classes: prompts(r.data.classes), Templates: r.data.templates, Pool: r.data.pool}
	if m == config.MethodFT {
		given.Classes = names(r.data.classes) // of the head; no prompts are drawn
		if given.ZeroShotHead, err = eval.ZeroShotHead(ctx, model, r.data.classes, r.data.templates, r.precision); err != nil {
			return nil, given, o, err
		}
	}
	switch {
	case m == config.MethodSecondPrompt:
		if given.Captions, err = classPrompts(r.data); err != nil {
			return nil, given, o, err
		}
	case m.Captions():
		if given.Captions, err = anchor.CaptionTexts(r.captionsPath(), r.captionFilter()); err != nil {
			return nil, given, o, err
		}
	}
	if s := m.Pairs(); s != config.PairsNone {
		if given.Pairs, err = r.readPairs(s); err != nil {
			return nil, given, o, err
		}
	}
	t := r.cfg.Train
	o = finetune.Options{
		Method: m, LambdaTCA: t.LambdaTCA, LambdaITA: t.LambdaITA, Negatives: finetune.Negatives(t.Negatives),
		BatchSize: t.BatchSize, MicroBatch: t.MicroBatch, ActivationCheckpointing: t.ActivationCheckpointing, Epochs: m.Epochs(t.Epochs), LR: t.LR, WarmupSteps: t.WarmupSteps, WeightDecay: t.WeightDecay,
		Beta1: t.Beta1, Beta2: t.Beta2, Eps: t.Eps, GradClip: t.GradClip,
		Augment: imaging.Augment{ScaleMin: t.Augment.ScaleMin, ScaleMax: t.Augment.ScaleMax, Flip: t.Augment.Flip},
		// Broken images have no anchors, and the gates may leave an image none:
		// counted and warned about, like other broken samples.
		AllowMissingCaptions: true, AllowMissingPairs: true,
		TrainBatchNorm: !t.FreezeBatchNorm, FreezeLogitScale: !t.TrainLogitScale,
		Precision: r.precision, Device: r.device, Seed: uint64(seed),
		CheckpointEvery: t.CheckpointEvery, KeepCheckpoints: t.KeepCheckpoints, Workers: t.Workers,
	}
	return model, given, o, nil
}

// classPrompts has every finetune image's class in all templates, as if they
// were its captions.
func classPrompts(d *data) (map[string][]string, error) {
	texts := map[string][]string{}
	classes := prompts(d.classes)
	for i := range d.finetune.Len() {
		s, err := dataset.Describe(d.finetune, i)
		if err != nil {
			continue // the loader counts and names it
		}
		if s.Label < 0 || s.Label >= len(classes) {
			return nil, fmt.Errorf("finetune image %s has the label %d; there are %d classes", s.Key, s.Label, len(classes))
		}
		for _, t := range d.second {
			texts[s.Key] = append(texts[s.Key], strings.ReplaceAll(t, "{}", classes[s.Label]))
		}
	}
	return texts, nil
}

// trainingSeconds adds up the steps of a run, of all its resumptions.
func trainingSeconds(metrics string, batchSize int) (float64, error) {
	file, err := os.Open(metrics)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	seconds := 0.0
	for decoder := json.NewDecoder(file); ; {
		var m struct {
			Rate float64 `json:"samples_per_second"`
		}
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return seconds, nil
		} else if err != nil {
			return 0, fmt.Errorf("read %s: %w", metrics, err)
		}
		if m.Rate > 0 {
			seconds += float64(batchSize) / m.Rate
		}
	}
}
