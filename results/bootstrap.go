package results

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"arf/report"
)

// Difference of two methods, A − B, in shares.
type Difference struct {
	A, B       string
	Mean       float64
	Low, High  float64 // 95% interval; NaN where the test sets have too few classes for one
	Std        float64 // over replicates, each against its own
	Replicates int
}

// Clear tells whether the interval leaves out zero.
func (d Difference) Clear() bool { return d.Low > 0 || d.High < 0 }

// resamples of the bootstrap.
const resamples = 10_000

// Difference compares two methods on test sets, averaged. Models of the same
// pretrained model and seed are compared with each other (a method without
// seeds with every seed). The interval is the percentile bootstrap's (Efron &
// Tibshirani 1993, ch. 13) over classes, which images of one class and fork are
// more alike than images at large, and over the seeds of each pretrained model.
func (t *Table) Difference(a, b string, suites []report.Suite) (Difference, error) {
	d := Difference{A: a, B: b}
	pairs, err := t.matched(a, b)
	if err != nil {
		return d, err
	}
	classes := map[string]int{}
	var sets []paired
	for _, s := range suites {
		one, err := t.pair(s, pairs, classes)
		if err != nil {
			return d, err
		}
		sets = append(sets, one)
	}
	// The pairs of each run, for resampling seeds within it.
	runs := make([][]int, len(t.Runs))
	for i, p := range pairs {
		runs[p.a.run] = append(runs[p.a.run], i)
	}
	one := make([]float64, len(classes))
	for c := range one {
		one[c] = 1
	}
	var each []float64
	for i := range pairs {
		each = append(each, average(sets, one, []int{i}))
	}
	s := summarize(each)
	d.Mean, d.Std, d.Replicates = s.Mean, s.Std, s.Replicates
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, 0, resamples)
	weight := make([]float64, len(classes))
	for range resamples {
		clear(weight)
		for range classes {
			weight[rng.IntN(len(weight))]++
		}
		var drawn []int
		for _, r := range runs {
			for range r {
				drawn = append(drawn, r[rng.IntN(len(r))])
			}
		}
		if v := average(sets, weight, drawn); !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	d.Low, d.High = math.NaN(), math.NaN()
	if len(values) < resamples/2 { // most draws left a test set without any class
		return d, nil
	}
	slices.Sort(values)
	d.Low, d.High = values[int(0.025*float64(len(values)))], values[int(0.975*float64(len(values)))]
	return d, nil
}

// couple is one replicate of both methods.
type couple struct{ a, b model }

func (t *Table) matched(a, b string) ([]couple, error) {
	for _, key := range []string{a, b} {
		if len(t.models[key]) == 0 {
			return nil, fmt.Errorf("results: method %s was not evaluated", key)
		}
	}
	var out []couple
	for _, x := range t.models[a] {
		for _, y := range t.models[b] {
			if x.run == y.run && (x.seed == y.seed || a == report.Pretrained || b == report.Pretrained) {
				out = append(out, couple{x, y})
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("results: %s and %s have no seed in common", a, b)
	}
	return out, nil
}

// paired is one test set of both methods.
type paired struct {
	class []int       // into the classes of all sets
	n     []float64   // images, by class
	delta [][]float64 // by replicate and class: accuracy of a − of b
}

// name says which model it is, for messages.
func (t *Table) name(m model) string {
	return fmt.Sprintf("%s, seed %d of %s", m.key, m.seed, t.Runs[m.run].Dir)
}

// pair lines up the classes; it numbers those that it meets first.
func (t *Table) pair(s report.Suite, pairs []couple, classes map[string]int) (paired, error) {
	var p paired
	var names []string
	for i, c := range pairs {
		a, b := c.a.evals[s.Name], c.b.evals[s.Name]
		for _, m := range []model{c.a, c.b} {
			if m.evals[s.Name] == nil {
				return p, fmt.Errorf("results: %s was not evaluated on %s; run arf eval again", t.name(m), s.Name)
			}
		}
		if i == 0 {
			for name, r := range a.PerClass {
				if r.N > 0 {
					names = append(names, name)
				}
			}
			slices.Sort(names)
			for _, name := range names {
				if _, ok := classes[name]; !ok {
					classes[name] = len(classes)
				}
				p.class = append(p.class, classes[name])
				p.n = append(p.n, float64(a.PerClass[name].N))
			}
		}
		delta := make([]float64, len(names))
		for j, name := range names {
			x, y := a.PerClass[name], b.PerClass[name]
			if x.Acc1 == nil || y.Acc1 == nil || x.N != y.N {
				return p, fmt.Errorf("results: %s has other images of %q for %s than for %s; evaluate both on the same data", s.Name, name, t.name(c.a), t.name(c.b))
			}
			delta[j] = *x.Acc1 - *y.Acc1
		}
		p.delta = append(p.delta, delta)
	}
	if len(names) == 0 {
		return p, fmt.Errorf("results: %s has no accuracies per class of %s; run arf eval again", s.Name, t.name(pairs[0].a))
	}
	return p, nil
}

// average is the difference of accuracies, over images weighted by their class,
// then over sets and replicates; NaN if a set has no class of any weight.
func average(sets []paired, weight []float64, replicates []int) float64 {
	sum := 0.0
	for _, s := range sets {
		for _, r := range replicates {
			delta, total := 0.0, 0.0
			for j, c := range s.class {
				w := weight[c] * s.n[j]
				delta += w * s.delta[r][j]
				total += w
			}
			sum += delta / total
		}
	}
	return sum / float64(len(sets)*len(replicates))
}
