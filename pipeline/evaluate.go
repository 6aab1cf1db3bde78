package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"arf/clip"
	"arf/config"
	"arf/eval"
)

// cachedImages bounds the memory for the decoded images of the suites, which
// every model and every alpha goes through.
const cachedImages = 1 << 30

func (r *run) evaluateAll(ctx context.Context) error {
	for _, seed := range r.cfg.Seeds {
		for _, m := range r.cfg.Methods {
			if m == config.MethodZeroShot && seed != r.cfg.Seeds[0] {
				continue // has no seed
			}
			dir := r.of("eval", m, seed)
			inputs, todo, err := r.agreed(func() (string, bool, error) {
				in, err := r.evaluateInputs(m, seed)
				if err != nil {
					return "", false, err
				}
				inputs := in.hash("evaluate")
				if done(dir, inputs) {
					return inputs, false, nil
				}
				if changes := in.changes(dir); changes != "" {
					slog.Info("a model is evaluated anew", "method", m, "seed", seed, "changed", changes)
				}
				return inputs, true, restart(dir, inputs, in)
			})
			if err != nil {
				return err
			}
			if !todo {
				continue
			}
			r.worked = true
			if err := r.evaluate(ctx, r.evaluator, m, seed, dir); err != nil {
				return fmt.Errorf("evaluate %s, seed %d: %w", m, seed, err)
			}
			if err := r.group.Lead(func() error { return finished(dir, inputs) }); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *run) evalOptions() eval.Options {
	return eval.Options{BatchSize: r.cfg.Eval.BatchSize, Workers: r.cfg.Train.Workers, Precision: r.precision, Group: r.group}
}

// alphas are the WiSE-FT shares at which a method's models are measured.
func (r *run) alphas(m config.Method) []float64 {
	if only := r.cfg.Eval.WiseMethods; !m.Trains() || len(only) > 0 && !slices.Contains(only, m) {
		return nil
	}
	return r.cfg.Eval.WiseAlphas
}

// evaluateInputs are what the measured numbers of a method and seed depend on.
func (r *run) evaluateInputs(m config.Method, seed int) (inputs, error) {
	in := inputs{{contentOf + "model", r.modelHash}, {"classes", names(r.data.classes)}, {"precision", r.precision.String()}}
	for _, s := range r.data.suites {
		key := "test set " + s.Name
		in.add(key, s.Name)
		in.add("role of "+key, s.Role)
		in.add("classes of "+key, s.Classes)
		in.add("prompts of "+key, s.Templates)
		in.add("class mask of "+key, s.ClassMask)
		in.add(contentOf+key, r.data.hashes["suite/"+s.Name])
		if s.Border != 0 || s.ByLabel || len(s.Alias) > 0 || s.Metric != "" {
			in.add("border of "+key, s.Border)
			in.add("labels of "+key, s.ByLabel)
			in.add("aliases of "+key, s.Alias)
			in.add("metric of "+key, s.Metric)
		}
	}
	if m.Trains() {
		finetune, err := r.finetuneInputs(m, seed)
		if err != nil {
			return nil, err
		}
		in.add(contentOf+"finetuned model", finetune.hash("finetune"))
		in.add("eval.wise_alphas", r.alphas(m))
		in.add("eval.drift.samples", r.cfg.Eval.Drift.Samples)
		in.add(contentOf+"eval.drift.source", r.data.hashes["drift"])
	}
	return in, nil
}

func (r *run) evaluate(ctx context.Context, evaluator *eval.Evaluator, m config.Method, seed int, dir string) error {
	name := fmt.Sprintf("evaluate %s seed %d", m, seed)
	alphas := r.alphas(m)
	report := r.stage(name)
	if report == nil {
		report = func(int, int) {}
	}
	total := 1 + len(alphas)
	report(0, total)
	pretrained, err := clip.Load(r.model, r.device)
	if err != nil {
		return err
	}
	model, head := pretrained, (*eval.Head)(nil)
	path := filepath.Join(r.of("train", m, seed), "model")
	if m.Trains() {
		if model, err = clip.Load(path, r.device); err != nil {
			return err
		}
		if head, err = linearHead(path); err != nil {
			return err
		}
	}
	results, err := evaluator.Evaluate(ctx, model, head)
	if errors.Is(err, clip.ErrNotFinite) && m.Trains() {
		return fmt.Errorf("%s: %w; lower train.lr, or delete the folder to train again", path, err)
	}
	if err != nil {
		return err
	}
	if err := r.group.Lead(func() error { return r.save(results, model, m, seed, dir, nil) }); err != nil {
		return err
	}
	report(1, total)
	if !m.Trains() {
		r.zeroshot = results
		return nil
	}
	describe := func() error {
		return errors.Join(model.WriteCard(path, r.card(m, seed, results)), r.zeroShot().Save(path))
	}
	if err := r.group.Lead(describe); err != nil {
		return err
	}
	if err := r.drift(ctx, pretrained, model, m, seed, dir); err != nil {
		return err
	}
	if len(alphas) == 0 {
		return nil
	}
	// The ends of the curve are models that are measured already.
	ends := map[float64][]*eval.Result{}
	if head == nil {
		ends[1] = results
		if r.zeroshot != nil {
			ends[0] = r.zeroshot
		}
	}
	return r.wise(ctx, evaluator, ends, pretrained, model, head, m, seed, dir, func(i int) { report(1+i, total) })
}

// drift measures how far a method moved the features of held-out pairs, where the config has some.
func (r *run) drift(ctx context.Context, pretrained, model *clip.Model, m config.Method, seed int, dir string) error {
	if r.data.drift == nil {
		return nil
	}
	drift, err := eval.Drift(ctx, pretrained, model, r.data.drift, r.cfg.Eval.Drift.Samples, r.evalOptions())
	if err != nil {
		return err
	}
	drift.Method, drift.Seed = string(m), seed
	return r.group.Lead(func() error { return drift.Save(filepath.Join(dir, "drift.json")) })
}

// wise measures the models between the pretrained and the finetuned one.
func (r *run) wise(ctx context.Context, evaluator *eval.Evaluator, ends map[float64][]*eval.Result, pretrained, model *clip.Model, head *eval.Head, m config.Method, seed int, dir string, step func(int)) error {
	between, err := eval.Interpolate(pretrained, model, 0)
	if err != nil {
		return err
	}
	var zeroshot *eval.Head
	if head != nil {
		if zeroshot, err = eval.ZeroShotHead(ctx, pretrained, r.data.classes, r.data.templates, r.precision); err != nil {
			return err
		}
	}
	for i, alpha := range r.alphas(m) {
		if err := eval.InterpolateInto(between, pretrained, model, alpha); err != nil {
			return err
		}
		results, ok := ends[alpha]
		if !ok {
			mixed := head
			if head != nil {
				if mixed, err = eval.InterpolateHeads(zeroshot, head, alpha); err != nil {
					return err
				}
			}
			if results, err = evaluator.Evaluate(ctx, between, mixed); err != nil {
				return err
			}
		}
		folder := filepath.Join(dir, "wise-"+strconv.FormatFloat(alpha, 'g', -1, 64))
		if err := r.group.Lead(func() error { return r.save(results, between, m, seed, folder, &alpha) }); err != nil {
			return err
		}
		step(i + 1)
	}
	return nil
}

// save writes a file for each suite; model is the one that was measured.
func (r *run) save(results []*eval.Result, model *clip.Model, m config.Method, seed int, dir string, alpha *float64) error {
	weights, err := model.Hash()
	if err != nil {
		return err
	}
	for _, shared := range results {
		result := *shared
		result.Model, result.Pretrained = r.cfg.Model, weights
		result.DataSource, result.DataSHA256 = r.data.source, r.data.hashes["suite/"+result.Dataset]
		result.Method, result.Seed, result.Alpha = string(m), seed, alpha
		if err := result.Save(filepath.Join(dir, result.Dataset+".json")); err != nil {
			return err
		}
	}
	return nil
}

// headPath is the classifier of method ft beside its model.
func headPath(model string) string { return filepath.Join(model, "head.safetensors") }

// linearHead reads it; nil where there is none.
func linearHead(model string) (*eval.Head, error) {
	head, err := eval.LoadHead(headPath(model))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return head, err
}
