package finetune

import (
	"fmt"

	"arf/torch"
)

// Negatives says what the contrastive terms make of pairs of one step that
// match each other off the diagonal: of the same class or the same text (class,
// tca), of the same text or the same pair of the pool (ita). Such pairs are
// false negatives.
type Negatives string

const (
	Diag Negatives = "diag" // they count as negatives, as in CLIP and FLYP
	Mask Negatives = "mask" // they don't count, in both directions
	Soft Negatives = "soft" // they share the target evenly; in SigLIP's loss each matches whole
)

func (n Negatives) check() error {
	switch n {
	case Diag, Mask, Soft:
		return nil
	}
	return fmt.Errorf("negatives %q is not known; known are %s, %s, %s", n, Diag, Mask, Soft)
}

// matrices gives ContrastiveLoss's target and excluded, [rows, B] or nil, of B
// pairs the rows from first on. Each of groups has a number for each pair; pairs
// with equal numbers in any of them match.
func (n Negatives) matrices(d torch.Device, first, rows int, groups ...[]int64) (target, excluded *torch.Tensor) {
	if n == Diag {
		return nil, nil
	}
	b := len(groups[0])
	var count *torch.Tensor
	for _, g := range groups {
		column := torch.From(d, g, b)
		equal := column.Narrow(0, first, rows).Reshape(rows, 1).Eq(column.Reshape(1, b)).Cast(torch.Float32)
		if count == nil {
			count = equal
		} else {
			count = count.Add(equal)
		}
	}
	same := count.EqScalar(0).Not().Cast(torch.Float32)
	if n == Mask {
		return nil, same.Sub(torch.Eye(d, b).Narrow(0, first, rows)).EqScalar(1)
	}
	// The relation is symmetric, so the rows are right for both directions.
	return same.Div(same.SumDim(1, true)), nil
}
