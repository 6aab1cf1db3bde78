package dist

import (
	"fmt"
	"slices"

	"arf/torch"
)

// roundBytes bounds what GatherRows moves at a time, of all processes together.
const roundBytes = 16 << 20

// GatherRows shows each process's rows of dim numbers to all: visit gets some
// rows of a rank, from first on, in rounds. Beside its own rows and what visit
// keeps, a process holds a few times 16 MB. A process may have no rows.
func (g *Group) GatherRows(rows []float32, dim int, visit func(rank, first int, rows []float32)) error {
	if dim < 1 || len(rows)%dim != 0 {
		return fmt.Errorf("%d numbers aren't rows of %d", len(rows), dim)
	}
	if g == nil {
		visit(0, 0, rows)
		return nil
	}
	counts, err := g.Counts(int64(len(rows) / dim))
	if err != nil {
		return err
	}
	most := int(slices.Max(counts))
	round := min(most, max(1, roundBytes/(4*dim*g.Size())))
	padded := make([]float32, round*dim)
	for first := 0; first < most; first += round {
		copy(padded, rows[min(first*dim, len(rows)):])
		var all []float32
		err := g.do(func() {
			torch.Scope(func() {
				torch.NoGrad(func() { all = torch.To[float32](g.pg.AllGather(torch.From(g.device, padded, round, dim))) })
			})
		})
		if err != nil {
			return err
		}
		for rank, n := range counts {
			if have := min(round, int(n)-first); have > 0 {
				visit(rank, first, all[rank*round*dim:][:have*dim])
			}
		}
	}
	return nil
}
