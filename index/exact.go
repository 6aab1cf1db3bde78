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
	// Rows and queries that are compared at once; 0 is 16384 and 512. They
	// bound the memory: 4·(Rows·Queries + (Rows+Queries)·Dim) bytes.
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

// Search finds the k rows with the greatest inner product for each query; all
// rows if there are fewer. Of equal scores the lower row comes first. Scores
// are float32.
func (e *Exact) Search(ctx context.Context, queries Vectors, k int) (n *Neighbors, err error) {
	defer torch.Catch(&err)
	if queries.Dim() != e.Vectors.Dim() {
		return nil, fmt.Errorf("search: queries have %d columns, the index has %d; they must come from one model", queries.Dim(), e.Vectors.Dim())
	}
	if k < 1 {
		return nil, fmt.Errorf("search: k is %d, must be at least 1", k)
	}
	rows, dim := e.Vectors.Len(), e.Vectors.Dim()
	k = min(k, rows)
	n = &Neighbors{K: k, Scores: make([]float32, queries.Len()*k), Rows: make([]int32, queries.Len()*k)}
	if k == 0 || queries.Len() == 0 {
		return n, nil
	}
	blockRows, blockQueries := e.BlockRows, e.BlockQueries
	if blockRows == 0 {
		blockRows = 16384
	}
	if blockQueries == 0 {
		blockQueries = 512
	}
	blockRows, blockQueries = min(blockRows, rows), min(blockQueries, queries.Len())
	rowBuffer, queryBuffer := make([]float32, blockRows*dim), make([]float32, blockQueries*dim)
	best := make([][]hit, queries.Len())
	blocks, done := ceil(rows, blockRows)*ceil(queries.Len(), blockQueries), 0
	for r := 0; r < rows; r += blockRows {
		block := rowBuffer[:min(blockRows, rows-r)*dim]
		if err := e.Vectors.Read(block, r); err != nil {
			return nil, fmt.Errorf("search: %w", err)
		}
		var failed error
		torch.Scope(func() {
			torch.NoGrad(func() {
				// One column a row of the index.
				columns := torch.From(e.Device, block, len(block)/dim, dim).Transpose(0, 1)
				for q := 0; q < queries.Len() && failed == nil; q += blockQueries {
					part := queryBuffer[:min(blockQueries, queries.Len()-q)*dim]
					if failed = context.Cause(ctx); failed != nil {
						return
					}
					if failed = queries.Read(part, q); failed != nil {
						return
					}
					torch.Scope(func() {
						scores := torch.From(e.Device, part, len(part)/dim, dim).MatMul(columns)
						merge(best[q:q+len(part)/dim], scores, r, k)
					})
					done++
					if e.Progress != nil {
						e.Progress(done, blocks)
					}
				}
			})
		})
		if failed != nil {
			return nil, fmt.Errorf("search: %w", failed)
		}
	}
	for i, hits := range best {
		for j, h := range hits {
			n.Scores[i*k+j], n.Rows[i*k+j] = h.score, h.row
		}
	}
	return n, nil
}

type hit struct {
	score float32
	row   int32
}

func better(a, b hit) int {
	return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.row, b.row))
}

// merge takes the best of scores [len(best), rows from first on] into best.
func merge(best [][]hit, scores *torch.Tensor, first, k int) {
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
		if take > k && top[k] == top[k-1] {
			for c, s := range torch.To[float32](scores.Select(0, q)) {
				if s >= top[k] {
					hits = append(hits, hit{s, int32(first + c)})
				}
			}
		} else {
			for j, s := range top {
				hits = append(hits, hit{s, int32(first) + int32(rows[j])})
			}
		}
		slices.SortFunc(hits, better)
		best[q] = hits[:min(k, len(hits))]
	}
}

func ceil(a, b int) int { return (a + b - 1) / b }
