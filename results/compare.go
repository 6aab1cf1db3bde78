package results

// Comparison is one method against another on all axes.
type Comparison struct {
	A, B string
	Why  string // what the difference says
	On   map[Axis]Difference
}

// questions are the comparisons that the method stands or falls with.
var questions = []struct{ a, b, why string }{
	{"flyp", "zeroshot", "what plain finetuning costs"},
	{"arf", "zeroshot", "whether the new model broke anything"},
	{"arf", "flyp", "what the anchors give back"},
	{"flyp+tca", "flyp", "captions alone"},
	{"flyp+ita", "flyp", "pairs alone"},
	{"arf", "flyp+tca", "pairs on top of captions"},
	{"arf", "flyp+ita", "captions on top of pairs"},
	{"flyp+ita", "flyp+random", "retrieved against random pairs"},
	{"flyp+ita", "flyp+random-matched", "retrieved against random pairs of the same classes"},
	{"arf", "caption=class-prompt", "caption against a second prompt"},
	{"arf", "flyp-2x", "against as many images of flyp's"},
	{"arf", "pairs-only", "what the class term does"},
	{"arf", "wise-flyp-0.5", "against the free rival"},
}

// Compare answers the questions whose methods were evaluated.
func (t *Table) Compare() ([]Comparison, error) {
	var out []Comparison
	for _, q := range questions {
		if len(t.models[q.a]) == 0 || len(t.models[q.b]) == 0 {
			continue
		}
		c := Comparison{A: q.a, B: q.b, Why: q.why, On: map[Axis]Difference{}}
		for _, axis := range axes {
			suites := t.on(axis)
			if len(suites) == 0 {
				continue
			}
			d, err := t.Difference(q.a, q.b, suites)
			if err != nil {
				return nil, err
			}
			c.On[axis] = d
		}
		out = append(out, c)
	}
	return out, nil
}
