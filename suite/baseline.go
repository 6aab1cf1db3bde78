package suite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"arf/eval"
)

// Baseline is the results of one model, as Run saves them.
type Baseline struct{ Dir string }

// value is the baseline's main metric on a set.
func (b Baseline) value(suite, set string) (float64, bool, error) {
	for _, path := range []string{filepath.Join(b.Dir, suite, set+".json"), filepath.Join(b.Dir, set+".json")} {
		r, err := eval.LoadResult(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, false, err
		}
		return r.Main(), true, nil
	}
	return 0, false, nil
}

// Compare adds to each row how far it is above the baselines: the difference to
// their mean, and, for shifts, the effective robustness, for which the table
// needs a set in distribution and two or more baselines that have both. warn is
// told why a set has none. A folder without results of any of the sets is an
// error.
func (t Table) Compare(baselines []Baseline, warn func(string)) error {
	for _, b := range baselines {
		if info, err := os.Stat(b.Dir); err != nil || !info.IsDir() {
			return fmt.Errorf("baseline %s is not a folder; give the folder of results of one model", b.Dir)
		}
		known := false
		for _, r := range t.Rows {
			_, ok, err := b.value(r.Suite, r.Set)
			if err != nil {
				return fmt.Errorf("baseline: %w", err)
			}
			known = known || ok
		}
		if !known {
			return fmt.Errorf("baseline %s has no results of these test sets; give the folder that an evaluation of the same suites wrote", b.Dir)
		}
	}
	c := comparison{t, baselines, warn}
	for i := range t.Rows {
		if t.Rows[i].Class != nil {
			if err := c.compare(&t.Rows[i]); err != nil {
				return err
			}
		}
	}
	for i := range t.Rows {
		if r := &t.Rows[i]; r.Set == "average OOD" {
			r.Difference, r.Effective = c.averages(r.Suite)
		}
	}
	return nil
}

type comparison struct {
	t         Table
	baselines []Baseline
	warn      func(string)
}

func (c comparison) compare(r *Row) error {
	id := c.id(r.Suite)
	var values []float64
	var points []eval.Point
	for _, b := range c.baselines {
		v, ok, err := b.value(r.Suite, r.Set)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		values = append(values, v)
		if id == nil {
			continue
		}
		at, ok, err := b.value(r.Suite, id.Set)
		if err != nil {
			return err
		}
		if ok {
			points = append(points, eval.Point{ID: at, Shift: v})
		}
	}
	if len(values) == 0 {
		return nil
	}
	d := r.Value - mean(values)
	r.Difference = &d
	if r.Role != "shift" || id == nil || len(c.baselines) < 2 {
		return nil
	}
	line, err := eval.FitLogitLine(points)
	if err != nil {
		c.warn(fmt.Sprintf("%s: %v", r.Set, err))
		return nil
	}
	e := line.EffectiveRobustness(eval.Point{ID: id.Value, Shift: r.Value})
	r.Effective = &e
	return nil
}

// id is the suite's set in distribution; nil without one.
func (c comparison) id(suite string) *Row {
	for i := range c.t.Rows {
		if r := &c.t.Rows[i]; r.Suite == suite && r.Role == "id" && r.Class != nil {
			return r
		}
	}
	return nil
}

// averages are over the shifts; nil if one of them has none.
func (c comparison) averages(suite string) (difference, effective *float64) {
	var ds, es []float64
	shifts := 0
	for _, r := range c.t.Rows {
		if r.Suite != suite || r.Role != "shift" || r.Class == nil {
			continue
		}
		shifts++
		if r.Difference != nil {
			ds = append(ds, *r.Difference)
		}
		if r.Effective != nil {
			es = append(es, *r.Effective)
		}
	}
	if d := mean(ds); shifts > 0 && len(ds) == shifts {
		difference = &d
	}
	if e := mean(es); shifts > 0 && len(es) == shifts {
		effective = &e
	}
	return difference, effective
}
