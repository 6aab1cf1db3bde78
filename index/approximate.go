package index

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"arf/faiss"
	"arf/torch"
)

// Approximate ranks rows by inner product, as Exact does, but looks only at
// those that an index of FAISS or Milvus finds near; their scores are exact. Tune
// sets how many those are.
type Approximate struct {
	Vectors Vectors // that are ranked
	// Parts nominate rows. Each has an index of some columns of Vectors.
	Parts    []Part
	Progress func(done, total int) // queries; may be nil

	effort int // see set
}

// Part is an index of the columns [First, First+Index.Dim()) of the vectors; row
// i of both is the same.
type Part struct {
	Index Nominator
	First int
}

// Nominator finds rows that are near: *faiss.Index, *milvus.Collection.
type Nominator interface {
	Len() int // rows
	Dim() int
	// Set sets how much of the index a search looks at, by FAISS's name of it. It
	// fails for names that this kind of index hasn't.
	Set(name string, value int) error
	// Search gives the k rows of the greatest inner product for each query [n, Dim],
	// best first, as [n, k]; −1 stands for none.
	Search(ctx context.Context, queries []float32, k int) (scores []float32, rows []int64, err error)
}

// mostEffort bounds the search: 4096 clusters or 65536 vertices looked at.
const mostEffort = 12

// set sets the work that a search does: about twice as much for each unit.
func (a *Approximate) set(effort int) {
	a.effort = effort
	for _, p := range a.Parts {
		// Each kind of index knows some of these, an exact one none.
		lists := p.Index.Set("nprobe", 1<<effort)
		if lists == nil {
			_ = p.Index.Set("quantizer_efSearch", 2<<effort) // where the lists' centres are a graph
		} else {
			_ = p.Index.Set("efSearch", 16<<effort)
		}
	}
}

// fetch is how many rows a part nominates for k.
func (a *Approximate) fetch(k int) int { return 2*k + 1<<a.effort }

// Search is Exact.Search with an approximate result: a row may be missing, and
// Excluded rows always are. Where fewer than k are found, the rest has row −1.
func (a *Approximate) Search(ctx context.Context, queries Vectors, k int) (*Neighbors, error) {
	rows, dim := a.Vectors.Len(), a.Vectors.Dim()
	if queries.Dim() != dim {
		return nil, fmt.Errorf("search: queries have %d columns, the index has %d; they must come from one model", queries.Dim(), dim)
	}
	if k < 1 {
		return nil, fmt.Errorf("search: k is %d, must be at least 1", k)
	}
	for _, p := range a.Parts {
		if p.Index.Len() != rows || p.First < 0 || p.First+p.Index.Dim() > dim {
			return nil, fmt.Errorf("search: an index of %d×%d is no part of %d×%d vectors from column %d on", p.Index.Len(), p.Index.Dim(), rows, dim, p.First)
		}
	}
	k = min(k, rows)
	n := &Neighbors{K: k, Scores: make([]float32, queries.Len()*k), Rows: make([]int32, queries.Len()*k)}
	for i := range n.Rows {
		n.Rows[i] = -1
	}
	if k == 0 {
		return n, nil
	}
	const block = 256 // bounds the rows that are read at a time
	buffer := make([]float32, block*dim)
	for from := 0; from < queries.Len(); from += block {
		part := Dense{Columns: dim, Data: buffer[:min(block, queries.Len()-from)*dim]}
		if err := queries.Read(part.Data, from); err != nil {
			return nil, fmt.Errorf("search: %w", err)
		}
		if err := a.block(ctx, part, n, from); err != nil {
			return nil, err
		}
		if a.Progress != nil {
			a.Progress(min(from+block, queries.Len()), queries.Len())
		}
	}
	return n, nil
}

// block answers some queries, whose places in n begin at first. A query that
// found too few rows, as others were Excluded, is asked again for more.
func (a *Approximate) block(ctx context.Context, queries Dense, n *Neighbors, first int) error {
	open := make([]int, queries.Len())
	for i := range open {
		open[i] = i
	}
	for fetch := a.fetch(n.K); len(open) > 0; fetch *= 4 {
		fetch = min(fetch, a.Vectors.Len())
		nominated, err := a.nominate(ctx, queries, open, fetch)
		if err != nil {
			return fmt.Errorf("search: %w", err)
		}
		if err := a.rank(queries, open, nominated, n, first); err != nil {
			return fmt.Errorf("search: %w", err)
		}
		if fetch == a.Vectors.Len() || fetch >= maxFetch {
			break
		}
		open = slices.DeleteFunc(open, func(q int) bool {
			_, rows := n.Of(first + q)
			return rows[n.K-1] >= 0
		})
	}
	return nil
}

// maxFetch bounds the rows that a query is shown of an index most of whose rows
// are Excluded.
const maxFetch = 1 << 16

