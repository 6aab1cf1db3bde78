package anchor

import (
	"context"
	"crypto/sha256"
	"math"
	"slices"

	"arf/index"
)

// Guard is a set of images that no retrieved pair may show, such as a test set.
type Guard struct {
	Name  string
	Store *index.Store
}

// Reasons for which pairs of the pool are dropped, in the order in which they
// are looked for; a pair counts under the first.
const (
	LeakPixels      = "leak_pixels"      // the same pixels as a guarded image
	LeakPrint       = "leak_print"       // 16×16 grey values that correlate with a guarded image's
	LeakCosine      = "leak_cosine"      // a feature near a guarded image's
	NoText          = "no_text"          // nothing to learn from
	Excluded        = "excluded"         // metadata that PairOptions.Exclude names
	LowCLIPScore    = "low_clip_score"   // image and text don't fit
	DuplicatePixels = "duplicate_pixels" // the same pixels as another pair's
	DuplicateCosine = "duplicate_cosine" // a feature near another retrieved pair's
)

// Leak is an example of a pair that was dropped by the guard.
type Leak struct {
	PairKey    string  `json:"pair_key"`
	Text       string  `json:"text"`
	Guard      string  `json:"guard"`
	GuardKey   string  `json:"guard_key"`
	Reason     string  `json:"reason"`
	Similarity float64 `json:"similarity"` // correlation or cosine; 1 for equal pixels
}

// leaksShown bounds the examples.
const leaksShown = 50

// pool is the pairs and why they were dropped.
//
// Of each pair of the pool only what drops and ranks it is kept, as there may be
// many millions; the few whose keys and texts are told are read again (tell).
type pool struct {
	store   *index.Store
	pixels  []pixelHash
	prints  prints   // nil without LeakPrint
	printed bool     // some pair has a print
	texts   []bool   // whether a pair has one
	dropped []string // reason, "" for none
	clip    []float32
	leaks   []Leak
	leaked  []int                     // rows of leaks
	counts  map[string]map[string]int // by guard and reason
	// duplicates are the pairs kept in place of dropped ones, by row of these.
	duplicates map[int]duplicate
}

// pixelHash is index.Row's PixelHash; zeros where there is none.
type pixelHash [sha256.Size]byte

func (p *pool) read(store *index.Store, o PairOptions) error {
	n := store.Len()
	p.store, p.pixels, p.texts = store, make([]pixelHash, n), make([]bool, n)
	p.dropped, p.counts, p.duplicates = make([]string, n), map[string]map[string]int{}, map[int]duplicate{}
	if o.Guard.Print > 0 {
		p.prints = make(prints, n*printSize)
	}
	return store.EachPart(func(first int, rows []index.Row) error {
		for i, r := range rows {
			p.pixels[first+i] = pixelsOf(r)
			p.texts[first+i] = clean(r.Caption) != ""
			p.printed = p.printed || len(r.Print) > 0
			if p.prints != nil {
				p.prints.set(first+i, r)
			}
		}
		return nil
	})
}

func pixelsOf(r index.Row) (hash pixelHash) {
	if len(r.PixelHash) == len(hash) {
		copy(hash[:], r.PixelHash)
	}
	return hash
}

// tell reads the rows that pairs and examples show.
func (p *pool) tell(lists [][]found, examples []droppedRow) (map[int]index.Row, error) {
	numbers := slices.Clone(p.leaked)
	for _, e := range examples {
		if numbers = append(numbers, e.row); e.kept >= 0 {
			numbers = append(numbers, e.kept)
		}
	}
	for _, list := range lists {
		for _, f := range list {
			numbers = append(numbers, f.row)
		}
	}
	return p.store.RowsAt(numbers)
}

func (p *pool) leak(row int, l Leak) {
	p.dropped[row] = l.Reason
	if p.counts[l.Guard] == nil {
		p.counts[l.Guard] = map[string]int{}
	}
	p.counts[l.Guard][l.Reason]++
	if len(p.leaks) < leaksShown {
		p.leaks, p.leaked = append(p.leaks, l), append(p.leaked, row)
	}
}

