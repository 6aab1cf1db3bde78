package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"arf/config"
	"arf/dataset"
	"arf/eval"
	"arf/index"
	"arf/remote"
	"arf/report"
	"arf/suite"
)

// data is everything that a config names, opened.
type data struct {
	classes   []eval.Class // by label
	templates []string     // train.templates, read
	second    []string     // train.second_prompts, read; the templates where there are none
	asked     []string     // eval.templates, read; the templates where there are none
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
		lines, err := cfg.Data.Classes.Read()
		if err != nil {
			return nil, fmt.Errorf("data.classes: %w", err)
		}
		d.classes = suite.ParseClasses(lines)
	}
	if d.templates, err = readTemplates(cfg.Train.Templates); err != nil {
		return nil, fmt.Errorf("train.templates: %w", err)
	}
	if d.second = d.templates; !cfg.Train.SecondPrompts.IsZero() {
		if d.second, err = readTemplates(cfg.Train.SecondPrompts); err != nil {
			return nil, fmt.Errorf("train.second_prompts: %w", err)
		}
	}
	if d.asked = d.templates; !cfg.Eval.Templates.IsZero() {
		if d.asked, err = readTemplates(cfg.Eval.Templates); err != nil {
			return nil, fmt.Errorf("eval.templates: %w", err)
		}
	}
	if d.finetune, err = open(ctx, cfg.Data.Finetune, names(d.classes)); err != nil {
		return nil, fmt.Errorf("data.finetune: %w", err)
	}
	if d.classes == nil {
		d.classes = suite.Spoken(dataset.Classes(d.finetune))
	}
	if len(d.classes) == 0 {
		return nil, fmt.Errorf("data.finetune: %s has no classes; put the images of each class in a folder named after the class, or give the names in data.classes where there are labels", remote.RedactedText(cfg.Data.Finetune.Path))
	}
	if len(d.classes) == 1 {
		return nil, fmt.Errorf("data.finetune: %s has one class, %q; there is nothing to tell it from, so give two or more", remote.RedactedText(cfg.Data.Finetune.Path), d.classes[0].Name)
	}
	if slices.ContainsFunc(d.classes, func(c eval.Class) bool { return c.Prompt != "" }) {
		d.finetune = dataset.Named(d.finetune, prompts(d.classes)) // for anchors and prompts
	}
	if err := checkKeys(d.finetune); err != nil {
		return nil, fmt.Errorf("data.finetune: %w", err)
	}
	if err := d.add(ctx, "finetune", "finetune", cfg.Data.Finetune.Path, d.finetune, len(d.classes)); err != nil {
		return nil, err
	}
	if cfg.Data.Validation.Path != "" {
		// Measured like a suite, so that choices need no test set.
		validation := config.Suite{Name: config.SuiteValidation, Role: config.RoleValidation, Source: cfg.Data.Validation}
		if err := d.addSuite(ctx, cfg, validation); err != nil {
			return nil, fmt.Errorf("data.validation: %w", err)
		}
	}
	if cfg.Data.Pool.Path != "" {
		if d.pool, err = openPairs(ctx, cfg.Data.Pool); err != nil {
			return nil, fmt.Errorf("data.pool: %w", err)
		}
		if cfg.NeedsPool() {
			if err := checkTexts(ctx, cfg.Data.Pool, d.pool); err != nil {
				return nil, fmt.Errorf("data.pool: %w", err)
			}
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
		more, err := open(ctx, s, nil)
		if err != nil {
			return nil, fmt.Errorf("anchors.pairs.leak_guard.sources[%d]: %w", i, err)
		}
		d.guarded = append(d.guarded, guarded{key, more})
		if err := d.add(ctx, key, fmt.Sprintf("guard %d", i), s.Path, more, 0); err != nil {
			return nil, err
		}
	}
	if cfg.Eval.Drift.Source.Path != "" && cfg.Eval.Drift.Samples > 0 {
		if d.drift, err = openPairs(ctx, cfg.Eval.Drift.Source); err != nil {
			return nil, fmt.Errorf("eval.drift.source: %w", err)
		}
		if err := d.add(ctx, "drift", "drift", cfg.Eval.Drift.Source.Path, d.drift, 0); err != nil {
			return nil, err
		}
	}
	d.warnShared()
	d.source = iconSource(cfg.Data.Finetune.Path)
	return d, nil
}

