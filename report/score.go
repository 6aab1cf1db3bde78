package report

import (
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/stat"
)

// metric picks one number of an evaluation.
type metric struct {
	Key, Label string
	LowerWins  bool
	of         func(*Evaluation) float64
}

var metrics = []metric{
	{"acc1", "Top-1 accuracy", false, func(e *Evaluation) float64 { return value(e.Metrics.Acc1) }},
	{"acc5", "Top-5 accuracy", false, func(e *Evaluation) float64 { return value(e.Metrics.Acc5) }},
	{"mean_per_class_recall", "Mean per-class recall", false, func(e *Evaluation) float64 { return value(e.Metrics.MeanPerClassRecall) }},
	{"ece", "Expected calibration error", true, func(e *Evaluation) float64 { return value(e.Metrics.ECE) }},
}

// Score is a number over seeds. Unknown parts are NaN.
type Score struct {
	Mean   float64
	Spread float64 // sample standard deviation over seeds; NaN below two seeds
	Error  float64 // standard error of the test set, for one model; top-1 only
	Seeds  int
}

var noScore = Score{Mean: math.NaN(), Spread: math.NaN(), Error: math.NaN()}

// score averages one metric of one model over suites (within a seed) and then
// over seeds. A seed counts only when it has every suite: an average over fewer
// test sets is another quantity.
func (r *Run) score(method string, alpha float64, m metric, suites []Suite) Score {
	if len(suites) == 0 {
		return noScore
	}
	var values, errs []float64
	for _, seed := range r.seedsOf(method, alpha, suites) {
		mean, variance := 0.0, 0.0
		for _, s := range suites {
			e := r.evals[evalKey{method, alpha, s.Name}][seed]
			mean += m.of(e) / float64(len(suites))
			variance += math.Pow(e.standardError()/float64(len(suites)), 2)
		}
		if math.IsNaN(mean) {
			continue
		}
		values, errs = append(values, mean), append(errs, math.Sqrt(variance))
	}
	if len(values) == 0 {
		return noScore
	}
	out := Score{Mean: stat.Mean(values, nil), Spread: math.NaN(), Error: math.NaN(), Seeds: len(values)}
	if len(values) > 1 {
		out.Spread = stat.StdDev(values, nil)
	}
	if m.Key == "acc1" {
		out.Error = floats.Sum(errs) / float64(len(errs))
	}
	return out
}

// seedsOf lists the seeds for which a model was evaluated on all suites.
func (r *Run) seedsOf(method string, alpha float64, suites []Suite) []int {
	var seeds []int
	for _, seed := range sortedKeys(r.evals[evalKey{method, alpha, suites[0].Name}]) {
		complete := true
		for _, s := range suites {
			complete = complete && r.evals[evalKey{method, alpha, s.Name}][seed] != nil
		}
		if complete {
			seeds = append(seeds, seed)
		}
	}
	return seeds
}

// classAccuracy averages the accuracy of each class over seeds; nil when any
// seed has no per-class numbers.
func (r *Run) classAccuracy(method string, alpha float64, suite Suite) map[string]ClassResult {
	bySeed := r.evals[evalKey{method, alpha, suite.Name}]
	out := map[string]ClassResult{}
	for _, e := range bySeed {
		if len(e.PerClass) == 0 {
			return nil
		}
		for name, c := range e.PerClass {
			if c.N == 0 || c.Acc1 == nil {
				continue
			}
			mean := *c.Acc1 / float64(len(bySeed))
			if old, ok := out[name]; ok {
				mean += *old.Acc1
			}
			out[name] = ClassResult{N: c.N, Acc1: &mean}
		}
	}
	return out
}
