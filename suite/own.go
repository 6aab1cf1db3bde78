package suite

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"arf/config"
	"arf/dataset"
	"arf/eval"
	"arf/remote"
)

// Own is a test set of the user's.
type Own struct {
	Name   string // "" is the path's last part
	Source dataset.Source
	// Classes compete; nil are the data's own.
	Classes   []eval.Class
	Templates []string // nil are Like's, the data's, else "a photo of a {}."
	// Like is what the model was finetuned with; may be nil. Its classes compete
	// where Classes is nil and the data have none besides.
	Like   *eval.ZeroShot
	Metric string // "" is eval.Acc1
	// Task is "classification" or "retrieval"; "" tells it from the data:
	// classification where images have classes, else retrieval.
	Task  string
	Limit int // images, spread evenly; 0 is all
}

// Open opens the test set.
func (o Own) Open() (Test, error) {
	name := o.Name
	if name == "" {
		name = nameOf(o.Source.Path)
	}
	title := remote.RedactedText(o.Source.Path)
	set := &Set{Name: name, Title: title, Metric: o.Metric, Templates: o.Templates}
	if set.Metric == "" {
		set.Metric = eval.Acc1
	}
	t := Test{Set: set, Path: o.Source.Path}
	fail := func(err error) (Test, error) { return t, fmt.Errorf("test set %s: %w", title, err) }
	openSource := dataset.OpenContext
	if o.Task == "retrieval" {
		openSource = dataset.OpenPairs
	}
	d, err := openSource(context.Background(), o.Source)
	if err == nil && len(dataset.Classes(d)) == 0 && len(o.Classes) > 0 {
		// Labels, if it has any, are numbers of the classes that were given.
		source := o.Source
		for _, c := range o.Classes {
			source.Classes = append(source.Classes, c.Name)
		}
		source.AllowMissing = true
		d, err = dataset.Open(source)
	}
	if err != nil {
		return fail(err)
	}
	task := o.Task
	if task == "" {
		if task, err = guessTask(d); err != nil {
			return fail(err)
		}
	}
	switch task {
	case "retrieval":
		if len(o.Classes) > 0 || len(o.Templates) > 0 {
			return fail(errors.New("retrieval has no classes and templates; leave them out, or say --task classification"))
		}
		t.Captions = &eval.Captions{Data: d, ByKey: oneLineACaption(o.Source)}
	case "classification":
		if t.Class, err = o.classification(d); err != nil {
			return fail(err)
		}
	default:
		return fail(fmt.Errorf("task %q: must be classification or retrieval", task))
	}
	t.finish(Options{Limit: o.Limit})
	return t, nil
}

// nameOf is a path's last part without a pattern.
func nameOf(source string) string {
	first, _, _ := strings.Cut(source, "::")
	path := filepath.Clean(first)
	for strings.ContainsAny(filepath.Base(path), "*?[{") {
		path = filepath.Dir(path)
	}
	if abs, err := filepath.Abs(path); err == nil {
		path = abs // "." has a name, too
	}
	name := filepath.Base(path)
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		name = strings.TrimSuffix(name, filepath.Ext(name))
	}
	return name
}

func (o Own) classification(d dataset.Dataset) (*eval.Suite, error) {
	suite := &eval.Suite{Data: d, Classes: o.Classes, Templates: o.Templates}
	names := dataset.Classes(d)
	if suite.Classes == nil {
		if len(names) == 0 {
			names = present(d)
		}
		if len(names) == 0 {
			return nil, errors.New("its images have no classes; give their names with --classes, or measure retrieval with --task retrieval")
		}
		if o.Like != nil {
			suite.Classes = o.Like.Covering(names)
		}
	}
	if suite.Classes == nil {
		if suite.Classes = Spoken(names); len(slices.Compact(slices.Sorted(slices.Values(names)))) < len(names) {
			suite.Classes, suite.ByLabel = byLabel(names), true
		}
	}
	if suite.Templates == nil && o.Like != nil {
		suite.Templates = o.Like.Templates
	}
	if suite.Templates == nil {
		if suite.Templates = dataset.Templates(d); suite.Templates == nil {
			suite.Templates = []string{"a photo of a {}."}
		}
	}
	return suite, nil
}

