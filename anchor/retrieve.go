package anchor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"arf/clip"
	"arf/index"
	"arf/torch"
)

// PairInput is what pairs are made from. All features are of one model.
type PairInput struct {
	Pool *index.Store // images and texts
	// PoolRows numbers the pairs by the features' rows, for a pool whose samples
	// those are; false numbers them by the dataset that Embed made them of.
	PoolRows bool
	Finetune *index.Store // images; their classes are needed for quota and class prompts
	// Guards are further sets that no pair may show; the finetune set always is one.
	Guards []Guard
	// Model makes the features of class prompts and captions; nil if the query
	// has neither.
	Model     *clip.Model
	Templates []string            // of class prompts, "{}" standing for the name
	Captions  map[string][]string // of a finetune image, by its key; see CaptionTexts
	// Like, for a random query, are retrieved pairs whose classes each image's
	// random ones shall have; nil draws from the whole pool.
	Like []Pair
}

// PairOptions say what is retrieved. Zero values are the defaults given.
type PairOptions struct {
	Query Query `json:"query"`
	K     int   `json:"k"` // pairs an image; 0 is 10
	// ClassQuota is the most different pairs that a class keeps; 0 has no limit.
	ClassQuota int `json:"class_quota"`
	// MinSimilarity is the lowest score of a pair, MinCLIPScore the lowest
	// cosine of its own image and text, both in [−1, 1]; −1 has no limit.
	MinSimilarity float64 `json:"min_similarity"`
	MinCLIPScore  float64 `json:"min_clip_score"`
	// CLIPScoreWeight ranks by score + weight·(the pair's own cosine).
	CLIPScoreWeight float64 `json:"clip_score_weight"`
	// CSLS ranks by 2·cos(q, p) − r(p), where r(p) is the pair's mean cosine
	// with its 10 nearest queries (Conneau et al. 2018, eq. 3, without the term
	// that is the same for all pairs of a query): pairs that are near everything,
	// hubs, rank lower.
	CSLS bool `json:"csls"`
	// Exclude drops pairs by their metadata: "column=value" each, the whole
	// value; "column=" drops those without one.
	Exclude []string `json:"exclude,omitempty"`
	// DuplicateCosine drops retrieved pairs whose images are this near to
	// another's; 0 drops those with equal pixels only.
	DuplicateCosine float64      `json:"duplicate_cosine"`
	Guard           GuardOptions `json:"guard"`
	// FAISS searches the pool approximately, through its FAISS indexes, which are
	// built where they aren't there; the guard stays exact.
	FAISS bool `json:"faiss,omitempty"`
	// Milvus searches it through collections on a Milvus server, which are filled
	// where they aren't there; nil doesn't. FAISS must be false.
	Milvus *index.MilvusOptions `json:"milvus,omitempty"`

	// Precision of the texts' features and of exact searches: torch.BFloat16 or
	// torch.Float32 (the zero value too). Searches find the same in both.
	Precision torch.DType           `json:"precision"`
	Device    torch.Device          `json:"-"`
	Progress  func(done, total int) `json:"-"` // may be nil
}

// GuardOptions bound how near to a guarded image a pair may be. Equal pixels
// are never allowed.
type GuardOptions struct {
	Cosine float64 `json:"cosine"` // of the features; 0 is off
	Print  float64 `json:"print"`  // correlation of 16×16 grey values; 0 is off; 0.97 finds re-encoded and slightly changed copies
}

// cslsNeighbors is Conneau et al.'s.
const cslsNeighbors = 10

