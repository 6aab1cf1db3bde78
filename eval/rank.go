package eval

import (
	"context"

	"arf/dist"
	"arf/torch"
)

// blockRows is how many rows a process ranks at a time, so that its scores are
// bounded and small sets have blocks for several processes.
const blockRows = 256

const scoreBytes = 128 << 20

// ranked adds up what count finds for each row of a in the row's cosines to all
// rows of b. Processes take blocks of rows in turn. Sums are of blocks first, so
// that they round as in one process.
func ranked(ctx context.Context, g *dist.Group, d torch.Device, a, b []float32, dim int, count func(row int, scores []float32, sum *[3]float64)) (sum [3]float64, err error) {
	defer torch.Catch(&err)
	n, m := len(a)/dim, len(b)/dim
	block := rowsAtOnce(m)
	var own [][3]float64
	torch.Scope(func() {
		torch.NoGrad(func() {
			columns := torch.From(d, b, m, dim).Transpose(0, 1)
			for from := g.Rank() * block; from < n; from += g.Size() * block {
				if err = context.Cause(ctx); err != nil {
					return
				}
				to := min(from+block, n)
				var scores []float32
				torch.Scope(func() {
					scores = torch.To[float32](torch.From(d, a[from*dim:to*dim], to-from, dim).MatMul(columns))
				})
				var part [3]float64
				for i := from; i < to; i++ {
					count(i, scores[(i-from)*m:(i-from+1)*m], &part)
				}
				own = append(own, part)
			}
		})
	})
	if err != nil {
		return sum, err
	}
	all, err := dist.GatherOf(g, own)
	if err != nil {
		return sum, err
	}
	for k := range ceil(n, block) {
		for i, v := range all[k%len(all)][k/len(all)] {
			sum[i] += v
		}
	}
	return sum, nil
}

// rowsAtOnce bounds a block's scores of m columns to 128 MB, unless one row has
// more: the tensor and its copy in host memory are held together.
func rowsAtOnce(m int) int { return max(1, min(blockRows, scoreBytes/(2*4*m))) }

func ceil(a, b int) int { return (a + b - 1) / b }
