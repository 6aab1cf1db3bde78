package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"arf/config"
	"arf/dataset"
	"arf/eval"
	"arf/index"
	"arf/report"
)

// data is everything that a config names, opened.
type data struct {
	classes   []string
	templates []string // train.templates, read
	finetune  dataset.Dataset
	pool      dataset.Dataset // nil without one
	drift     dataset.Dataset // held-out pairs; nil without
	suites    []eval.Suite
	guarded   []guarded // images that must not be in the retrieved pairs

	source string            // of the icon corpus, for the report
	parts  []report.DataInfo // in the report's order
	hashes map[string]string // content, by key: "finetune", "pool", "suite/<name>" …
}

// guarded is a set of images and its key in hashes.
type guarded struct {
	key  string
	data dataset.Dataset
}

// openData opens what cfg names and takes the hash of its content.
func openData(ctx context.Context, cfg *config.Config) (*data, error) {
	d := &data{hashes: map[string]string{}}
	var err error
	if !cfg.Data.Classes.IsZero() {
		if d.classes, err = cfg.Data.Classes.Read(); err != nil {
			return nil, fmt.Errorf("data.classes: %w", err)
		}
	}
	if d.templates, err = readTemplates(cfg.Train.Templates); err != nil {
		return nil, fmt.Errorf("train.templates: %w", err)
	}
	if d.finetune, err = open(cfg.Data.Finetune, d.classes); err != nil {
		return nil, fmt.Errorf("data.finetune: %w", err)
	}
	if d.classes == nil {
		d.classes = dataset.Classes(d.finetune)
	}
	if len(d.classes) == 0 {
		return nil, fmt.Errorf("data.finetune: %s has no classes; put the images of each class in a folder named after the class, or give the names in data.classes where there are labels", cfg.Data.Finetune.Path)
	}
	if err := d.add(ctx, "finetune", "finetune", cfg.Data.Finetune.Path, d.finetune, len(d.classes)); err != nil {
		return nil, err
	}
	if cfg.Data.Validation.Path != "" {
		// Measured like a suite, so that choices need no test set.
		suite := config.Suite{Name: config.SuiteValidation, Role: config.RoleValidation, Source: cfg.Data.Validation}
		if err := d.addSuite(ctx, cfg, suite); err != nil {
			return nil, fmt.Errorf("data.validation: %w", err)
		}
	}
	if cfg.Data.Pool.Path != "" {
		if d.pool, err = open(cfg.Data.Pool, nil); err != nil {
			return nil, fmt.Errorf("data.pool: %w", err)
		}
		if err := d.add(ctx, "pool", "pool", cfg.Data.Pool.Path, d.pool, 0); err != nil {
			return nil, err
		}
	}
	for i, s := range cfg.Eval.Suites {
		add := d.addSuite
		if s.Suite != "" {
			add = d.addPublished
		}
		if err := add(ctx, cfg, s); err != nil {
			return nil, fmt.Errorf("eval.suites[%d] (%s): %w", i, s.Name+s.Suite, err)
		}
	}
	for i, s := range cfg.Anchors.Pairs.LeakGuard.Sources {
		key := fmt.Sprintf("guard/%d", i)
		more, err := open(s, nil)
		if err != nil {
			return nil, fmt.Errorf("anchors.pairs.leak_guard.sources[%d]: %w", i, err)
		}
		d.guarded = append(d.guarded, guarded{key, more})
		if err := d.add(ctx, key, fmt.Sprintf("guard %d", i), s.Path, more, 0); err != nil {
			return nil, err
		}
	}
	if cfg.Eval.Drift.Source.Path != "" && cfg.Eval.Drift.Samples > 0 {
		if d.drift, err = open(cfg.Eval.Drift.Source, nil); err != nil {
			return nil, fmt.Errorf("eval.drift.source: %w", err)
		}
		if err := d.add(ctx, "drift", "drift", cfg.Eval.Drift.Source.Path, d.drift, 0); err != nil {
			return nil, err
		}
	}
	d.source = iconSource(cfg.Data.Finetune.Path)
	return d, nil
}

// addSuite opens a test set and guards it.
func (d *data) addSuite(ctx context.Context, cfg *config.Config, s config.Suite) error {
	suite, err := openSuite(cfg, s, d.classes)
	if err != nil {
		return err
	}
	if err := warnMissing(suite); err != nil {
		return err
	}
	return d.addTest(ctx, suite, s.Source.Path)
}

func (d *data) addTest(ctx context.Context, s eval.Suite, path string) error {
	key := "suite/" + s.Name
	d.suites = append(d.suites, s)
	d.guarded = append(d.guarded, guarded{key, s.Data})
	return d.add(ctx, key, s.Name, path, s.Data, len(s.Classes))
}

