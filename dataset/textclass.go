package dataset

import "slices"

// TextsAsClasses makes each sample's text its class, for zero-shot accuracy on
// pairs: which of all texts belongs to the image? Samples without text keep
// class "". Its Classes are the different texts, sorted.
func TextsAsClasses(d Dataset) Dataset {
	label := map[string]int{}
	for i := range d.Len() {
		s, err := Describe(d, i)
		if err != nil {
			continue // named when it's read
		}
		label[s.Text] = 0
	}
	delete(label, "")
	t := &textClasses{Dataset: d, label: label}
	for text := range label {
		t.classes = append(t.classes, text)
	}
	slices.Sort(t.classes)
	for i, text := range t.classes {
		label[text] = i
	}
	return t
}

type textClasses struct {
	Dataset
	classes []string
	label   map[string]int
}

func (t *textClasses) Sample(i int) (Sample, error) {
	s, err := t.Dataset.Sample(i)
	return t.classify(s), err
}

func (t *textClasses) describe(i int) (Sample, error) {
	s, err := Describe(t.Dataset, i)
	return t.classify(s), err
}

func (t *textClasses) classify(s Sample) Sample {
	s.Class, s.Label = s.Text, -1
	if label, ok := t.label[s.Text]; ok {
		s.Label = label
	}
	return s
}

func (t *textClasses) Classes() []string  { return t.classes }
func (t *textClasses) Problems() Problems { return ProblemsOf(t.Dataset) }