// guarded is all guarded images, set after set.
type guarded struct {
	rows   []index.Row
	sets   []string // of each row
	images index.Vectors
}

func openGuards(guards []Guard) (g guarded, err error) {
	var images []index.Vectors
	for _, set := range guards {
		rows, err := set.Store.Rows()
		if err != nil {
			return g, err
		}
		g.rows = append(g.rows, rows...)
		for range rows {
			g.sets = append(g.sets, set.Name)
		}
		images = append(images, set.Store.Images())
	}
	g.images = index.Join(images...)
	return g, nil
}

// guard drops the pairs that show a guarded image.
func (p *pool) guard(ctx context.Context, images index.Vectors, guards []Guard, o PairOptions, stage *stages) error {
	g, err := openGuards(guards)
	if err != nil {
		return err
	}
	byPixels := map[pixelHash]int{}
	for i, r := range g.rows {
		hash := pixelsOf(r)
		if _, ok := byPixels[hash]; !ok && hash != (pixelHash{}) {
			byPixels[hash] = i
		}
	}
	for i, hash := range p.pixels {
		if at, ok := byPixels[hash]; ok {
			p.leak(i, Leak{Guard: g.sets[at], GuardKey: g.rows[at].Key, Reason: LeakPixels, Similarity: 1})
		}
	}
	if o.Guard.Print > 0 {
		guarded := make(prints, len(g.rows)*printSize)
		for i, r := range g.rows {
			guarded.set(i, r)
		}
		if err := p.near(ctx, p.prints, guarded, o.Guard.Print, LeakPrint, g, o, stage); err != nil {
			return err
		}
	}
	if o.Guard.Cosine > 0 {
		return p.near(ctx, images, g.images, o.Guard.Cosine, LeakCosine, g, o, stage)
	}
	return nil
}

// near drops the pairs whose nearest guarded vector is at least alike.
func (p *pool) near(ctx context.Context, pairs, guards index.Vectors, alike float64, reason string, g guarded, o PairOptions, stage *stages) error {
	found, err := o.exact(guards, stage.next()).Search(ctx, pairs, 1)
	if err != nil {
		return err
	}
	for i := range p.dropped {
		if found.K == 0 || p.dropped[i] != "" {
			continue
		}
		scores, at := found.Of(i)
		if float64(scores[0]) >= alike {
			p.leak(i, Leak{Guard: g.sets[at[0]], GuardKey: g.rows[at[0]].Key, Reason: reason, Similarity: min(float64(scores[0]), 1)})
		}
	}
	return nil
}

// prints are the rows' 16×16 grey values, one row after the other. They read as
// vectors of mean 0 and length 1: products of two are their correlation. A picture
// of one grey value has no print and correlates with none, like a row made
// elsewhere, which has zeros.
type prints []byte

const printSize = index.PrintSide * index.PrintSide

func (p prints) set(i int, r index.Row) {
	if len(r.Print) == printSize {
		copy(p[i*printSize:], r.Print)
	}
}

func (p prints) Len() int { return len(p) / printSize }
func (p prints) Dim() int { return printSize }

func (p prints) Read(dst []float32, from int) error {
	for dim := p.Dim(); len(dst) > 0; dst, from = dst[dim:], from+1 {
		unitPrint(dst[:dim], p[from*dim:(from+1)*dim])
	}
	return nil
}

func unitPrint(dst []float32, print []byte) {
	clear(dst)
	mean := 0.0
	for _, v := range print {
		mean += float64(v)
	}
	mean /= float64(len(print))
	norm := 0.0
	for _, v := range print {
		norm += (float64(v) - mean) * (float64(v) - mean)
	}
	if norm < 1 {
		return
	}
	for i, v := range print {
		dst[i] = float32((float64(v) - mean) / math.Sqrt(norm))
	}
}