// addSuite opens a test set and guards it.
func (d *data) addSuite(ctx context.Context, cfg *config.Config, s config.Suite) error {
	test, err := openSuite(ctx, cfg, s, d.classes)
	if err != nil {
		return err
	}
	warnMissing(test)
	return d.addTest(ctx, test, s.Source.Path)
}

func (d *data) addTest(ctx context.Context, s eval.Suite, path string) error {
	key := "suite/" + s.Name
	d.suites = append(d.suites, s)
	d.guarded = append(d.guarded, guarded{key, s.Data})
	return d.add(ctx, key, s.Name, path, s.Data, len(s.Classes))
}

// warnMissing says which classes a test set has no images of: accuracies over
// different classes don't compare.
func warnMissing(test eval.Suite) {
	present := eval.Present(test.Data)
	var missing []string
	for _, c := range test.Classes {
		if !slices.Contains(present, c.Name) && (test.ClassMask == nil || slices.Contains(test.ClassMask, c.Name)) {
			missing = append(missing, c.Name)
		}
	}
	if len(missing) > 0 {
		slog.Warn(fmt.Sprintf("suite %s has no images of %d of its %d classes", test.Name, len(missing), len(test.Classes)), "such as", missing[0])
	}
}

// warnShared tells what makes a measurement less than its name says: classes of
// a zero-shot suite that were trained on, and drift on the pool itself.
func (d *data) warnShared() {
	trained := map[string]bool{}
	for _, c := range prompts(d.classes) {
		trained[strings.ToLower(c)] = true
	}
	for _, s := range d.suites {
		if s.Role != string(config.RoleZeroShot) {
			continue
		}
		var shared []string
		total := 0
		for _, c := range s.Classes {
			if s.ClassMask != nil && !slices.Contains(s.ClassMask, c.Name) {
				continue
			}
			total++
			if name := cmp.Or(c.Prompt, c.Name); trained[strings.ToLower(name)] {
				shared = append(shared, name)
			}
		}
		if len(shared) > 0 {
			slog.Warn(fmt.Sprintf("suite %s has the role zero-shot, but %d of its %d classes are trained on; give it the role id or shift, or leave them out with class_mask", s.Name, len(shared), total), "such as", shared[0])
		}
	}
	if d.drift != nil && d.pool != nil && d.hashes["drift"] == d.hashes["pool"] {
		slog.Warn("eval.drift.source and data.pool hold the same pairs, so drift is measured on pairs that may be trained on; give others")
	}
}

// checkTexts refuses a pool without texts before anything of it is encoded.
func checkTexts(ctx context.Context, s config.Source, pool dataset.Dataset) error {
	if dataset.HasTexts(pool) {
		return nil
	}
	const mend = "pairs are images with texts"
	path := remote.RedactedText(s.Path)
	if s.TextColumn != "" {
		return fmt.Errorf("%s has no text in the column %q; %s", path, s.TextColumn, mend)
	}
	if slices.ContainsFunc(strings.Split(s.Path, "::"), dataset.TextsBeside) {
		return fmt.Errorf("%s has no texts as it is read; %s: .txt files lie beside its images, which type: images reads", path, mend)
	}
	// No usual name is among a table's columns; asking for one names them all.
	// Other formats have no columns and open.
	s.TextColumn = "caption"
	if _, err := openPairs(ctx, s); err != nil {
		return fmt.Errorf("%s has no texts; %s: give their column in text_column (%w)", path, mend, err)
	}
	return fmt.Errorf("%s has no texts; %s: use a table with a column of texts, or tars or folders (type: images) with a .txt file beside each image", path, mend)
}

// add notes a part's size and content; name is the report's.
func (d *data) add(ctx context.Context, key, name, path string, set dataset.Dataset, classes int) error {
	path = remote.RedactedText(path)
	sum, err := contentHash(ctx, set)
	if err != nil {
		return fmt.Errorf("%s (%s): %w", name, path, err)
	}
	d.hashes[key] = sum
	d.parts = append(d.parts, report.DataInfo{Role: name, Path: path, Images: set.Len(), Classes: classes, SHA256: sum})
	return nil
}

// contentHash identifies what is in a dataset. Of ready-made features it is
// theirs, of tars on servers what these say of them: reading all images would
// cost what they save.
func contentHash(ctx context.Context, set dataset.Dataset) (string, error) {
	dir := dataset.EmbeddingsOf(set)
	if version := dataset.RemoteVersion(set); version != "" {
		return hash("remote", version), nil
	}
	if dir == "" {
		return index.Fingerprint(ctx, set)
	}
	store, err := index.Open(dir)
	if err != nil {
		return "", err
	}
	return store.Hash(ctx)
}

