package eval

// counts is a tally as processes send it to each other.
type counts struct {
	N, Right      []int
	Top5          int
	BinN, BinHits [eceBins]int
	BinConfidence [eceBins]float64
	Mistakes      [][3]int // class, predicted, how many
}

func (t *tally) counts() counts {
	c := counts{N: t.n, Right: t.right, Top5: t.top5, BinN: t.binN, BinHits: t.binHits, BinConfidence: t.binConfidence}
	for m, n := range t.mistakes {
		c.Mistakes = append(c.Mistakes, [3]int{int(m.class), int(m.predicted), n})
	}
	return c
}

// join adds another's counts.
func (t *tally) join(c counts) {
	for i := range t.n {
		t.n[i] += c.N[i]
		t.right[i] += c.Right[i]
	}
	t.top5 += c.Top5
	for b := range t.binN {
		t.binN[b] += c.BinN[b]
		t.binHits[b] += c.BinHits[b]
		t.binConfidence[b] += c.BinConfidence[b]
	}
	for _, m := range c.Mistakes {
		t.mistakes[mistake{int32(m[0]), int32(m[1])}] += m[2]
	}
}
