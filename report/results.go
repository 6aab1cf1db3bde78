package report

import (
	"fmt"
	"math"
	"slices"
)

// column is one test set, or the average over the test sets of a role.
type column struct {
	Role    string
	Label   string
	Suites  []Suite
	Average bool
}

// columns of the results table: each test set, and after several of a role
// their average.
func (r *Run) columns() []column {
	var out []column
	for _, role := range roles {
		suites := r.suites(role)
		for _, s := range suites {
			out = append(out, column{Role: role, Label: s.Name, Suites: []Suite{s}})
		}
		if len(suites) > 1 && role != RoleValidation {
			out = append(out, column{Role: role, Label: "average " + map[string]string{
				RoleID: "ID", RoleShift: "shift", RoleZeroShot: "zero-shot"}[role], Suites: suites, Average: true})
		}
	}
	return out
}

// row is one model of the results table.
type row struct {
	Method string
	Alpha  float64 // 1 = not interpolated
	Cells  []cell  // in the order of columns
}

// cell is one number of the results table.
type cell struct {
	Score
	Delta float64 // to the pretrained model; NaN when unknown
	Call  Call    // what Delta means; for top-1 only
	Best  bool    // of its column, ties included
}

// Label names a row for readers.
func (w row) Label() string {
	if w.Alpha != 1 {
		return fmt.Sprintf("%s, WiSE-FT α=%.4g", w.Method, w.Alpha)
	}
	return w.Method
}

// rows of the results table: every method, then WiSE-FT at α = 0.5 of those
// that were interpolated. That α is fixed beforehand: choosing the best one on
// these test sets would be choosing on test data.
func (r *Run) rows(m metric) []row {
	var out []row
	for _, method := range r.Methods {
		out = append(out, row{Method: method, Alpha: 1})
	}
	for _, method := range r.finetuned() {
		if r.hasHalfway(method) {
			out = append(out, row{Method: method, Alpha: halfway})
		}
	}
	columns := r.columns()
	for i := range out {
		for _, c := range columns {
			s := r.score(out[i].Method, out[i].Alpha, m, c.Suites)
			one := cell{Score: s, Delta: math.NaN()}
			if out[i].Method != Pretrained {
				one.Delta = s.Mean - r.score(Pretrained, 1, m, c.Suites).Mean
				if m.Key == "acc1" {
					one.Call = r.difference(Pretrained, out[i].Method, out[i].Alpha, c.Suites).Call()
				}
			}
			out[i].Cells = append(out[i].Cells, one)
		}
	}
	for c := range columns {
		best := math.NaN()
		for _, w := range out {
			x := w.Cells[c].Mean
			if math.IsNaN(best) || m.LowerWins && x < best || !m.LowerWins && x > best {
				best = x
			}
		}
		for i := range out {
			out[i].Cells[c].Best = len(out) > 1 && out[i].Cells[c].Mean == best
		}
	}
	return out
}

// standardErrors of each column: the largest over the models, since the error
// depends on the accuracy a little.
func standardErrors(rows []row, columns int) []float64 {
	out := make([]float64, columns)
	for c := range out {
		out[c] = math.NaN()
		for _, w := range rows {
			if e := w.Cells[c].Error; math.IsNaN(out[c]) || e > out[c] {
				out[c] = e
			}
		}
	}
	return out
}

// hasMetric tells whether any model has a number for it.
func hasMetric(rows []row) bool {
	return slices.ContainsFunc(rows, func(w row) bool {
		return slices.ContainsFunc(w.Cells, func(c cell) bool { return !math.IsNaN(c.Mean) })
	})
}