func (o *PairOptions) check(in *PairInput) error {
	if o.Query == (Query{}) {
		o.Query = Query{Image: 1}
	}
	o.K = cmp.Or(o.K, 10)
	switch {
	case in.Like != nil && !o.Query.Random:
		return errors.New("pairs to be like are for the query random only")
	case o.FAISS && o.Milvus != nil:
		return errors.New("the pool is searched through FAISS or Milvus, not both")
	case o.K < 0 || o.ClassQuota < 0:
		return errors.New("k and the class quota can't be negative")
	case in.Pool == nil || in.Finetune == nil:
		return errors.New("pool and finetune set are needed")
	case in.Pool.Images() == nil || in.Pool.Texts() == nil:
		return fmt.Errorf("%s: the pool needs features of images and texts; embed it with texts", in.Pool.Dir)
	case in.Finetune.Images() == nil:
		return fmt.Errorf("%s: the finetune set needs features of its images", in.Finetune.Dir)
	case (o.Query.ClassText > 0 || o.Query.CaptionText > 0) && in.Model == nil:
		return errors.New("the query compares prompts or captions, which needs the model")
	case o.Query.ClassText > 0 && len(in.Templates) == 0:
		return errors.New("the query compares class prompts, which needs templates")
	case o.Query.CaptionText > 0 && len(in.Captions) == 0:
		return errors.New("the query compares captions, and there are none; run `arf caption` first")
	}
	for _, x := range []struct {
		name          string
		value, lo, hi float64
	}{
		{"min_similarity", o.MinSimilarity, -1, 1}, {"min_clip_score", o.MinCLIPScore, -1, 1}, {"clip_score_weight", o.CLIPScoreWeight, -100, 100},
		{"duplicate cosine", o.DuplicateCosine, 0, 1}, {"guard cosine", o.Guard.Cosine, 0, 1}, {"guard print", o.Guard.Print, 0, 1},
	} {
		if !(x.value >= x.lo && x.value <= x.hi) {
			return fmt.Errorf("%s is %v, must be in [%v, %v]", x.name, x.value, x.lo, x.hi)
		}
	}
	for _, s := range append([]Guard{{"finetune set", in.Finetune}}, in.Guards...) {
		if s.Store == nil || s.Store.Images() == nil {
			return fmt.Errorf("guard %s has no features of images", s.Name)
		}
		if !sameModel(s.Store, in.Pool) {
			return fmt.Errorf("%s and %s have features of different models; embed both with one", s.Store.Dir, in.Pool.Dir)
		}
	}
	return o.Query.check()
}

// checkGuard refuses a guard that a pool of features made elsewhere, which have
// neither hashes nor prints of the pixels, would pass unseen.
func (p *pool) checkGuard(dir string, o PairOptions) error {
	switch {
	case p.printed:
		return nil
	case o.Guard.Print > 0:
		return fmt.Errorf("the pool's features in %s have no prints, so anchors.pairs.leak_guard.near_duplicate_print can't find copies of test images; set it to 0 and use near_duplicate_cosine, or have the pool embedded from its images", dir)
	case o.Guard.Cosine == 0:
		return fmt.Errorf("the pool's features in %s have no hashes of the pixels, so only anchors.pairs.leak_guard.near_duplicate_cosine can keep test images out of the pairs; set it, for example to 0.98", dir)
	}
	return nil
}

// Retrieve writes, for each finetune image, the pairs of the pool that are most
// like it to path (see Pair), and a PairSummary beside. Leaks, duplicates and
// pairs without text are dropped first, and counted. The result depends on
// nothing but input and options; what is there for the same ones stays.
func Retrieve(ctx context.Context, path string, in PairInput, o PairOptions) (*PairSummary, error) {
	s, err := retrieve(ctx, path, &in, o)
	if err != nil {
		return nil, fmt.Errorf("retrieve into %s: %w", path, err)
	}
	return s, nil
}

