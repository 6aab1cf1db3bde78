package dataset

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
)

// Half keeps the samples of half of the classes, by label: "base" is the first
// ⌈n/2⌉ classes, "new" the rest (Zhou et al., CVPR 2022). Labels start at 0
// again. Samples without a class, and those that can't be described, are left
// out.
func Half(d Dataset, half string) (Dataset, error) {
	all := Classes(d)
	m := (len(all) + 1) / 2
	switch {
	case len(all) < 2:
		return nil, fmt.Errorf("half %q: it has %d classes; want at least 2", half, len(all))
	case half == HalfBase:
		return Only(d, all[:m])
	case half == HalfNew:
		return Only(d, all[m:])
	}
	return nil, fmt.Errorf("half %q: must be %s or %s", half, HalfBase, HalfNew)
}

// Only keeps the samples of the given classes, whose labels become their
// numbers in classes.
func Only(d Dataset, classes []string) (Dataset, error) {
	o := only{Dataset: d, classes: classes, label: make(map[string]int, len(classes))}
	for i, c := range classes {
		if _, ok := o.label[c]; ok {
			return nil, fmt.Errorf("class %q is listed twice", c)
		}
		o.label[c] = i
	}
	for i := range d.Len() {
		s, err := Describe(d, i)
		if err != nil {
			o.problems.add("%v", err)
			continue
		}
		if _, ok := o.label[s.Class]; ok {
			o.numbers = append(o.numbers, i)
		}
	}
	if len(o.numbers) == 0 {
		return nil, fmt.Errorf("no samples of the classes %s", quoted(classes))
	}
	return o, nil
}

type only struct {
	Dataset
	classes  []string
	label    map[string]int
	numbers  []int
	problems Problems
}

func (o only) Len() int { return len(o.numbers) }

func (o only) Sample(i int) (Sample, error) {
	s, err := o.Dataset.Sample(o.numbers[i])
	return o.relabel(s), err
}

func (o only) describe(i int) (Sample, error) {
	s, err := Describe(o.Dataset, o.numbers[i])
	return o.relabel(s), err
}

func (o only) relabel(s Sample) Sample {
	if label, ok := o.label[s.Class]; ok {
		s.Label = label
	}
	return s
}

func (o only) Classes() []string   { return o.classes }
func (o only) Templates() []string { return Templates(o.Dataset) }
func (o only) Problems() Problems  { return ProblemsOf(o.Dataset).and(o.problems) }

// FewShot draws n samples of each class, all where a class has fewer, by seed.
// They keep their order. A sample without a class is left out.
func FewShot(d Dataset, n int, seed uint64) (Dataset, error) {
	if n < 1 {
		return nil, fmt.Errorf("%d shots: must be at least 1", n)
	}
	byLabel := map[int][]int{}
	for i := range d.Len() {
		if s, err := Describe(d, i); err == nil && s.Label >= 0 {
			byLabel[s.Label] = append(byLabel[s.Label], i)
		}
	}
	if len(byLabel) == 0 {
		return nil, errors.New("shots: its samples have no classes")
	}
	var chosen []int
	for label, numbers := range byLabel {
		// Each class has its own stream, so that the choice doesn't depend on the
		// other classes.
		rng := rand.New(rand.NewPCG(seed, uint64(label)))
		for _, k := range rng.Perm(len(numbers))[:min(n, len(numbers))] {
			chosen = append(chosen, numbers[k])
		}
	}
	slices.Sort(chosen)
	return Subset(d, chosen)
}

// HasTexts reports whether any sample has a text. It reads descriptions up to
// the first that has.
func HasTexts(d Dataset) bool {
	for i := range d.Len() {
		if s, err := Describe(d, i); err == nil && s.Text != "" {
			return true
		}
	}
	return false
}
