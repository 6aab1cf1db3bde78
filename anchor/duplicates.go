package anchor

import (
	"cmp"
	"context"
	"slices"

	"arf/index"
)

// samePixels keeps of pairs with equal images the one whose text fits best.
func (p *pool) samePixels() {
	best := map[string]int{}
	for i, r := range p.rows {
		if p.dropped[i] != "" || len(r.PixelHash) == 0 {
			continue
		}
		j, ok := best[string(r.PixelHash)]
		switch {
		case !ok:
			best[string(r.PixelHash)] = i
		case p.clip[i] > p.clip[j]:
			p.dropped[j] = DuplicatePixels
			best[string(r.PixelHash)] = i
		default:
			p.dropped[i] = DuplicatePixels
		}
	}
}

// nearDuplicates gives the rows of pairs whose image feature has a cosine of at
// least alike with that of a better one among them. Better is the one whose
// text fits better, then the earlier one.
func (p *pool) nearDuplicates(ctx context.Context, images index.Vectors, rows []int, alike float64, o PairOptions) ([]int, error) {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b int) int {
		return cmp.Or(cmp.Compare(p.clip[b], p.clip[a]), cmp.Compare(a, b))
	})
	kept := index.Dense{Columns: images.Dim()}
	var dropped []int
	const block = 256
	for from := 0; from < len(rows); from += block {
		part := rows[from:min(from+block, len(rows))]
		features, err := index.Pick(images, part)
		if err != nil {
			return nil, err
		}
		near, err := (&index.Exact{Vectors: kept, Device: o.Device}).Search(ctx, features, 1)
		if err != nil {
			return nil, err
		}
		first := kept.Len()
		for i, row := range part {
			own := features.Row(i)
			duplicate := near.K > 0 && float64(near.Scores[i]) >= alike
			for j := first; j < kept.Len() && !duplicate; j++ {
				duplicate = dot(own, kept.Row(j)) >= alike
			}
			if duplicate {
				dropped = append(dropped, row)
			} else {
				kept.Data = append(kept.Data, own...)
			}
		}
	}
	return dropped, nil
}
