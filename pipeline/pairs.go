package pipeline

import (
	"context"
	"fmt"
	"path/filepath"

	"arf/anchor"
	"arf/clip"
	"arf/config"
	"arf/dataset"
	"arf/finetune"
	"arf/index"
)

func (r *run) pairsPath() string { return filepath.Join(r.dir, "anchors", "pairs.parquet") }

// pairsHash covers what the pairs depend on.
func (r *run) pairsHash() (string, error) {
	p := r.cfg.Anchors.Pairs
	parts := []any{"pairs", r.modelHash, r.data.hashes, p, r.cfg.Train.Templates, r.precision.String()}
	if p.Query == config.QueryCaptionText {
		h, err := r.captionsHash()
		if err != nil {
			return "", err
		}
		parts = append(parts, h)
	}
	return hash(parts...), nil
}

// pairs retrieves pairs of the pool for the finetune images, where a method
// uses them.
func (r *run) pairs(ctx context.Context) error {
	if !r.cfg.NeedsPairs() {
		return nil
	}
	inputs, err := r.pairsHash()
	if err != nil {
		return err
	}
	dir := filepath.Join(r.dir, "anchors", "pairs")
	if done(dir, inputs) {
		return nil
	}
	if r.data.pool == nil {
		return fmt.Errorf("data.pool is not set; methods with retrieved pairs (flyp+ita, arf) need a pool of image-text pairs")
	}
	model, err := clip.Load(r.cfg.Model, r.device)
	if err != nil {
		return err
	}
	p := r.cfg.Anchors.Pairs
	in := anchor.PairInput{Model: model}
	if in.Pool, err = r.embed(ctx, model, "pool", r.data.pool, true); err != nil {
		return err
	}
	if in.Finetune, err = r.embed(ctx, model, "finetune", r.data.finetune, false); err != nil {
		return err
	}
	if p.LeakGuard.NearDuplicateCosine > 0 {
		for _, g := range r.data.guarded {
			store, err := r.embed(ctx, model, g.name, g.data, false)
			if err != nil {
				return err
			}
			in.Guards = append(in.Guards, anchor.Guard{Name: g.name, Store: store})
		}
	}
	o := anchor.PairOptions{
		K: p.K, ClassQuota: p.PerClassQuota, MinSimilarity: p.MinSimilarity, MinCLIPScore: -1,
		Guard:     anchor.GuardOptions{Cosine: p.LeakGuard.NearDuplicateCosine},
		Precision: r.precision, Device: r.device, Progress: r.stage("retrieve pairs"),
	}
	if o.Query, err = anchor.ParseQuery(string(p.Query)); err != nil {
		return err
	}
	if in.Templates, err = r.cfg.Train.Templates.Read(); err != nil {
		return fmt.Errorf("train.templates: %w", err)
	}
	if p.Query == config.QueryCaptionText {
		if in.Captions, err = anchor.CaptionTexts(r.captionsPath(), r.cfg.Anchors.Captions.MinClipScore); err != nil {
			return err
		}
	}
	r.worked = true
	summary, err := anchor.Retrieve(ctx, r.pairsPath(), in, o)
	if err != nil {
		return err
	}
	if r.o.Out != nil {
		fmt.Fprintf(r.o.Out, "pairs: %d for %d images, %d different; mean cosine %.3f\n", summary.Pairs, summary.Queries, summary.Distinct, summary.Score)
	}
	return finished(dir, inputs)
}

// embed computes a dataset's features, or finds them: they are shared by all
// runs in the output folder.
func (r *run) embed(ctx context.Context, model *clip.Model, name string, data dataset.Dataset, texts bool) (*index.Store, error) {
	content, ok := r.data.hashes[name]
	if !ok {
		return nil, fmt.Errorf("embed %s: its content has no hash", name)
	}
	dir := filepath.Join(r.cfg.Output, "features", hash(r.modelHash, content, texts, r.precision.String()))
	return index.Embed(ctx, dir, data, anchor.Encoder{Model: model, Precision: r.precision}, index.EmbedOptions{
		BatchSize: r.cfg.Anchors.Pairs.BatchSize, Workers: r.cfg.Train.Workers, Texts: texts, DataHash: content,
		Progress: r.stage("features of " + name),
	})
}

// readPairs gives the pool's rows that each finetune image retrieved.
func (r *run) readPairs() (map[string][]finetune.PairRef, error) {
	pairs, err := anchor.ReadPairs(r.pairsPath())
	if err != nil {
		return nil, err
	}
	rows := map[string][]finetune.PairRef{}
	for _, p := range pairs {
		rows[p.QueryKey] = append(rows[p.QueryKey], finetune.PairRef{Row: int(p.Row)})
	}
	return rows, nil
}