// warnMissing says which classes a test set has no images of: accuracies over
// different classes don't compare.
func warnMissing(suite eval.Suite) error {
	present, err := eval.Present(suite.Data)
	if err != nil {
		return err
	}
	var missing []string
	for _, c := range suite.Classes {
		if !slices.Contains(present, c.Name) && (suite.ClassMask == nil || slices.Contains(suite.ClassMask, c.Name)) {
			missing = append(missing, c.Name)
		}
	}
	if len(missing) > 0 {
		slog.Warn(fmt.Sprintf("suite %s has no images of %d of its %d classes", suite.Name, len(missing), len(suite.Classes)), "such as", missing[0])
	}
	return nil
}

// add notes a part's size and content; name is the report's.
func (d *data) add(ctx context.Context, key, name, path string, set dataset.Dataset, classes int) error {
	sum, err := index.Fingerprint(ctx, set)
	if err != nil {
		return fmt.Errorf("%s (%s): %w", name, path, err)
	}
	d.hashes[key] = sum
	d.parts = append(d.parts, report.DataInfo{Role: name, Path: path, Images: set.Len(), Classes: classes, SHA256: sum})
	return nil
}

// open opens a source; classes, if any, are its class names by label.
func open(s config.Source, classes []string) (dataset.Dataset, error) {
	d, err := dataset.Open(dataset.Source{
		Classes: classes, AllowMissing: s.AllowMissingClasses, Type: string(s.Type), Path: s.Path, Weights: s.Weights,
		Split: s.Split, Half: string(s.Half), Shots: s.Shots, ShotsSeed: s.ShotsSeed,
		ImageColumn: s.ImageColumn, TextColumn: s.TextColumn, ClassColumn: s.ClassColumn, LabelColumn: s.LabelColumn,
		Separator: s.Separator, Root: s.Root,
	})
	if err != nil {
		return nil, err
	}
	if s.Limit > 0 {
		d = dataset.Limit(d, s.Limit)
	}
	return d, nil
}

func openSuite(cfg *config.Config, s config.Suite, finetune []string) (eval.Suite, error) {
	suite := eval.Suite{Name: s.Name, Role: string(s.Role)}
	var err error
	var known []string
	if s.Source.LabelColumn != "" {
		known = finetune // labels are numbers of these
	}
	if suite.Data, err = open(s.Source, known); err != nil {
		return suite, err
	}
	names := finetune
	switch {
	case s.Classes.Ref == config.ClassesTexts:
		suite.Data = dataset.TextsAsClasses(suite.Data)
		if names = dataset.Classes(suite.Data); len(names) == 0 {
			return suite, fmt.Errorf("%s has no texts", s.Source.Path)
		}
	case s.Classes.Ref == config.ClassesFolder, s.Classes.IsZero() && s.Role == config.RoleZeroShot:
		if names = dataset.Classes(suite.Data); len(names) == 0 {
			return suite, fmt.Errorf("%s has no class names of its own; give them in classes", s.Source.Path)
		}
	case s.Classes.Ref == config.ClassesFinetune, s.Classes.IsZero():
	default:
		if names, err = s.Classes.Read(); err != nil {
			return suite, fmt.Errorf("classes: %w", err)
		}
	}
	suite.Classes = eval.Classes(names...)
	switch {
	case s.ClassMask.Ref == config.MaskPresent:
		suite.ClassMask, err = eval.Present(suite.Data)
	case !s.ClassMask.IsZero():
		suite.ClassMask, err = s.ClassMask.Read()
	}
	if err != nil {
		return suite, fmt.Errorf("class_mask: %w", err)
	}
	for _, list := range []config.List{s.Templates, cfg.Eval.Templates, cfg.Train.Templates} {
		if !list.IsZero() {
			if suite.Templates, err = readTemplates(list); err != nil {
				return suite, fmt.Errorf("templates: %w", err)
			}
			break
		}
	}
	return suite, nil
}

// readTemplates reads prompts and checks those that come from a file.
func readTemplates(l config.List) ([]string, error) {
	templates, err := l.Read()
	if err != nil {
		return nil, err
	}
	for _, t := range templates {
		if err := config.CheckTemplate(t); err != nil {
			return nil, err
		}
	}
	return templates, nil
}

// iconSource names the package that the icon corpus was drawn from, where the
// finetune set lies in one.
func iconSource(finetune string) string {
	data, err := os.ReadFile(filepath.Join(filepath.Dir(finetune), "manifest.json"))
	if err != nil {
		return ""
	}
	var manifest struct{ Package, Version string }
	if json.Unmarshal(data, &manifest) != nil || manifest.Package == "" {
		return ""
	}
	return manifest.Package + " " + manifest.Version
}
