package anchor

import (
	"math/rand/v2"
	"slices"

	"arf/index"
)

// draw gives each query k pairs at random in place of its nearest, from those
// that weren't dropped: the control that says what retrieval adds to any pairs
// of the pool. With PairInput.Like each query gets pairs of the same classes as
// the given ones: the control that says what retrieval adds to knowing the
// class. Quota, least similarity and near duplicates don't apply.
func (r *retrieval) draw() ([][]found, error) {
	rows := map[string][]int{} // of the pool, by class
	class := r.classOf()
	if err := r.pool.store.EachPart(func(first int, part []index.Row) error {
		for i, row := range part {
			if r.pool.dropped[first+i] == "" {
				c := class(row.Caption, row.Texts)
				rows[c] = append(rows[c], first+i)
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	wanted := make([][]string, len(r.queries)) // classes of the pairs to draw
	if r.in.Like == nil {
		for q := range wanted {
			wanted[q] = make([]string, r.o.K)
		}
	} else {
		number := map[string]int{}
		for q, row := range r.queries {
			number[row.Key] = q
		}
		for _, p := range r.in.Like {
			if q, ok := number[p.QueryKey]; ok {
				wanted[q] = append(wanted[q], class(p.Text, p.Texts))
			}
		}
	}
	lists := make([][]found, len(r.queries))
	for q, classes := range wanted {
		rng := rand.New(rand.NewPCG(0, uint64(q)))
		taken := map[int]bool{}
		for _, c := range classes {
			from := rows[c]
			if len(from) == 0 {
				continue
			}
			row := from[rng.IntN(len(from))]
			for try := 0; taken[row] && try < 100; try++ { // a small class may have to repeat
				row = from[rng.IntN(len(from))]
			}
			taken[row] = true
			lists[q] = append(lists[q], found{row: row})
		}
	}
	return lists, nil
}

// classOf tells which of the finetune classes a pair's texts name first, ""
// for none; without PairInput.Like all pairs are of one class.
func (r *retrieval) classOf() func(text string, texts []string) string {
	if r.in.Like == nil {
		return func(string, []string) string { return "" }
	}
	var names []string
	var split [][]string
	for _, q := range r.queries {
		if !slices.Contains(names, q.Class) {
			names, split = append(names, q.Class), append(split, words(q.Class))
		}
	}
	return func(text string, texts []string) string {
		for _, t := range append([]string{text}, texts...) {
			w := words(t)
			for i, name := range split {
				if mentions(w, name) {
					return names[i]
				}
			}
		}
		return ""
	}
}

// score fills in the cosines of drawn pairs with their queries' images.
func (r *retrieval) score(lists [][]found) error {
	row := make([]float32, r.candidates.Dim())
	for q, list := range lists {
		for i := range list {
			if err := r.candidates.Read(row, list[i].row); err != nil {
				return err
			}
			// The last column is the pair's bias.
			list[i].score = dot(row[:len(row)-1], r.vectors.Row(q)[:len(row)-1])
		}
	}
	return nil
}
