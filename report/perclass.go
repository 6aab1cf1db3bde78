package report

import (
	"cmp"
	"maps"
	"slices"
)

// classChange is one class before and after finetuning, averaged over seeds.
type classChange struct {
	Class         string
	N             int // images
	Before, After float64
}

func (c classChange) Delta() float64 { return c.After - c.Before }

// classChanges compares a method with the pretrained model class by class, on
// the pooled images of suites, from the largest gain to the largest loss.
func (r *Run) classChanges(method string, suites []Suite) []classChange {
	merged := map[string]classChange{}
	for _, s := range suites {
		before, after := r.classAccuracy(Pretrained, 1, s), r.classAccuracy(method, 1, s)
		for name, b := range before {
			a, ok := after[name]
			if !ok || a.N != b.N {
				continue
			}
			c := merged[name]
			n := float64(c.N + b.N)
			c.Before = (c.Before*float64(c.N) + *b.Acc1*float64(b.N)) / n
			c.After = (c.After*float64(c.N) + *a.Acc1*float64(a.N)) / n
			c.Class, c.N = name, c.N+b.N
			merged[name] = c
		}
	}
	return slices.SortedFunc(maps.Values(merged), func(a, b classChange) int {
		return cmp.Or(cmp.Compare(b.Delta(), a.Delta()), cmp.Compare(b.N, a.N), cmp.Compare(a.Class, b.Class))
	})
}

// split gives the largest gains and the largest losses, worst first.
func split(changes []classChange, most int) (gains, losses []classChange) {
	for _, c := range changes {
		if c.Delta() > 0 && len(gains) < most {
			gains = append(gains, c)
		}
	}
	for _, c := range slices.Backward(changes) {
		if c.Delta() < 0 && len(losses) < most {
			losses = append(losses, c)
		}
	}
	return gains, losses
}
