package dataset

import (
	"fmt"
	"sort"
)

// Subset is the samples of d with the given numbers, in that order.
func Subset(d Dataset, numbers []int) (Dataset, error) {
	for _, n := range numbers {
		if n < 0 || n >= d.Len() {
			return nil, fmt.Errorf("subset: sample %d of a dataset of %d", n, d.Len())
		}
	}
	return subset{d, numbers}, nil
}

// Limit is n samples spread evenly over d, so that sorted classes keep their
// shares; all of them if n is 0 or too large.
func Limit(d Dataset, n int) Dataset {
	if n <= 0 || n >= d.Len() {
		return d
	}
	numbers := make([]int, n)
	for i := range numbers {
		numbers[i] = i * d.Len() / n
	}
	return subset{d, numbers}
}

type subset struct {
	Dataset
	numbers []int
}

func (s subset) Len() int                       { return len(s.numbers) }
func (s subset) Sample(i int) (Sample, error)   { return s.Dataset.Sample(s.numbers[i]) }
func (s subset) describe(i int) (Sample, error) { return Describe(s.Dataset, s.numbers[i]) }
func (s subset) Classes() []string              { return Classes(s.Dataset) }
func (s subset) Templates() []string            { return Templates(s.Dataset) }

// Concat is several datasets one after the other. Labels are theirs: those
// with classes must agree on them.
func Concat(parts ...Dataset) (Dataset, error) {
	c := concat{parts: parts}
	n := 0
	for i, p := range parts {
		n += p.Len()
		c.ends = append(c.ends, n)
		switch classes := Classes(p); {
		case classes == nil:
		case c.classes == nil:
			c.classes = classes
		default:
			if fmt.Sprint(classes) != fmt.Sprint(c.classes) {
				return nil, fmt.Errorf("join datasets: part %d has other classes than the ones before it", i)
			}
		}
	}
	return c, nil
}

type concat struct {
	parts   []Dataset
	ends    []int
	classes []string
}

func (c concat) Len() int {
	if len(c.ends) == 0 {
		return 0
	}
	return c.ends[len(c.ends)-1]
}

func (c concat) find(i int) (Dataset, int) {
	k := sort.SearchInts(c.ends, i+1)
	if k > 0 {
		i -= c.ends[k-1]
	}
	return c.parts[k], i
}

func (c concat) Sample(i int) (Sample, error) {
	d, i := c.find(i)
	return d.Sample(i)
}

func (c concat) describe(i int) (Sample, error) {
	d, i := c.find(i)
	return Describe(d, i)
}

func (c concat) Classes() []string { return c.classes }

func (c concat) Templates() []string {
	for _, p := range c.parts {
		if t := Templates(p); t != nil {
			return t
		}
	}
	return nil
}

func (c concat) Problems() Problems {
	var all Problems
	for _, p := range c.parts {
		all = all.and(ProblemsOf(p))
	}
	return all
}