// present lists the classes that have images, sorted; images that can't be read
// are counted later.
func present(d dataset.Dataset) []string {
	seen := map[string]bool{}
	for i := range d.Len() {
		if s, err := dataset.Describe(d, i); err == nil && s.Class != "" {
			seen[s.Class] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// guessTask looks at the first samples that can be read.
func guessTask(d dataset.Dataset) (string, error) {
	captions, labels := false, false
	var first error
	for i := range min(d.Len(), 100) {
		s, err := dataset.Describe(d, i)
		switch {
		case err != nil && first == nil:
			first = err
		case err == nil && s.Class != "":
			return "classification", nil
		case err == nil && s.Text != "":
			captions = true
		case err == nil && s.Label >= 0:
			labels = true
		}
	}
	switch {
	case captions:
		return "retrieval", nil
	case labels:
		return "", errors.New("its images have labels, but no names of the classes; give the names in the labels' order with --classes")
	case first != nil:
		return "", first
	}
	const none = "its images have neither classes nor captions; "
	if columns := dataset.Columns(d); len(columns) > 0 {
		return "", fmt.Errorf(none+"its columns are %q: name the one that has them with --class-column, --label-column or --text-column", columns)
	}
	return "", errors.New(none + "put the images of each class in a folder named after the class, or list them in a CSV with a column class or text")
}

// oneLineACaption tells a table, where an image with several captions has
// several lines.
func oneLineACaption(s dataset.Source) bool {
	ext := strings.ToLower(filepath.Ext(s.Path))
	return s.Type == dataset.CSV || s.Type == "" && (ext == ".csv" || ext == ".tsv")
}

// ReadClasses reads classes from a list "cat,dog" or a file with one a line; see
// ParseClasses.
func ReadClasses(spec string) ([]eval.Class, error) {
	names, err := listOrFile(spec)
	if err != nil {
		return nil, fmt.Errorf("classes: %w", err)
	}
	return ParseClasses(names), nil
}

// ReadTemplates reads prompts: a name (see Templates), one prompt with {}, or a
// file with one a line. clip_benchmark's {c} is taken for {}.
func ReadTemplates(spec string) ([]string, error) {
	if _, ok := templateFiles[spec]; ok {
		return Templates(spec)
	}
	prompts := []string{spec}
	if !strings.Contains(spec, "{}") && !strings.Contains(spec, "{c}") {
		if _, err := os.Stat(spec); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("templates: %q has no {}, where the class name goes, and is no file; give a prompt such as \"a photo of a {}.\", a file with one a line, imagenet-80 or imagenet-7", spec)
		}
		var err error
		if prompts, err = (config.List{Ref: spec}).Read(); err != nil {
			return nil, fmt.Errorf("templates: %w", err)
		}
	}
	for i, p := range prompts {
		prompts[i] = strings.ReplaceAll(p, "{c}", "{}")
		if err := eval.CheckTemplate(prompts[i]); err != nil {
			return nil, fmt.Errorf("templates: %w", err)
		}
	}
	return prompts, nil
}

// listOrFile splits a list at commas, or reads a file's lines.
func listOrFile(spec string) ([]string, error) {
	if info, err := os.Stat(spec); err == nil && info.Mode().IsRegular() {
		return config.List{Ref: spec}.Read()
	}
	if !strings.Contains(spec, ",") {
		return nil, fmt.Errorf("%q is neither a file nor a list such as \"cat,dog\"", spec)
	}
	var out []string
	for item := range strings.SplitSeq(spec, ",") {
		if item = strings.TrimSpace(item); item != "" {
			out = append(out, item)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%q holds no item", spec)
	}
	return out, nil
}
