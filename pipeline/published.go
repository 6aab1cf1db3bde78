package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"arf/config"
	"arf/eval"
	"arf/suite"
)

// addPublished opens the test sets of a published suite that are there; what is
// missing is told.
func (d *data) addPublished(ctx context.Context, _ *config.Config, s config.Suite) error {
	published, err := suite.Load(s.Suite)
	if err != nil {
		return err
	}
	o := suite.Options{Limit: s.Source.Limit}
	if !s.Templates.IsZero() {
		if o.Templates, err = readTemplates(s.Templates); err != nil {
			return fmt.Errorf("templates: %w", err)
		}
	}
	opened, err := published.Open(s.Source.Path, o)
	if err != nil {
		return err
	}
	for _, m := range opened.Missing {
		slog.Warn("a test set is missing", "suite", s.Suite, "set", m.String())
	}
	added := 0
	for _, t := range opened.Tests {
		if t.Class == nil {
			slog.Warn("a run measures no retrieval; arf eval MODEL does", "suite", s.Suite, "set", t.Name())
			continue
		}
		if slices.ContainsFunc(d.suites, func(other eval.Suite) bool { return other.Name == t.Name() }) {
			return fmt.Errorf("its test set %s has the name of an earlier suite; measure one of them with arf eval MODEL", t.Name())
		}
		if err := d.addTest(ctx, *t.Class, t.Path); err != nil {
			return err
		}
		added++
	}
	if added == 0 {
		return fmt.Errorf("none of its test sets is below %s; arf eval --list says how they must lie", s.Source.Path)
	}
	return nil
}
