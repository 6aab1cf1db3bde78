package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
)

// Call says what a difference to the pretrained model means.
type Call string

// A difference is called when its 95% interval leaves out zero.
const (
	Better     Call = "better"
	Worse      Call = "worse"
	Unclear    Call = "no measurable change"
	Unmeasured Call = "not measured"
)

// z95 is the normal quantile of a two-sided 95% interval.
const z95 = 1.959964

// Margin is the loss, as a share, that still counts as none. Without a margin,
// a test set too small to show a loss would pass for a proof that there is none.
const Margin = 0.01

// minClusters is the number of classes from which the clustered error is used;
// below it, the estimate is itself too noisy (Cameron & Miller 2015 call 20 to
// 50 clusters few).
const minClusters = 30

// Difference is a model against another, most often the pretrained one, on one
// test set or on the average of several, in shares (0.01 = one percentage point).
type Difference struct {
	Before, After float64
	Delta         float64
	Error         float64 // standard error of Delta
	Paired        bool    // Error pairs the models by class, see difference
	Seeds         int
}

// Low is the lower end of the 95% interval.
func (d Difference) Low() float64 { return d.Delta - z95*d.Error }

// High is the upper end of the 95% interval.
func (d Difference) High() float64 { return d.Delta + z95*d.Error }

// Call tells a gain and a loss from noise.
func (d Difference) Call() Call {
	switch {
	case math.IsNaN(d.Delta):
		return Unmeasured
	case d.Low() > 0:
		return Better
	case d.High() < 0:
		return Worse
	}
	return Unclear
}

// difference compares a model, averaged over its seeds, with a base method on
// the average of suites.
//
// Both models saw the same images, so their errors are paired: with accuracies
// per class, the standard error is that of the class-wise differences, clustered
// by class (a class in several test sets is one cluster); see Miller 2024,
// "Adding Error Bars to Evals", arXiv:2411.00640. Without them the two binomial
// errors are added in quadrature, which is too wide. The variance between
// seeds, where there are several, is added in both cases.
func (r *Run) difference(base, method string, alpha float64, suites []Suite) Difference {
	before := r.score(base, 1, metrics[0], suites)
	after := r.score(method, alpha, metrics[0], suites)
	d := Difference{Before: before.Mean, After: after.Mean, Delta: after.Mean - before.Mean, Seeds: after.Seeds, Error: math.NaN()}
	if math.IsNaN(d.Delta) {
		return d
	}
	var variance float64
	variance, d.Paired = r.clusteredVariance(base, method, alpha, suites)
	if !d.Paired {
		variance = before.Error*before.Error + after.Error*after.Error
	}
	for _, s := range []Score{before, after} {
		if s.Seeds > 1 {
			variance += s.Spread * s.Spread / float64(s.Seeds)
		}
	}
	d.Error = math.Sqrt(variance)
	return d
}

// clusteredVariance of the mean over suites of (accuracy − base accuracy): each
// class adds up its share of the deviations, and these sums are the independent
// draws. ok is false when accuracies per class are missing or few, or when no
// class differs from another, which says nothing of the error.
func (r *Run) clusteredVariance(base, method string, alpha float64, suites []Suite) (variance float64, ok bool) {
	residual := map[string]float64{}
	for _, s := range suites {
		before, after := r.classAccuracy(base, 1, s), r.classAccuracy(method, alpha, s)
		if len(before) == 0 || len(before) != len(after) {
			return 0, false
		}
		names := slices.Sorted(maps.Keys(before)) // a fixed order of summation
		var delta, weight []float64
		for _, name := range names {
			a, b := after[name], before[name]
			if a.N != b.N { // also when the class is missing
				return 0, false
			}
			delta, weight = append(delta, *a.Acc1-*b.Acc1), append(weight, float64(b.N))
		}
		mean, total := stat.Mean(delta, weight), floats.Sum(weight)
		for i, name := range names {
			residual[name] += weight[i] / total * (delta[i] - mean) / float64(len(suites))
		}
	}
	if len(residual) < minClusters {
		return 0, false
	}
	for _, name := range slices.Sorted(maps.Keys(residual)) {
		variance += residual[name] * residual[name]
	}
	c := float64(len(residual))
	return variance * c / (c - 1), variance > 0
}

// Axis is one of the three questions: did it learn, does it stand shifts, does
// it still know the rest.
type Axis struct {
	Role       string
	Label      string
	Suites     []Suite
	Difference Difference
}

// Verdict answers "did the new model break anything?" for one method.
type Verdict struct {
	Method string
	Axes   []Axis // ID, average shift, zero-shot
	// Worse lists single test sets that lost although their average did not.
	Worse []Axis
}

// Verdict compares one finetuned method with the pretrained model.
func (r *Run) Verdict(method string) Verdict {
	v := Verdict{Method: method, Axes: r.axes(Pretrained, method)}
	for _, a := range v.Axes {
		if len(a.Suites) < 2 || a.Difference.Call() == Worse {
			continue
		}
		for _, s := range a.Suites {
			one := Axis{Role: a.Role, Label: s.Name, Suites: []Suite{s}, Difference: r.difference(Pretrained, method, 1, []Suite{s})}
			if one.Difference.Call() == Worse {
				v.Worse = append(v.Worse, one)
			}
		}
	}
	return v
}

