package results

import (
	"cmp"
	"slices"

	"arf/report"
)

// Comparison is one method against another on all axes.
type Comparison struct {
	A, B string
	Why  string // what the difference says
	On   map[Axis]Difference
}

type question struct{ a, b, why string }

// questions are the comparisons that the method stands or falls with.
var questions = []question{
	{"flyp", "zeroshot", "what plain finetuning costs"},
	{"arf", "zeroshot", "whether the new model broke anything"},
	{"arf", "flyp", "what the anchors give back"},
	{"flyp+tca", "flyp", "captions alone"},
	{"flyp+ita", "flyp", "pairs alone"},
	{"arf", "flyp+tca", "pairs on top of captions"},
	{"arf", "flyp+ita", "captions on top of pairs"},
	{"flyp+random", "flyp", "random pairs alone"},
	{"flyp+ita", "flyp+random", "retrieved against random pairs"},
	{"flyp+ita", "flyp+random-matched", "retrieved against random pairs of the same classes"},
	{"arf+class-text", "flyp", "what anchors with pairs found by class prompt give back"},
	{"arf+class-text", "arf", "pairs found by class prompt against pairs found by image"},
	{"arf+class-text", "arf+random", "pairs found by class prompt against random ones"},
	{"flyp+class-text", "flyp+random", "the same without captions"},
	{"arf+class-text", "flyp+class-text", "captions on top of pairs found by class prompt"},
	{"arf+class-text", "wise-flyp-0.5", "pairs found by class prompt against the free rival"},
	{"arf+random", "flyp", "what anchors with random pairs give back"},
	{"arf+random", "arf", "random against retrieved pairs, with captions"},
	{"arf+random", "flyp+random", "captions on top of random pairs"},
	{"arf", "caption=class-prompt", "caption against a second prompt"},
	{"arf", "flyp-2x", "against as many images of flyp's"},
	{"arf", "pairs-only", "what the class term does"},
	{"arf", "wise-flyp-0.5", "against the free rival"},
	{"arf+random", "wise-flyp-0.5", "random pairs against the free rival"},
}

// atEqualID is the model of a method's WiSE-FT curve, ends included, that a
// method has to beat: of those with at least its accuracy in distribution, or
// else the nearest to it, the one with the highest mean of the other axes. It
// is chosen on the test sets, so in the curve's favour. "" = there is no curve.
func (t *Table) atEqualID(method, curve string) string {
	on := t.curve(curve)
	if len(on) == 0 || len(t.models[method]) == 0 {
		return ""
	}
	id := func(key string) float64 { return t.Score(key, t.on(ID)).Mean }
	others := func(key string) float64 {
		var sum float64
		for _, axis := range []Axis{Shift, ZeroShot} {
			if suites := t.on(axis); len(suites) > 0 {
				sum += t.Score(key, suites).Mean
			}
		}
		return sum
	}
	on = append(on, report.Pretrained, curve)
	reach := slices.DeleteFunc(slices.Clone(on), func(key string) bool { return !(id(key) >= id(method)) })
	if len(reach) == 0 {
		return slices.MaxFunc(on, func(a, b string) int { return cmp.Compare(id(a), id(b)) })
	}
	return slices.MaxFunc(reach, func(a, b string) int { return cmp.Compare(others(a), others(b)) })
}

// Compare answers the questions whose methods were evaluated.
func (t *Table) Compare() ([]Comparison, error) {
	var out []Comparison
	asked := slices.Clone(questions)
	if rival := t.atEqualID("arf", "flyp"); rival != "" {
		asked = slices.DeleteFunc(asked, func(q question) bool { return q.a == "arf" && q.b == rival })
		asked = append(asked, question{"arf", rival, "against the free rival at the same ID accuracy or above, α chosen on the tests"})
	}
	for _, q := range asked {
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
