package index

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"arf/torch"
)

// Exact finds nearest neighbours by the inner product with every row: cosines,
// where rows have length 1. Its memory is bounded by the block sizes, not by
// the number of rows.
type Exact struct {
	Vectors Vectors
	Device  torch.Device // of the products; the zero value is the CPU
	// Precision of the products: torch.Float32 (also 0), or torch.BFloat16, which is
	// faster where Device has it in hardware and is Float32 elsewhere. It finds the
	// same rows: those that rounding could hide are scored again (see bounds), and
	// scores are float32's.
	Precision torch.DType
	// Rows and queries that are compared at once; 0 is 16384 and 512. They
	// bound the memory: 4·(Rows·Queries + 2·(Rows+Queries)·Dim) bytes, in bfloat16
	// half as much again.
	BlockRows, BlockQueries int
	// Progress gets the share of the comparisons done; may be nil.
	Progress func(done, total int)
}

// Excluded, added to a row's products, makes the row one that isn't to be found:
// far below any score of rows of length 1.
const Excluded = -1e6

// Neighbors are the K best rows of each query, best first.
type Neighbors struct {
	K      int
	Scores []float32 // [queries, K]
	Rows   []int32   // [queries, K]
}

// Of gives a query's scores and rows; they share memory with n.
func (n *Neighbors) Of(query int) (scores []float32, rows []int32) {
	from, to := query*n.K, (query+1)*n.K
	return n.Scores[from:to], n.Rows[from:to]
}

// InBF16 tells whether searches compare in bfloat16: whether it's wanted and there.
func (e *Exact) InBF16() bool { return e.Precision == torch.BFloat16 && e.Device.HasBF16() }

// Search finds the k rows with the greatest inner product for each query; all
// rows if there are fewer. Of equal scores the lower row comes first. Scores
// are float32.
func (e *Exact) Search(ctx context.Context, queries Vectors, k int) (*Neighbors, error) {
	n, _, err := e.search(ctx, queries, k)
	if err != nil {
		return nil, fmt.Errorf("search: %w", err)
	}
	return n, nil
}

func (e *Exact) search(ctx context.Context, queries Vectors, k int) (n *Neighbors, s *search, err error) {
	defer torch.Catch(&err)
	if queries.Dim() != e.Vectors.Dim() {
		return nil, nil, fmt.Errorf("queries have %d columns, the index has %d; they must come from one model", queries.Dim(), e.Vectors.Dim())
	}
	if k < 1 {
		return nil, nil, fmt.Errorf("k is %d, must be at least 1", k)
	}
	rows, dim := e.Vectors.Len(), e.Vectors.Dim()
	k = min(k, rows)
	n = &Neighbors{K: k, Scores: make([]float32, queries.Len()*k), Rows: make([]int32, queries.Len()*k)}
	s = &search{k: k, dim: dim, device: e.Device, bf16: e.InBF16(), best: make([][]hit, queries.Len())}
	if k == 0 || queries.Len() == 0 {
		return n, s, nil
	}
	blockRows := min(cmp.Or(e.BlockRows, 16384), rows)
	blocks := s.blocks(rows, blockRows)
	blockQueries := min(cmp.Or(e.BlockQueries, 512), queries.Len())
	total, done := (len(blocks)-1)*ceil(queries.Len(), blockQueries), 0
	rowBuffer, queryBuffer := make([]float32, blockRows*dim), make([]float32, blockQueries*dim)
	for i, r := range blocks[:len(blocks)-1] {
		block := rowBuffer[:(blocks[i+1]-r)*dim]
		if err := e.Vectors.Read(block, r); err != nil {
			return nil, nil, err
		}
		var failed error
		torch.Scope(func() {
			torch.NoGrad(func() {
				s.open(block, r)
				for q := 0; q < queries.Len() && failed == nil; q += blockQueries {
					part := queryBuffer[:min(blockQueries, queries.Len()-q)*dim]
					if failed = context.Cause(ctx); failed != nil {
						return
					}
					if failed = queries.Read(part, q); failed != nil {
						return
					}
					torch.Scope(func() { s.ask(part, s.best[q:q+len(part)/dim]) })
					done++
					if e.Progress != nil {
						e.Progress(done, total)
					}
				}
			})
		})
		if failed != nil {
			return nil, nil, failed
		}
	}
	for i, hits := range s.best {
		for j, h := range hits {
			n.Scores[i*k+j], n.Rows[i*k+j] = h.score, h.row
		}
	}
	return n, s, nil
}

