package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"arf/anchor"
	"arf/clip"
	"arf/config"
	"arf/dataset"
	"arf/finetune"
	"arf/index"
	"arf/milvus"
)

// pairsPath is pairs.parquet, for a control's pairs pairs-random.parquet and so on.
func (r *run) pairsPath(s config.PairSource) string {
	name := "pairs"
	if s != config.PairsRetrieved {
		name += "-" + string(s)
	}
	return filepath.Join(r.dir, "anchors", name+".parquet")
}

// pairSettings are the config's, with the query that the method's name says.
func (r *run) pairSettings(s config.PairSource) config.Pairs {
	p := r.cfg.Anchors.Pairs
	switch s {
	case config.PairsClassText:
		p.Query = config.QueryClassText
	case config.PairsCaptions:
		// What keeps them comparable and clean stays: exclusions, duplicates, the
		// leak guard. Limits and ranking are for pairs.
		p.Query, p.PerClassQuota, p.MinSimilarity, p.MinClipScore = config.QueryImageText, 0, -1, -1
		p.ClipScoreWeight, p.CSLS = 0, false
		p.K = 10 * r.cfg.Anchors.Captions.PerImage // their texts repeat
	case config.PairsRandom, config.PairsRandomMatched:
		p.Query = config.QueryRandom
	}
	return p
}

// approximate is the index that pairs are found through, "" for an exact search.
func (r *run) approximate(s config.PairSource) config.Index {
	p := r.pairSettings(s)
	if p.Query == config.QueryRandom || p.Index == config.IndexExact {
		return ""
	}
	return p.Index
}

// pairsInputs are what the pairs depend on.
func (r *run) pairsInputs(s config.PairSource) (inputs, error) {
	p := r.pairSettings(s)
	p.BatchSize, p.LeakGuard.Sources = 0, nil
	if p.Query != config.QueryMix || p.Mix == config.DefaultMix {
		p.Mix = config.Mix{} // as before there were weights
	}
	// Only an approximate search gives other pairs.
	p.Index = r.approximate(s)
	if p.Index != config.IndexMilvus {
		p.Milvus = config.Milvus{}
	}
	p.Milvus.Address, p.Milvus.Collection = "", ""
	in := inputs{
		{contentOf + "model", r.modelHash}, {contentOf + "data.finetune", r.data.hashes["finetune"]}, {contentOf + "data.pool", r.data.hashes["pool"]},
		{"anchors.pairs", p}, {"precision", r.precision.String()},
	}
	if p.LeakGuard.On() {
		for _, g := range r.data.guarded {
			in.add(contentOf+g.key, r.data.hashes[g.key])
		}
	}
	if p.ClassText() {
		in.add("train.templates", r.data.templates)
	}
	if p.CaptionText() {
		captions, err := r.captionsInputs()
		if err != nil {
			return nil, err
		}
		in.add(contentOf+"captions", captions.hash("captions"))
		in = append(in, r.captionFilterInputs()...)
	}
	if s == config.PairsRandomMatched {
		h, err := fileHash(r.pairsPath(config.PairsRetrieved))
		if err != nil {
			return nil, err
		}
		in.add(contentOf+"retrieved pairs", h)
	}
	return in, nil
}