// nominate gives, for each of the open queries, the rows that the parts find.
func (a *Approximate) nominate(ctx context.Context, queries Dense, open []int, fetch int) ([][]int, error) {
	out := make([][]int, len(open))
	for _, p := range a.Parts {
		dim := p.Index.Dim()
		asked := make([]float32, len(open)*dim)
		for i, q := range open {
			copy(asked[i*dim:(i+1)*dim], queries.Row(q)[p.First:])
		}
		if _, ok := p.Index.(*faiss.Index); ok {
			faiss.SetThreads(torch.Threads())
		}
		_, found, err := p.Index.Search(ctx, asked, fetch)
		if err != nil {
			return nil, err
		}
		for i := range open {
			for _, row := range found[i*fetch : (i+1)*fetch] {
				if row >= int64(a.Vectors.Len()) {
					return nil, fmt.Errorf("the index names row %d of %d; it isn't of these features: remove it", row, a.Vectors.Len())
				}
				if row >= 0 {
					out[i] = append(out[i], int(row))
				}
			}
		}
	}
	for i := range out {
		slices.Sort(out[i])
		out[i] = slices.Compact(out[i])
	}
	return out, nil
}

// rank scores the nominated rows and keeps the best.
func (a *Approximate) rank(queries Dense, open []int, nominated [][]int, n *Neighbors, first int) error {
	distinct := slices.Concat(nominated...)
	slices.Sort(distinct)
	distinct = slices.Compact(distinct)
	// Read in pieces: long lists of many queries would be much of the index.
	const piece = 1 << 15
	hits := make([][]hit, len(open))
	for from := 0; from < len(distinct); from += piece {
		rows := distinct[from:min(from+piece, len(distinct))]
		vectors, err := Pick(a.Vectors, rows)
		if err != nil {
			return err
		}
		for i, q := range open {
			own, query := nominated[i], queries.Row(q)
			at, _ := slices.BinarySearch(own, rows[0])
			for r := 0; at < len(own) && own[at] <= rows[len(rows)-1]; at++ {
				for rows[r] != own[at] {
					r++
				}
				if score := dot(query, vectors.Row(r)); score > Excluded/2 {
					hits[i] = append(hits[i], hit{score, int32(own[at])})
				}
			}
		}
	}
	for i, q := range open {
		slices.SortFunc(hits[i], better)
		scores, rows := n.Of(first + q)
		for j := range min(n.K, len(hits[i])) {
			scores[j], rows[j] = hits[i][j].score, hits[i][j].row
		}
	}
	return nil
}

// dot is the product of two rows of one length, rounded once.
func dot(a, b []float32) float32 {
	var s [4]float64 // sums that don't wait for each other
	b = b[:len(a)]
	for len(a) >= 4 {
		s[0] += float64(a[0]) * float64(b[0])
		s[1] += float64(a[1]) * float64(b[1])
		s[2] += float64(a[2]) * float64(b[2])
		s[3] += float64(a[3]) * float64(b[3])
		a, b = a[4:], b[4:]
	}
	for i := range a {
		s[0] += float64(a[i]) * float64(b[i])
	}
	return float32(s[0] + s[1] + s[2] + s[3])
}

// Recall is what Tune measured.
type Recall struct {
	K      int     `json:"k"`
	Recall float64 `json:"recall"` // share of the exact k nearest that are found
	Sample int     `json:"sample"` // queries it was measured on
	Effort int     `json:"effort"` // log2 of the clusters searched, or of the vertices − 4
}

// Tune measures recall@k on a sample of queries against the exact result, and
// has later searches do the least work that reaches target (of 0…1), or the
// most there is.
func (a *Approximate) Tune(ctx context.Context, sample Vectors, k int, target float64, device torch.Device) (Recall, error) {
	if sample.Len() == 0 || a.Vectors.Len() == 0 {
		return Recall{}, errors.New("tune the index: no queries or no rows")
	}
	exact, err := (&Exact{Vectors: a.Vectors, Device: device}).Search(ctx, sample, k)
	if err != nil {
		return Recall{}, err
	}
	progress := a.Progress
	a.Progress = nil
	defer func() { a.Progress = progress }()
	r := Recall{K: k, Sample: sample.Len()}
	for effort := 0; effort <= mostEffort; effort++ {
		a.set(effort)
		found, err := a.Search(ctx, sample, k)
		if err != nil {
			return r, err
		}
		r.Recall, r.Effort = recall(exact, found), effort
		if r.Recall >= target {
			break
		}
	}
	return r, nil
}

// recall is the share of the exact neighbours that were found. Rows that tie
// with the last exact one are as good.
func recall(exact, found *Neighbors) float64 {
	const tie = 1e-6
	hits, all := 0, 0
	for q := range len(exact.Rows) / exact.K {
		scores, rows := exact.Of(q)
		gotScores, got := found.Of(q)
		last := float32(0)
		n := 0
		for i := range rows {
			if scores[i] > Excluded/2 {
				n, last = n+1, scores[i]
			}
		}
		all += n
		own := 0
		for i := range got {
			if got[i] >= 0 && (slices.Contains(rows[:n], got[i]) || gotScores[i] >= last-tie) {
				own++
			}
		}
		hits += min(own, n)
	}
	if all == 0 {
		return 1
	}
	return float64(hits) / float64(all)
}
