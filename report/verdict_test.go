package report

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gonum.org/v1/gonum/stat"
)

// evaluationFile writes one eval JSON without accuracies per class.
func evaluationFile(t *testing.T, dir, method string, seed int, suite, role string, images int, acc float64) {
	writeJSON(t, filepath.Join(dir, "eval", method, fmt.Sprintf("seed-%d", seed), suite+".json"),
		map[string]any{"role": role, "num_images": images, "num_classes": 2, "metrics": map[string]any{"acc1": acc}})
}

// TestDifferenceByHand works out the unpaired error with pencil and paper.
func TestDifferenceByHand(t *testing.T) {
	dir := t.TempDir()
	evaluationFile(t, dir, "zeroshot", 0, "id", "id", 400, 0.5) // SE 0.025
	evaluationFile(t, dir, "arf", 0, "id", "id", 400, 0.6)      // SE √(0.24/400)
	evaluationFile(t, dir, "arf", 1, "id", "id", 400, 0.62)
	r := load(t, dir)
	d := r.difference(Pretrained, "arf", 1, r.suites(RoleID))
	if d.Paired || !near(d.Delta, 0.11) {
		t.Fatalf("difference %+v", d)
	}
	meanSE := (math.Sqrt(0.6*0.4/400) + math.Sqrt(0.62*0.38/400)) / 2
	seeds := 0.02 * 0.02 / 2 / 2 // variance of two values 0.02 apart, of their mean
	if want := math.Sqrt(0.025*0.025 + meanSE*meanSE + seeds); !near(d.Error, want) {
		t.Errorf("error %v, want %v", d.Error, want)
	}
}

// TestClusteredAgainstBootstrap: the closed form agrees with resampling the
// classes 4,000 times, on one test set and on the average of five.
func TestClusteredAgainstBootstrap(t *testing.T) {
	f := smallFixture(1)
	f.wise, f.train, f.drift, f.anchors = false, false, false, false
	f.methods = []string{"zeroshot", "flyp"}
	r := load(t, f.write(t))
	rng := random("bootstrap")
	for _, suites := range [][]Suite{r.suites(RoleID), r.suites(RoleShift)} {
		variance, ok := r.clusteredVariance(Pretrained, "flyp", 1, suites)
		if !ok {
			t.Fatal("no clustered variance")
		}
		type class struct{ n, delta float64 }
		var tables [][]class // suite, class
		for _, s := range suites {
			before, after := r.classAccuracy(Pretrained, 1, s), r.classAccuracy("flyp", 1, s)
			var table []class
			for i := range s.Classes {
				name := f.className(i)
				table = append(table, class{float64(before[name].N), *after[name].Acc1 - *before[name].Acc1})
			}
			tables = append(tables, table)
		}
		var draws []float64
		for range 4000 {
			var picked []int
			for range tables[0] {
				picked = append(picked, rng.IntN(len(tables[0])))
			}
			total := 0.0
			for _, table := range tables {
				var delta, n float64
				for _, c := range picked {
					delta, n = delta+table[c].n*table[c].delta, n+table[c].n
				}
				total += delta / n / float64(len(tables))
			}
			draws = append(draws, total)
		}
		if got, want := math.Sqrt(variance), stat.StdDev(draws, nil); math.Abs(got/want-1) > 0.06 {
			t.Errorf("%d test sets: error %.5f, bootstrap %.5f", len(suites), got, want)
		}
	}
}

func axisOf(role, label string, delta, standardError float64) Axis {
	return Axis{Role: role, Label: label, Suites: []Suite{{Name: role}}, Difference: Difference{Delta: delta, Error: standardError}}
}

