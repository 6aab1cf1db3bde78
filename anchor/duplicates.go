package anchor

import (
	"cmp"
	"context"
	"slices"

	"arf/index"
)

// samePixels keeps of pairs with equal images the one whose text fits best.
func (p *pool) samePixels() {
	best := map[pixelHash]int{}
	for i, hash := range p.pixels {
		if p.dropped[i] != "" || hash == (pixelHash{}) {
			continue
		}
		j, ok := best[hash]
		switch {
		case !ok:
			best[hash] = i
		case p.clip[i] > p.clip[j]:
			p.duplicate(j, duplicate{of: i, cosine: 1}, DuplicatePixels)
			best[hash] = i
		default:
			p.duplicate(i, duplicate{of: j, cosine: 1}, DuplicatePixels)
		}
	}
}

// duplicate is the pair that is kept in place of a dropped one.
type duplicate struct {
	of     int // row
	cosine float64
}

func (p *pool) duplicate(row int, d duplicate, reason string) {
	p.dropped[row] = reason
	p.duplicates[row] = d
}

// nearDuplicates gives, by row, the pairs whose image feature has a cosine of at
// least alike with that of a better one among them. Better is the one whose
// text fits better, then the earlier one.
func (p *pool) nearDuplicates(ctx context.Context, images index.Vectors, rows []int, alike float64, o PairOptions) (map[int]duplicate, error) {
	rows = slices.Clone(rows)
	slices.SortFunc(rows, func(a, b int) int {
		return cmp.Or(cmp.Compare(p.clip[b], p.clip[a]), cmp.Compare(a, b))
	})
	kept := index.Dense{Columns: images.Dim()}
	var keptRows []int
	dropped := map[int]duplicate{}
	const block = 256
	for from := 0; from < len(rows); from += block {
		part := rows[from:min(from+block, len(rows))]
		features, err := index.Pick(images, part)
		if err != nil {
			return nil, err
		}
		near, err := o.exact(kept, nil).Search(ctx, features, 1)
		if err != nil {
			return nil, err
		}
		first := kept.Len()
		for i, row := range part {
			own := features.Row(i)
			of, cosine := -1, alike
			if near.K > 0 && float64(near.Scores[i]) >= alike {
				of, cosine = int(near.Rows[i]), float64(near.Scores[i])
			}
			for j := first; j < kept.Len() && of < 0; j++ {
				if c := dot(own, kept.Row(j)); c >= alike {
					of, cosine = j, c
				}
			}
			if of >= 0 {
				dropped[row] = duplicate{keptRows[of], cosine}
			} else {
				kept.Data, keptRows = append(kept.Data, own...), append(keptRows, row)
			}
		}
	}
	return dropped, nil
}