// checkKeys refuses different images of one key, whose captions and pairs would
// be mixed up.
func checkKeys(d dataset.Dataset) error {
	first := map[string]int{}
	for i := range d.Len() {
		s, err := dataset.Describe(d, i)
		if err != nil {
			continue // named when it's read
		}
		old, ok := first[s.Key]
		if !ok {
			first[s.Key] = i
			continue
		}
		a, errA := d.Sample(old)
		b, errB := d.Sample(i)
		if errA == nil && errB == nil && !bytes.Equal(a.Image, b.Image) {
			return fmt.Errorf("two images have the key %q, by which anchors are kept; give them different names", s.Key)
		}
	}
	return nil
}

// open opens a source; classes, if any, are its class names by label.
func open(ctx context.Context, s config.Source, classes []string) (dataset.Dataset, error) {
	return openBy(ctx, dataset.OpenContext, s, classes)
}

// openPairs opens a source of which the texts are wanted.
func openPairs(ctx context.Context, s config.Source) (dataset.Dataset, error) {
	return openBy(ctx, dataset.OpenPairs, s, nil)
}

// opener is dataset.OpenContext or dataset.OpenPairs.
type opener func(context.Context, dataset.Source) (dataset.Dataset, error)

func openBy(ctx context.Context, how opener, s config.Source, classes []string) (dataset.Dataset, error) {
	d, err := how(ctx, dataset.Source{
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

// names are the classes' names in the data.
func names(classes []eval.Class) []string {
	var out []string
	for _, c := range classes {
		out = append(out, c.Name)
	}
	return out
}

// prompts are the classes' names in prompts.
func prompts(classes []eval.Class) []string {
	var out []string
	for _, c := range classes {
		out = append(out, cmp.Or(c.Prompt, c.Name))
	}
	return out
}

func openSuite(ctx context.Context, cfg *config.Config, s config.Suite, finetune []eval.Class) (eval.Suite, error) {
	test := eval.Suite{Name: s.Name, Role: string(s.Role)}
	var err error
	var known []string
	if s.Source.LabelColumn != "" {
		known = names(finetune) // labels are numbers of these
	}
	how := dataset.OpenContext
	if s.Classes.Ref == config.ClassesTexts {
		how = dataset.OpenPairs
	}
	if test.Data, err = openBy(ctx, how, s.Source, known); err != nil {
		return test, err
	}
	test.Classes = finetune
	switch {
	case s.Classes.Ref == config.ClassesTexts:
		test.Data = dataset.TextsAsClasses(test.Data)
		if test.Classes = eval.Classes(dataset.Classes(test.Data)...); len(test.Classes) == 0 {
			return test, fmt.Errorf("%s has no texts", s.Source.Path)
		}
	case s.Classes.Ref == config.ClassesFolder, s.Classes.IsZero() && s.Role == config.RoleZeroShot:
		if test.Classes = suite.Spoken(dataset.Classes(test.Data)); len(test.Classes) == 0 {
			return test, fmt.Errorf("%s has no class names of its own; give them in classes (classes: texts if each text is a class; retrieval of captions is measured by arf eval MODEL --data)", s.Source.Path)
		}
	case s.Classes.Ref == config.ClassesFinetune, s.Classes.IsZero():
		if len(dataset.Classes(test.Data)) == 0 { // labels, if any, are numbers of these
			if test.Data, err = open(ctx, s.Source, names(finetune)); err != nil {
				return test, err
			}
		}
	default:
		lines, err := s.Classes.Read()
		if err != nil {
			return test, fmt.Errorf("classes: %w", err)
		}
		test.Classes = suite.ParseClasses(lines)
	}
	switch {
	case s.ClassMask.Ref == config.MaskPresent:
		test.ClassMask = eval.Present(test.Data)
	case !s.ClassMask.IsZero():
		test.ClassMask, err = s.ClassMask.Read()
	}
	if err != nil {
		return test, fmt.Errorf("class_mask: %w", err)
	}
	for _, list := range []config.List{s.Templates, cfg.Eval.Templates, cfg.Train.Templates} {
		if !list.IsZero() {
			if test.Templates, err = readTemplates(list); err != nil {
				return test, fmt.Errorf("templates: %w", err)
			}
			break
		}
	}
	return test, nil
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