// pairs takes pairs of the pool for the finetune images, by retrieval and for
// the controls at random, as the methods need them.
func (r *run) pairs(ctx context.Context) error {
	for _, s := range r.cfg.PairSources() {
		if err := r.pairsFrom(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) pairsFrom(ctx context.Context, s config.PairSource) error {
	path := r.pairsPath(s)
	dir := strings.TrimSuffix(path, ".parquet")
	inputs, todo, err := r.agreed(func() (string, bool, error) {
		in, err := r.pairsInputs(s)
		if err != nil {
			return "", true, err
		}
		inputs := in.hash("pairs")
		if _, err := os.Stat(path); err == nil && done(dir, inputs) {
			return inputs, false, nil
		}
		if changes := in.changes(dir); changes != "" {
			slog.Info("pairs are taken from the pool anew", "pairs", s, "changed", changes)
		}
		// From here until they are retrieved the file may be of other inputs.
		if err := os.RemoveAll(dir); err != nil {
			return inputs, true, err
		}
		return inputs, true, in.save(dir)
	})
	if err != nil || !todo {
		return err
	}
	if r.data.pool == nil {
		return fmt.Errorf("data.pool is not set; methods with retrieved pairs, such as arf+class-text, and captions by retrieval need a pool of image-text pairs")
	}
	model, err := clip.Load(r.model, r.device)
	if err != nil {
		return err
	}
	p := r.pairSettings(s)
	in := anchor.PairInput{Model: model}
	if in.Pool, in.PoolRows, err = r.poolFeatures(ctx, model); err != nil {
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
	// The features are everyone's work, the search is rank 0's.
	return r.group.Lead(func() error { return r.retrieve(ctx, s, in, inputs) })
}

func (r *run) retrieve(ctx context.Context, s config.PairSource, in anchor.PairInput, inputs string) (err error) {
	path := r.pairsPath(s)
	dir, p := strings.TrimSuffix(path, ".parquet"), r.pairSettings(s)
	o := anchor.PairOptions{
		K: p.K, ClassQuota: p.PerClassQuota, MinSimilarity: p.MinSimilarity, MinCLIPScore: p.MinClipScore,
		CLIPScoreWeight: p.ClipScoreWeight, CSLS: p.CSLS, Exclude: p.Exclude, DuplicateCosine: p.DuplicateCosine,
		Guard:     anchor.GuardOptions{Cosine: p.LeakGuard.NearDuplicateCosine, Print: p.LeakGuard.NearDuplicatePrint},
		FAISS:     r.approximate(s) == config.IndexFAISS,
		Precision: r.precision, Device: r.device, Progress: r.stage(string(s) + " pairs"),
	}
	if m := p.Milvus; r.approximate(s) == config.IndexMilvus {
		o.Milvus = &index.MilvusOptions{
			Options:    milvus.Options{Address: m.Address, Token: os.Getenv(milvus.TokenEnv)},
			Collection: m.Collection, Kind: string(m.IndexType),
		}
	}
	if o.Query, err = queryOf(p); err != nil {
		return err
	}
	in.Templates = r.data.templates
	if p.CaptionText() {
		if in.Captions, err = anchor.CaptionTexts(r.captionsPath(), r.captionFilter()); err != nil {
			return err
		}
	}
	if s == config.PairsRandomMatched {
		if in.Like, err = anchor.ReadPairs(r.pairsPath(config.PairsRetrieved)); err != nil {
			return err
		}
	}
	r.worked = true
	summary, err := anchor.Retrieve(ctx, path, in, o)
	if err != nil {
		return err
	}
	if r.o.Out != nil {
		fmt.Fprintf(r.o.Out, "%s pairs: %s; see %s\n", s, summary, dir+".json")
		if e := summary.Exact; e != nil {
			fmt.Fprintln(r.o.Out, e)
		}
		if f := summary.FAISS; f != nil {
			fmt.Fprintln(r.o.Out, f)
		}
		if m := summary.Milvus; m != nil {
			fmt.Fprintln(r.o.Out, m)
		}
	}
	return finished(dir, inputs)
}

// queryOf is what the settings compare with what.
func queryOf(p config.Pairs) (anchor.Query, error) {
	if m := p.Mix; p.Query == config.QueryMix {
		return anchor.Query{Image: m.Image, ImageText: m.ImageText, ClassText: m.ClassText, CaptionText: m.CaptionText}, nil
	}
	return anchor.ParseQuery(string(p.Query))
}

// poolFeatures gives the pool's features, those that are there or computed ones;
// ready tells the former, whose rows are the pool's samples.
func (r *run) poolFeatures(ctx context.Context, model *clip.Model) (store *index.Store, ready bool, err error) {
	dir := dataset.EmbeddingsOf(r.data.pool)
	if dir == "" {
		store, err = r.embed(ctx, model, "pool", r.data.pool, true)
		return store, false, err
	}
	if store, err = index.Open(dir); err == nil {
		err = anchor.CheckFeatures(ctx, store, r.data.pool, anchor.Encoder{Model: model, Precision: r.precision})
	}
	if err != nil {
		return nil, true, fmt.Errorf("data.pool: %w", err)
	}
	return store, true, nil
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
		BatchSize: r.cfg.Anchors.Pairs.BatchSize, Workers: r.cfg.Train.Workers, Texts: texts, DataHash: content, Group: r.group,
		Progress: r.stage("features of " + key),
	})
}

// readPairs gives the pool's rows that each finetune image has.
func (r *run) readPairs(s config.PairSource) (map[string][]finetune.PairRef, error) {
	pairs, err := anchor.ReadPairs(r.pairsPath(s))
	if err != nil {
		return nil, err
	}
	rows := map[string][]finetune.PairRef{}
	for _, p := range pairs {
		rows[p.QueryKey] = append(rows[p.QueryKey], finetune.PairRef{Row: int(p.Row)})
	}
	return rows, nil
}
