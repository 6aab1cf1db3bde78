package dataset

// Named gives the classes other names, by label, such as those that prompts have.
// Samples without a label keep theirs.
func Named(d Dataset, names []string) Dataset { return named{d, names} }

type named struct {
	Dataset
	names []string
}

func (n named) Sample(i int) (Sample, error) {
	s, err := n.Dataset.Sample(i)
	return n.name(s), err
}

func (n named) describe(i int) (Sample, error) {
	s, err := Describe(n.Dataset, i)
	return n.name(s), err
}

func (n named) name(s Sample) Sample {
	if s.Label >= 0 && s.Label < len(n.names) {
		s.Class = n.names[s.Label]
	}
	return s
}

func (n named) Classes() []string   { return n.names }
func (n named) Templates() []string { return Templates(n.Dataset) }
func (n named) Problems() Problems  { return ProblemsOf(n.Dataset) }

func (n named) epochLen() int                 { return epochLen(n.Dataset) }
func (n named) draw(seed, epoch uint64) []int { return drawn(n.Dataset, seed, epoch) }
