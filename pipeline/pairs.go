package pipeline

import (
	"context"
	"fmt"
	"os"
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
	p.BatchSize, p.LeakGuard.Sources = 0, nil
	parts := []any{"pairs", r.modelHash, r.data.hashes["finetune"], r.data.hashes["pool"], p, r.precision.String()}
	if p.LeakGuard.On() {
		for _, g := range r.data.guarded {
			parts = append(parts, r.data.hashes[g.key])
		}
	}
	if p.Query == config.QueryClassText || p.Query == config.QueryMix {
		parts = append(parts, r.data.templates)
	}
	if p.Query == config.QueryCaptionText {
		h, err := r.captionsHash()
		if err != nil {
			return "", err
		}
		parts = append(parts, h, r.cfg.Anchors.Captions.MinClipScore)
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
	if _, err := os.Stat(r.pairsPath()); err == nil && done(dir, inputs) {
		return nil
	}
	// From here until they are retrieved the file may be of other inputs.
	if err := os.RemoveAll(dir); err != nil {
		return err
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
	if p.LeakGuard.On() {
		for _, g := range r.data.guarded {
			store, err := r.embed(ctx, model, g.key, g.data, false)
			if err != nil {
				return err
			}
			in.Guards = append(in.Guards, anchor.Guard{Name: g.key, Store: store})
		}
	}
	o := anchor.PairOptions{
		K: p.K, ClassQuota: p.PerClassQuota, MinSimilarity: p.MinSimilarity, MinCLIPScore: p.MinClipScore,
		CLIPScoreWeight: p.ClipScoreWeight, CSLS: p.CSLS, DuplicateCosine: p.DuplicateCosine,
		Guard:     anchor.GuardOptions{Cosine: p.LeakGuard.NearDuplicateCosine, Print: p.LeakGuard.NearDuplicatePrint},
		Precision: r.precision, Device: r.device, Progress: r.stage("retrieve pairs"),
	}
	if o.Query, err = anchor.ParseQuery(string(p.Query)); err != nil {
		return err
	}
	in.Templates = r.data.templates
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
		fmt.Fprintf(r.o.Out, "pairs: %d for %d images, %d different; mean cosine %.3f; %d of %d pairs of the pool left out, see anchors/pairs.json\n",
			summary.Pairs, summary.Queries, summary.Distinct, summary.Score, summary.Pool-summary.Eligible, summary.Pool)
	}
	return finished(dir, inputs)
}

// embed computes a dataset's features, or finds them: they are shared by all
// runs in the output folder.
func (r *run) embed(ctx context.Context, model *clip.Model, key string, data dataset.Dataset, texts bool) (*index.Store, error) {
	content, ok := r.data.hashes[key]
	if !ok {
		return nil, fmt.Errorf("embed %s: its content has no hash", key)
	}
	dir := filepath.Join(r.cfg.Output, "features", hash(r.modelHash, content, texts, r.precision.String()))
	return index.Embed(ctx, dir, data, anchor.Encoder{Model: model, Precision: r.precision}, index.EmbedOptions{
		BatchSize: r.cfg.Anchors.Pairs.BatchSize, Workers: r.cfg.Train.Workers, Texts: texts, DataHash: content,
		Progress: r.stage("features of " + key),
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