func TestVerdictStates(t *testing.T) {
	nan := math.NaN()
	for name, test := range map[string]struct {
		id, shift, zero [2]float64 // delta, standard error
		worse           []Axis
		state, headline string
		detail          string
	}{
		"gain":       {[2]float64{.1, .01}, [2]float64{.02, .005}, [2]float64{.01, .004}, nil, "ok", "No measurable loss.", ""},
		"no change":  {[2]float64{.1, .01}, [2]float64{.001, .002}, [2]float64{0, .002}, nil, "ok", "No measurable loss.", "Not ruled out: a loss of up to 0.3 points on average shift and 0.4 points on zero-shot."},
		"too small":  {[2]float64{.1, .01}, [2]float64{.02, .005}, [2]float64{-.01, .01}, nil, "unclear", "Not clear for zero-shot.", "Not ruled out: a loss of up to 3.0 points on zero-shot."},
		"loss":       {[2]float64{.1, .01}, [2]float64{-.02, .005}, [2]float64{-.04, .01}, nil, "worse", "Yes. Average shift and zero-shot got worse.", ""},
		"single set": {[2]float64{.1, .01}, [2]float64{.02, .005}, [2]float64{.01, .001}, []Axis{axisOf("shift", "emoji", -.05, .01)}, "mixed", "In part. Emoji got worse.", "Emoji lost 5.0 points."},
		"partial":    {[2]float64{.1, .01}, [2]float64{nan, nan}, [2]float64{nan, nan}, nil, "partial", "No measurable loss on ID.", "Not measured: average shift and zero-shot."},
		"unknown":    {[2]float64{nan, nan}, [2]float64{nan, nan}, [2]float64{nan, nan}, nil, "unknown", "Not known.", ""},
		"no error":   {[2]float64{.1, .01}, [2]float64{.02, .005}, [2]float64{-.01, nan}, nil, "unclear", "Not clear for zero-shot.", "The error of zero-shot is unknown."},
	} {
		v := Verdict{Method: "arf", Worse: test.worse, Axes: []Axis{
			axisOf("id", "ID", test.id[0], test.id[1]),
			axisOf("shift", "Average shift", test.shift[0], test.shift[1]),
			axisOf("zero-shot", "Zero-shot", test.zero[0], test.zero[1])}}
		if v.State() != test.state || v.Headline() != test.headline || v.Detail() != test.detail {
			t.Errorf("%s: %q %q %q, want %q %q %q", name, v.State(), v.Headline(), v.Detail(), test.state, test.headline, test.detail)
		}
	}
}

func TestFocus(t *testing.T) {
	for _, test := range []struct {
		methods []string
		set     string
		want    string
	}{
		{[]string{"zeroshot", "flyp", "arf"}, "", "arf"},
		{[]string{"zeroshot", "flyp", "arf"}, "flyp", "flyp"},
		{[]string{"zeroshot", "flyp", "arf"}, "no such", "arf"},
		{[]string{"zeroshot", "ft", "flyp"}, "", "flyp"},
		{[]string{"zeroshot"}, "", ""},
	} {
		if got := (&Run{Methods: test.methods, Focus: test.set}).focus(); got != test.want {
			t.Errorf("%v, %q: %q, want %q", test.methods, test.set, got, test.want)
		}
	}
}

// TestPerfect: an accuracy of 1 on few images is no certainty.
func TestPerfect(t *testing.T) {
	dir := t.TempDir()
	evaluationFile(t, dir, "zeroshot", 0, "id", "id", 10, 1)
	evaluationFile(t, dir, "arf", 0, "id", "id", 10, 1)
	r := load(t, dir)
	if v := r.Verdict("arf"); v.State() != "unclear" {
		t.Errorf("state %q, error %v", v.State(), v.Axes[0].Difference.Error)
	}
}

func TestClassChanges(t *testing.T) {
	dir := t.TempDir()
	write := func(method string, cat, dog float64) {
		writeJSON(t, filepath.Join(dir, "eval", method, "seed-0", "id.json"), map[string]any{"role": "id", "num_images": 30, "num_classes": 2,
			"metrics": map[string]any{"acc1": 0.5}, "per_class": map[string]any{"cat": map[string]any{"n": 10, "acc1": cat}, "dog": map[string]any{"n": 20, "acc1": dog}}})
	}
	write("zeroshot", 0.2, 0.6)
	write("arf", 0.5, 0.4)
	r := load(t, dir)
	changes := r.classChanges("arf", r.suites(RoleID))
	var text []string
	for _, c := range changes {
		text = append(text, fmt.Sprintf("%s %d %.1f", c.Class, c.N, c.Delta()))
	}
	if want := []string{"cat 10 0.3", "dog 20 -0.2"}; !slices.Equal(text, want) {
		t.Errorf("%v, want %v", text, want)
	}
	gains, losses := split(changes, 5)
	if len(gains) != 1 || len(losses) != 1 || losses[0].Class != "dog" {
		t.Errorf("gains %v, losses %v", gains, losses)
	}
	if c := r.Compare("zeroshot", "arf"); !strings.HasSuffix(c.Answer(), ".") {
		t.Errorf("answer %q", c.Answer())
	}
}