func retrieve(ctx context.Context, path string, in *PairInput, o PairOptions) (*PairSummary, error) {
	if err := o.check(in); err != nil {
		return nil, err
	}
	hash, err := in.hash(o)
	if err != nil {
		return nil, err
	}
	var old PairSummary
	if found, err := readSummary(beside(path), &old); err != nil {
		return nil, err
	} else if found && old.Hash == hash {
		if pairs, err := ReadPairs(path); err == nil && len(pairs) == old.Pairs {
			return &old, nil
		}
	}
	r := &retrieval{in: in, o: o}
	if err := r.load(ctx); err != nil {
		return nil, err
	}
	if (o.FAISS || o.Milvus != nil) && !o.Query.Random {
		if err := r.openApproximate(ctx); err != nil {
			return nil, err
		}
		defer r.approximate.close()
	}
	var lists [][]found
	if o.Query.Random {
		if lists, err = r.draw(); err == nil {
			err = r.score(lists)
		}
	} else {
		lists, err = r.search(ctx)
	}
	if err != nil {
		return nil, err
	}
	examples := r.droppedExamples()
	rows, err := r.pool.tell(lists, examples)
	if err != nil {
		return nil, err
	}
	pairs := r.pairs(lists, rows)
	if len(pairs) == 0 {
		return nil, errors.New("no pair is left; lower the least similarities or loosen the guard (dropped: " + r.reasons() + ")")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	s := r.summarize(pairs, lists, examples, rows)
	s.Hash = hash
	// First the old summary, which would say of these pairs that they're the old ones.
	if err := os.Remove(beside(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := WritePairs(path, pairs); err != nil {
		return nil, err
	}
	return s, writeSummary(beside(path), s)
}

// hash identifies what the pairs depend on.
func (in *PairInput) hash(o PairOptions) (string, error) {
	model := ""
	if o.Query.ClassText > 0 || o.Query.CaptionText > 0 {
		var err error
		if model, err = in.Model.Hash(); err != nil {
			return "", err
		}
	}
	type store struct{ Name, Dir, Hash string }
	stores := []store{}
	for _, g := range append([]Guard{{"pool", in.Pool}, {"finetune", in.Finetune}}, in.Guards...) {
		s := store{Name: g.Name, Hash: g.Store.Manifest.Hash}
		if s.Hash == "" { // made elsewhere
			s.Dir = fmt.Sprint(g.Store.Dir, g.Store.Len(), g.Store.Dim())
		}
		stores = append(stores, s)
	}
	if in.PoolRows {
		stores = append(stores, store{Name: "rows"})
	}
	return hashOf(1, stores, model, o, in.Templates, in.Captions, in.Like), nil
}

// retrieval is one run.
type retrieval struct {
	in         *PairInput
	o          PairOptions
	stage      *stages
	pool       pool
	queries    []index.Row
	vectors    index.Dense // of the queries
	asks       []bool      // false for queries without any part
	candidates *candidates
	scale      float64        // of the cosines in the ranking
	excluded   map[string]int // rows of the pool that each exclusion names

	approximate *approximate // nil for an exact search
	exact       ExactSummary
}

// load reads rows and features, and drops what may not be retrieved.
func (r *retrieval) load(ctx context.Context) (err error) {
	in, o := r.in, r.o
	guards := append([]Guard{{"finetune", in.Finetune}}, in.Guards...)
	r.stage = newStages(o)
	if err := r.pool.read(in.Pool, o); err != nil {
		return err
	}
	if r.queries, err = in.Finetune.Rows(); err != nil {
		return err
	}
	if err := r.pool.checkGuard(in.Pool.Dir, o); err != nil {
		return err
	}
	if r.pool.clip, err = rowProducts(ctx, in.Pool.Images(), in.Pool.Texts()); err != nil {
		return err
	}
	if err := r.pool.guard(ctx, in.Pool.Images(), guards, o, r.stage); err != nil {
		return err
	}
	var excluded []bool
	if excluded, r.excluded, err = excludedRows(in.Pool, o.Exclude); err != nil {
		return err
	}
	for i := range r.pool.dropped {
		switch {
		case r.pool.dropped[i] != "":
		case excluded != nil && excluded[i]:
			r.pool.dropped[i] = Excluded
		case !r.pool.texts[i]:
			r.pool.dropped[i] = NoText
		case float64(r.pool.clip[i]) < o.MinCLIPScore:
			r.pool.dropped[i] = LowCLIPScore
		}
	}
	r.pool.samePixels()
	if r.vectors, r.asks, err = queryVectors(ctx, in, o.Query, r.queries, o); err != nil {
		return err
	}
	r.candidates = &candidates{space: o.Query.space(in.Pool.Dim()), images: in.Pool.Images(), texts: in.Pool.Texts()}
	return r.rank(ctx)
}

// rank sets the pairs' biases and scales the queries, so that a product is the
// ranking score.
func (r *retrieval) rank(ctx context.Context) error {
	n := len(r.pool.dropped)
	r.scale = 1
	bias := make([]float32, n)
	if r.o.CSLS {
		near, err := r.o.exact(r.vectors, r.stage.next()).Search(ctx, r.candidates, cslsNeighbors)
		if err != nil {
			return err
		}
		for i := range bias {
			scores, _ := near.Of(i)
			sum := 0.0
			for _, s := range scores {
				sum += float64(s)
			}
			bias[i] = float32(-share(sum, len(scores)))
		}
		r.scale = 2
		for i := range r.queries {
			row := r.vectors.Row(i)
			for j := range row[:len(row)-1] {
				row[j] *= 2
			}
		}
	}
	for i := range bias {
		bias[i] += float32(r.o.CLIPScoreWeight * float64(r.pool.clip[i]))
		if r.pool.dropped[i] != "" {
			bias[i] = index.Excluded
		}
	}
	r.candidates.bias = bias
	return nil
}

// list turns ranking scores back to cosines, and leaves out what was dropped or
// is too dissimilar.
func (r *retrieval) list(scores []float32, at []int32, row func(int32) int) []found {
	var out []found
	for i, s := range scores {
		if at[i] < 0 { // none was found
			continue
		}
		k := row(at[i])
		if r.pool.dropped[k] != "" || s < index.Excluded/2 {
			continue
		}
		cosine := (float64(s) - float64(r.candidates.bias[k])) / r.scale
		if cosine = min(max(cosine, -1), 1); cosine < r.o.MinSimilarity {
			continue
		}
		out = append(out, found{k, cosine})
	}
	return out
}

// search finds each query's k best pairs, without near duplicates, within the
// classes' quotas.
func (r *retrieval) search(ctx context.Context) ([][]found, error) {
	k := r.o.K
	if r.o.DuplicateCosine > 0 {
		k = 2*k + 10 // to have some to drop
	}
	lists := make([][]found, len(r.queries))
	for round := 1; ; round++ {
		best, err := r.nearest(ctx, k)
		if err != nil {
			return nil, err
		}
		for q := range lists {
			if lists[q] = nil; r.asks[q] {
				scores, at := best.Of(q)
				lists[q] = r.list(scores, at, func(row int32) int { return int(row) })
			}
		}
		if r.o.DuplicateCosine == 0 {
			break
		}
		more, err := r.dropNear(ctx, lists, best.K)
		if err != nil {
			return nil, err
		}
		if !more || round == searchRounds {
			break
		}
		k *= 2
	}
	if r.o.ClassQuota > 0 {
		// Those below the k-th rank were there to replace duplicates.
		return r.withinQuota(ctx, shorten(lists, r.o.K))
	}
	return shorten(lists, r.o.K), nil
}

// nearest finds each query's k best pairs.
func (r *retrieval) nearest(ctx context.Context, k int) (*index.Neighbors, error) {
	progress := r.stage.next()
	if r.approximate != nil {
		return r.approximate.search(ctx, r.vectors, k, progress)
	}
	search := r.o.exact(r.candidates, progress)
	start := time.Now()
	n, err := search.Search(ctx, r.vectors, k)
	r.exact.Precision = "float32"
	if search.InBF16() {
		r.exact.Precision = "bfloat16"
	}
	r.exact.SearchSeconds += time.Since(start).Seconds()
	return n, err
}

// searchRounds bounds the search for pairs that replace near duplicates.
const searchRounds = 4

func shorten(lists [][]found, k int) [][]found {
	for q, list := range lists {
		lists[q] = list[:min(k, len(list))]
	}
	return lists
}

// dropNear drops near duplicates among all pairs that were found, and tells
// whether a query lacks pairs that a longer search may find.
func (r *retrieval) dropNear(ctx context.Context, lists [][]found, searched int) (more bool, err error) {
	seen := make([]bool, len(r.pool.dropped))
	var rows []int
	for _, list := range lists {
		for _, f := range list {
			if !seen[f.row] {
				seen[f.row] = true
				rows = append(rows, f.row)
			}
		}
	}
	dropped, err := r.pool.nearDuplicates(ctx, r.in.Pool.Images(), rows, r.o.DuplicateCosine, r.o)
	if err != nil {
		return false, err
	}
	for row, d := range dropped {
		r.pool.duplicate(row, d, DuplicateCosine)
		r.candidates.bias[row] = index.Excluded
	}
	for q, list := range lists {
		full := len(list) == searched // as many as were asked for
		kept := list[:0]
		for _, f := range list {
			if r.pool.dropped[f.row] == "" {
				kept = append(kept, f)
			}
		}
		lists[q] = kept
		more = more || full && len(kept) < r.o.K
	}
	return more && searched < len(r.pool.dropped), nil
}

// pairs are the file's rows.
func (r *retrieval) pairs(lists [][]found, rows map[int]index.Row) []Pair {
	var out []Pair
	for q, list := range lists {
		for i, f := range list {
			row := rows[f.row]
			number := row.Number - 1
			if number < 0 || r.in.PoolRows {
				number = int64(f.row)
			}
			out = append(out, Pair{
				QueryKey: r.queries[q].Key, QueryClass: r.queries[q].Class, Rank: int64(i) + 1,
				PairKey: row.Key, Row: number, Text: row.Caption, Texts: row.Texts,
				Score: f.score, CLIPScore: float64(r.pool.clip[f.row]), Set: row.Set, License: row.License, URL: row.URL,
			})
		}
	}
	return out
}

// rowProducts are the products of the rows of a and b: cosines, for rows of length 1.
func rowProducts(ctx context.Context, a, b index.Vectors) ([]float32, error) {
	const block = 8192
	dim := a.Dim()
	x, y := make([]float32, block*dim), make([]float32, block*dim)
	out := make([]float32, 0, a.Len())
	for from := 0; from < a.Len(); from += block {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		n := min(block, a.Len()-from)
		if err := errors.Join(a.Read(x[:n*dim], from), b.Read(y[:n*dim], from)); err != nil {
			return nil, err
		}
		for i := range n {
			v := dot(x[i*dim:(i+1)*dim], y[i*dim:(i+1)*dim])
			if math.IsNaN(v) {
				return nil, fmt.Errorf("features of pool row %d are not finite; embed the pool again", from+i)
			}
			out = append(out, float32(v))
		}
	}
	return out, nil
}
