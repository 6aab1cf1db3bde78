package anchor

import (
	"cmp"
	"context"
	"slices"

	"arf/index"
)

// found is a pair that a query found.
type found struct {
	row   int     // of the pool
	score float64 // cosine, or the weighted mean of several
}

// withinQuota lets every class keep at most quota different pairs, so that
// frequent classes don't fill the set. Pairs are taken rank by rank, the most
// similar first, until the quota is full; then every image has the best of its
// class's pairs.
func (r *retrieval) withinQuota(ctx context.Context, lists [][]found) ([][]found, error) {
	var classes []string
	members := map[string][]int{} // queries
	for i, row := range r.queries {
		if members[row.Class] == nil {
			classes = append(classes, row.Class)
		}
		members[row.Class] = append(members[row.Class], i)
	}
	out := make([][]found, len(lists))
	for _, class := range classes {
		queries := members[class]
		set := classSet(lists, queries, r.o.ClassQuota)
		if len(set) == 0 {
			continue
		}
		pairs, err := index.Pick(r.candidates, set)
		if err != nil {
			return nil, err
		}
		asking := index.Dense{Columns: r.vectors.Columns}
		for _, q := range queries {
			asking.Data = append(asking.Data, r.vectors.Row(q)...)
		}
		best, err := r.o.exact(pairs, nil).Search(ctx, asking, r.o.K)
		if err != nil {
			return nil, err
		}
		for i, q := range queries {
			if r.asks[q] {
				scores, at := best.Of(i)
				out[q] = r.list(scores, at, func(at int32) int { return set[at] })
			}
		}
	}
	return out, nil
}

// classSet gives the pairs that a class keeps, in the order of the pool.
func classSet(lists [][]found, queries []int, quota int) []int {
	longest := 0
	for _, q := range queries {
		longest = max(longest, len(lists[q]))
	}
	var set []int
	in := map[int]bool{}
	for rank := range longest {
		var level []found
		for _, q := range queries {
			if rank < len(lists[q]) {
				level = append(level, lists[q][rank])
			}
		}
		slices.SortStableFunc(level, func(a, b found) int {
			return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.row, b.row))
		})
		for _, f := range level {
			if len(set) < quota && !in[f.row] {
				in[f.row] = true
				set = append(set, f.row)
			}
		}
	}
	slices.Sort(set)
	return set
}