// search is a search that goes from block to block of the rows.
type search struct {
	k, dim int
	device torch.Device
	bf16   bool
	best   [][]hit // of each query, so far

	// The block that is looked at.
	first  int // row
	rows   []float32
	tensor *torch.Tensor
	bounds *bounds // nil in float32

	bounded, scored int // pairs of query and row that bounds decided on, and those that it left to score
}

// firstRows are compared in float32 before bounds know what's good.
const firstRows = 1024

// blocks gives the rows that blocks start at, and the end. By bounds, a block has at most as
// many rows as came before: in more, too many would look good.
func (s *search) blocks(rows, size int) []int {
	starts := []int{0}
	for at := 0; at < rows; {
		next := size
		if s.bf16 {
			next = min(size, max(at, s.k, firstRows))
		}
		at = min(at+next, rows)
		starts = append(starts, at)
	}
	return starts
}

// open begins a block of rows; in its scope queries are asked.
func (s *search) open(rows []float32, first int) {
	s.first, s.rows, s.bounds = first, rows, nil
	s.tensor = torch.From(s.device, rows, len(rows)/s.dim, s.dim)
	if s.bf16 && first >= s.k {
		s.bounds = newBounds(s.tensor)
	}
}

// ask takes the best of the block's rows into best, for queries [len(best), dim].
func (s *search) ask(queries []float32, best [][]hit) {
	asking := torch.From(s.device, queries, len(best), s.dim)
	if s.bounds != nil {
		thresholds := make([]float32, len(best))
		for q := range best {
			thresholds[q] = best[q][s.k-1].score
		}
		if pairs, few := s.bounds.above(asking, thresholds); few {
			s.bounded += len(best) * s.bounds.rows
			s.scored += len(pairs)
			s.score(queries, best, pairs)
			return
		}
	}
	var again func(query, row int) float32
	if s.bf16 { // the same rows' scores are the same, whichever way they come
		again = func(query, row int) float32 { return s.dot(queries, query, row) }
	}
	merge(best, asking.MatMul(s.tensor.Transpose(0, 1)), s.first, s.k, again)
}

func (s *search) dot(queries []float32, query, row int) float32 {
	return dot(queries[query*s.dim:(query+1)*s.dim], s.rows[row*s.dim:(row+1)*s.dim])
}

// score takes those of the pairs, which are ordered by query, that are better.
func (s *search) score(queries []float32, best [][]hit, pairs []pair) {
	for len(pairs) > 0 {
		q := pairs[0].query
		hits, worst := best[q], best[q][s.k-1].score
		for len(pairs) > 0 && pairs[0].query == q {
			if score := s.dot(queries, q, pairs[0].row); score > worst { // earlier rows win ties
				hits = append(hits, hit{score, int32(s.first + pairs[0].row)})
			}
			pairs = pairs[1:]
		}
		slices.SortFunc(hits, better)
		best[q] = hits[:s.k]
	}
}

type hit struct {
	score float32
	row   int32
}

func better(a, b hit) int {
	return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.row, b.row))
}

// merge takes the best of scores [len(best), rows from first on] into best. again,
// if there, gives the scores that they are kept with.
func merge(best [][]hit, scores *torch.Tensor, first, k int, again func(query, row int) float32) {
	columns := scores.Dim(1)
	// topk picks any of the rows that tie for the last place, so one more is
	// taken: where it ties with the k-th, the whole row is looked at here.
	take := min(k+1, columns)
	values, indices := scores.TopK(take)
	v, ix := torch.To[float32](values), torch.To[int64](indices)
	for q := range best {
		top, rows := v[q*take:(q+1)*take], ix[q*take:(q+1)*take]
		if len(best[q]) == k && top[0] <= best[q][k-1].score {
			continue // earlier rows win ties
		}
		hits := best[q]
		add := func(score float32, column int) {
			if again != nil {
				score = again(q, column)
			}
			hits = append(hits, hit{score, int32(first + column)})
		}
		if take > k && top[k] == top[k-1] {
			for c, s := range torch.To[float32](scores.Select(0, q)) {
				if s >= top[k] {
					add(s, c)
				}
			}
		} else {
			for j, s := range top {
				add(s, int(rows[j]))
			}
		}
		slices.SortFunc(hits, better)
		best[q] = hits[:min(k, len(hits))]
	}
}

func ceil(a, b int) int { return (a + b - 1) / b }
