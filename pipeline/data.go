package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"arf/config"
	"arf/dataset"
	"arf/eval"
	"arf/index"
	"arf/report"
)

// data is everything that a config names, opened.
type data struct {
	classes  []string
	finetune dataset.Dataset
	pool     dataset.Dataset // nil without one
	drift    dataset.Dataset // held-out pairs; nil without
	suites   []eval.Suite
	guarded  []guarded // images that must not be in the retrieved pairs

	source string            // of the icon corpus, for the report
	parts  []report.DataInfo // in the report's order
	hashes map[string]string // content, by the name in parts
}

// guarded is a set of images by its name in hashes.
type guarded struct {
	name string
	data dataset.Dataset
}

// openData opens what cfg names and takes the hash of its content.
func openData(ctx context.Context, cfg *config.Config) (*data, error) {
	d := &data{hashes: map[string]string{}}
	var err error
	if d.finetune, err = open(cfg.Data.Finetune); err != nil {
		return nil, fmt.Errorf("data.finetune: %w", err)
	}
	if d.classes = dataset.Classes(d.finetune); !cfg.Data.Classes.IsZero() {
		if d.classes, err = cfg.Data.Classes.Read(); err != nil {
			return nil, fmt.Errorf("data.classes: %w", err)
		}
	}
	if len(d.classes) == 0 {
		return nil, fmt.Errorf("data.finetune: %s has no class names; give them in data.classes", cfg.Data.Finetune.Path)
	}
	if err := d.add(ctx, "finetune", cfg.Data.Finetune.Path, d.finetune, len(d.classes)); err != nil {
		return nil, err
	}
	if cfg.Data.Validation.Path != "" {
		validation, err := open(cfg.Data.Validation)
		if err != nil {
			return nil, fmt.Errorf("data.validation: %w", err)
		}
		d.guarded = append(d.guarded, guarded{"validation", validation})
		if err := d.add(ctx, "validation", cfg.Data.Validation.Path, validation, len(dataset.Classes(validation))); err != nil {
			return nil, err
		}
	}
	if cfg.Data.Pool.Path != "" {
		if d.pool, err = open(cfg.Data.Pool); err != nil {
			return nil, fmt.Errorf("data.pool: %w", err)
		}
		if err := d.add(ctx, "pool", cfg.Data.Pool.Path, d.pool, 0); err != nil {
			return nil, err
		}
	}
	for i, s := range cfg.Eval.Suites {
		suite, err := openSuite(cfg, s, d.classes)
		if err != nil {
			return nil, fmt.Errorf("eval.suites[%d] (%s): %w", i, s.Name, err)
		}
		d.suites = append(d.suites, suite)
		d.guarded = append(d.guarded, guarded{s.Name, suite.Data})
		if err := d.add(ctx, s.Name, s.Source.Path, suite.Data, len(suite.Classes)); err != nil {
			return nil, err
		}
	}
	for i, s := range cfg.Anchors.Pairs.LeakGuard.Sources {
		name := fmt.Sprintf("guard-%d", i)
		more, err := open(s)
		if err != nil {
			return nil, fmt.Errorf("anchors.pairs.leak_guard.sources[%d]: %w", i, err)
		}
		d.guarded = append(d.guarded, guarded{name, more})
		if err := d.add(ctx, name, s.Path, more, 0); err != nil {
			return nil, err
		}
	}
	if cfg.Eval.Drift.Source.Path != "" && cfg.Eval.Drift.Samples > 0 {
		if d.drift, err = open(cfg.Eval.Drift.Source); err != nil {
			return nil, fmt.Errorf("eval.drift.source: %w", err)
		}
		if err := d.add(ctx, "drift", cfg.Eval.Drift.Source.Path, d.drift, 0); err != nil {
			return nil, err
		}
	}
	d.source = iconSource(cfg.Data.Finetune.Path)
	return d, nil
}

// add notes a part's size and content.
func (d *data) add(ctx context.Context, name, path string, set dataset.Dataset, classes int) error {
	sum, err := index.Fingerprint(ctx, set)
	if err != nil {
		return fmt.Errorf("%s (%s): %w", name, path, err)
	}
	d.hashes[name] = sum
	d.parts = append(d.parts, report.DataInfo{Role: name, Path: path, Images: set.Len(), Classes: classes, SHA256: sum})
	return nil
}

func open(s config.Source) (dataset.Dataset, error) {
	d, err := dataset.Open(dataset.Source{
		Type: string(s.Type), Path: s.Path, ImageColumn: s.ImageColumn, TextColumn: s.TextColumn,
		ClassColumn: s.ClassColumn, LabelColumn: s.LabelColumn, Separator: s.Separator, Root: s.Root,
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
	if suite.Data, err = open(s.Source); err != nil {
		return suite, err
	}
	names := finetune
	switch {
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
			suite.Templates, err = list.Read()
			break
		}
	}
	return suite, err
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
