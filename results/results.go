// Package results compares methods over several runs of one config: seeds and
// pretrained models. It makes results.json and the tables and figures of
// docs/results.md; report shows a single run.
package results

import (
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"arf/report"
)

// Axis is a role's test sets, averaged.
type Axis string

// The axes of all tables.
const (
	ID       Axis = report.RoleID
	Shift    Axis = report.RoleShift
	ZeroShot Axis = report.RoleZeroShot
)

var axes = []Axis{ID, Shift, ZeroShot}

// Table has every model of some runs.
type Table struct {
	Runs    []*report.Run
	Methods []string // keys: a method, or wise-<method>-<alpha>, in the order of reports
	suites  []report.Suite
	models  map[string][]model // by key
}

// model is one replicate of a method: one pretrained model, one seed.
type model struct {
	key   string
	run   int
	seed  int
	evals map[string]*report.Evaluation // by suite
	drift *report.Drift
}

// Load reads run folders: of the same data and settings, and of different
// pretrained models or seeds.
func Load(dirs ...string) (*Table, error) {
	if len(dirs) == 0 {
		return nil, errors.New("results: no run folder given")
	}
	t := &Table{models: map[string][]model{}}
	for i, dir := range dirs {
		r, err := report.Load(dir)
		if err != nil {
			return nil, err
		}
		if err := t.check(r); err != nil {
			return nil, err
		}
		t.Runs = append(t.Runs, r)
		t.add(i, r)
	}
	t.order()
	return t, nil
}

// Key names a method, or a WiSE-FT model of it.
func Key(method string, alpha float64) string {
	if alpha == 1 {
		return method
	}
	return "wise-" + method + "-" + strconv.FormatFloat(alpha, 'g', -1, 64)
}

func (t *Table) add(run int, r *report.Run) {
	found := map[report.Model]*model{}
	for m, e := range r.Evaluations() {
		if found[m] == nil {
			found[m] = &model{key: Key(m.Method, m.Alpha), run: run, seed: m.Seed, evals: map[string]*report.Evaluation{}}
			if m.Alpha == 1 {
				found[m].drift = r.DriftOf(m.Method, m.Seed)
			}
		}
		found[m].evals[e.Dataset] = e
	}
	for m, one := range found {
		if m.Alpha == 0 && m.Method != report.Pretrained {
			continue // the pretrained model again
		}
		t.models[one.key] = append(t.models[one.key], *one)
	}
}

// order sorts methods as reports do and models by run and seed.
func (t *Table) order() {
	for key, models := range t.models {
		slices.SortFunc(models, func(a, b model) int {
			if a.run != b.run {
				return a.run - b.run
			}
			return a.seed - b.seed
		})
		t.models[key] = models
	}
	for _, method := range t.Runs[0].Methods {
		if t.models[method] != nil {
			t.Methods = append(t.Methods, method)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(t.models)) {
		if !slices.Contains(t.Methods, key) {
			t.Methods = append(t.Methods, key)
		}
	}
}

// on lists the test sets of an axis.
func (t *Table) on(a Axis) []report.Suite {
	var out []report.Suite
	for _, s := range t.suites {
		if s.Role == string(a) {
			out = append(out, s)
		}
	}
	return out
}

// Score is over replicates, in shares.
type Score struct {
	Mean, Std  float64 // Std is the sample's; NaN below two replicates
	Replicates int
}

// Score of a method on test sets, averaged.
func (t *Table) Score(key string, suites []report.Suite) Score {
	var values []float64
	for _, m := range t.models[key] {
		if v := m.accuracy(suites); !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return summarize(values)
}

// accuracy is top-1, averaged over the test sets; NaN if one is missing.
func (m model) accuracy(suites []report.Suite) float64 {
	sum := 0.0
	for _, s := range suites {
		e := m.evals[s.Name]
		if e == nil || e.Metrics.Acc1 == nil {
			return math.NaN()
		}
		sum += *e.Metrics.Acc1
	}
	return sum / float64(len(suites))
}

func summarize(values []float64) Score {
	s := Score{Mean: math.NaN(), Std: math.NaN(), Replicates: len(values)}
	if len(values) == 0 {
		return s
	}
	s.Mean = 0
	for _, v := range values {
		s.Mean += v / float64(len(values))
	}
	if len(values) > 1 {
		sum := 0.0
		for _, v := range values {
			sum += (v - s.Mean) * (v - s.Mean)
		}
		s.Std = math.Sqrt(sum / float64(len(values)-1))
	}
	return s
}

// curve lists the WiSE-FT models of a method in the order of alpha, without the
// curve's ends.
func (t *Table) curve(method string) []string {
	var keys []string
	for _, key := range t.Methods {
		// flyp's are not flyp-2x's.
		if alpha, ok := strings.CutPrefix(key, "wise-"+method+"-"); ok && !strings.Contains(alpha, "-") {
			keys = append(keys, key)
		}
	}
	return keys
}

// isWise tells whether a key names a WiSE-FT model.
func isWise(key string) bool { return strings.HasPrefix(key, "wise-") }