// Comparison is one method minus another.
type Comparison struct {
	Method, Base string
	Axes         []Axis
}

// Compare sets one finetuned method against another.
func (r *Run) Compare(base, method string) Comparison {
	return Comparison{Method: method, Base: base, Axes: r.axes(base, method)}
}

// Answer is the comparison in words.
func (c Comparison) Answer() string {
	var parts []string
	for _, call := range []Call{Better, Worse} {
		if names := labels(c.Axes, call); len(names) > 0 {
			parts = append(parts, list(names)+" "+string(call))
		}
	}
	if len(parts) == 0 {
		return "No measurable difference."
	}
	return upperFirst(strings.Join(parts, "; ")) + "."
}

// axes compares two methods on ID, average shift and zero-shot.
func (r *Run) axes(base, method string) []Axis {
	var out []Axis
	for _, axis := range []struct{ role, one, many string }{
		{RoleID, "ID", "Average ID"},
		{RoleShift, "Shift", "Average shift"},
		{RoleZeroShot, "Zero-shot", "Average zero-shot"},
	} {
		suites := r.suites(axis.role)
		a := Axis{Role: axis.role, Label: axis.one, Suites: suites, Difference: r.difference(base, method, 1, suites)}
		if len(suites) > 1 {
			a.Label = axis.many
		}
		out = append(out, a)
	}
	return out
}

// State is "unknown" when nothing could be compared, "worse" when an average
// lost, "mixed" when only single test sets did, "unclear" when a loss beyond
// Margin can't be ruled out, "partial" when there is no loss but not everything
// was tested, else "ok".
func (v Verdict) State() string {
	missing := len(v.labels(Unmeasured))
	switch {
	case missing == len(v.Axes):
		return "unknown"
	case len(v.labels(Worse)) > 0:
		return "worse"
	case len(v.Worse) > 0:
		return "mixed"
	case len(v.possible(Margin)) > 0:
		return "unclear"
	case missing > 0:
		return "partial"
	}
	return "ok"
}

// Headline is the answer in one line.
func (v Verdict) Headline() string {
	switch v.State() {
	case "unknown":
		return "Not known."
	case "worse":
		return "Yes. " + upperFirst(list(v.labels(Worse))) + " got worse."
	case "mixed":
		var names []string
		for _, a := range v.Worse {
			names = append(names, a.Label)
		}
		return "In part. " + upperFirst(list(names)) + " got worse."
	case "unclear":
		var names []string
		for _, a := range v.possible(Margin) {
			names = append(names, sentence(a.Label))
		}
		return "Not clear for " + list(names) + "."
	case "partial":
		return "No measurable loss on " + list(append(v.labels(Better), v.labels(Unclear)...)) + "."
	}
	return "No measurable loss."
}

// Detail says what the averages hide: test sets that lost, what wasn't measured,
// and how large a loss the error leaves possible. Empty when there is nothing to say.
func (v Verdict) Detail() string {
	var parts []string
	for _, a := range v.Worse {
		parts = append(parts, fmt.Sprintf("%s lost %s points.", upperFirst(a.Label), points(-a.Difference.Delta)))
	}
	var possible []string
	for _, a := range v.possible(0) {
		if math.IsNaN(a.Difference.Error) {
			parts = append(parts, "The error of "+sentence(a.Label)+" is unknown.")
			continue
		}
		possible = append(possible, fmt.Sprintf("%s points on %s", points(-a.Difference.Low()), sentence(a.Label)))
	}
	if missing := v.labels(Unmeasured); len(missing) > 0 && len(missing) < len(v.Axes) {
		parts = append(parts, upperFirst(string(Unmeasured))+": "+list(missing)+".")
	}
	if len(possible) > 0 {
		parts = append(parts, "Not ruled out: a loss of up to "+list(possible)+".")
	}
	return strings.Join(parts, " ")
}

// possible lists the axes without a clear change on which a loss beyond margin
// can't be ruled out.
func (v Verdict) possible(margin float64) []Axis {
	var out []Axis
	for _, a := range v.Axes {
		if d := a.Difference; d.Call() == Unclear && !(d.Low() >= -margin) {
			out = append(out, a)
		}
	}
	return out
}

func (v Verdict) labels(c Call) []string { return labels(v.Axes, c) }

// labels of the axes with one call, as words of a sentence.
func labels(axes []Axis, c Call) []string {
	var out []string
	for _, a := range axes {
		if a.Difference.Call() == c {
			out = append(out, sentence(a.Label))
		}
	}
	return out
}

// sentence is a label inside a sentence.
func sentence(label string) string {
	if label == "ID" {
		return label
	}
	return strings.ToLower(label[:1]) + label[1:]
}
