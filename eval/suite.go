package eval

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"arf/dataset"
)

// Class is a row of the zero-shot head.
type Class struct {
	Name string // as in the dataset
	// Prompt stands in the templates; "" is Name. Several classes may share it.
	Prompt string `json:",omitempty"`
	// Synonyms are further names whose prompts are averaged with Prompt's.
	Synonyms []string
	// Members are finer classes that compete for this one: its logit is the
	// greatest of theirs, as ObjectNet's classes are scored by a classifier of
	// ImageNet's (WiSE-FT, Wortsman et al. 2022). Prompt and Synonyms don't
	// count then.
	Members []Class `json:",omitempty"`
}

// prompts are the names that stand in the templates.
func (c *Class) prompts() []string {
	return append([]string{cmp.Or(c.Prompt, c.Name)}, c.Synonyms...)
}

// Values of Suite.Metric.
const (
	Acc1               = "acc1"
	MeanPerClassRecall = "mean_per_class_recall"
)

// Suite is one labelled test set and the classes that compete on it.
type Suite struct {
	Name      string // names the result's file
	Role      string // "id", "shift", "zero-shot" or "validation"; only passed on
	Data      dataset.Dataset
	Classes   []Class
	Templates []string // prompts that are averaged, "{}" standing for the class
	// ClassMask names the classes that compete, as for ImageNet-A and -R or
	// ObjectNet; images of other classes are left out. nil is all classes, and
	// then an image of another class is an error.
	ClassMask []string
	// Alias gives the name of a class for what the dataset calls it, where that
	// differs, as for ImageNetV2's numbered folders.
	Alias map[string]string
	// ByLabel matches images to Classes by their label rather than by class
	// name, where names occur twice in the data.
	ByLabel bool
	// Border is how many pixels are cut off each side of the images.
	Border int
	// Metric is the one that the suite's papers report: Acc1 (also "") or
	// MeanPerClassRecall.
	Metric string
}

// Classes makes classes without synonyms.
func Classes(names ...string) []Class {
	classes := make([]Class, len(names))
	for i, name := range names {
		classes[i].Name = name
	}
	return classes
}

// CheckTemplate reports a prompt that doesn't have {} once, where the class's name
// goes.
func CheckTemplate(t string) error {
	if n := strings.Count(t, "{}"); n != 1 {
		return fmt.Errorf("the prompt %q needs {} once, where the class name goes, as in \"a photo of a {}.\"; it has it %d times", t, n)
	}
	return nil
}

// Present lists the classes that have images in a dataset, in order of their
// first image: the class mask of a test set that covers only some classes. Images
// that can't be read don't count.
func Present(d dataset.Dataset) []string {
	var names []string
	seen := map[string]bool{}
	for i := range d.Len() {
		s, err := dataset.Describe(d, i)
		if err == nil && s.Class != "" && !seen[s.Class] {
			seen[s.Class] = true
			names = append(names, s.Class)
		}
	}
	return names
}

// competing checks the suite and gives the classes that compete.
func (s *Suite) competing() ([]Class, error) {
	if s.Data == nil || s.Data.Len() == 0 {
		return nil, errors.New("no images")
	}
	if len(s.Templates) == 0 {
		return nil, errors.New("no templates; give at least one, such as \"a photo of a {}.\"")
	}
	for _, t := range s.Templates {
		if err := CheckTemplate(t); err != nil {
			return nil, err
		}
	}
	known := map[string]bool{}
	for _, c := range s.Classes {
		for _, m := range append([]Class{c}, c.Members...) {
			for _, name := range append(m.prompts(), m.Name) {
				if strings.TrimSpace(name) == "" {
					return nil, fmt.Errorf("class %q: an empty name", c.Name)
				}
			}
		}
		for _, m := range c.Members {
			if len(m.Members) > 0 {
				return nil, fmt.Errorf("class %q: its member %q has members itself", c.Name, m.Name)
			}
		}
		if known[c.Name] {
			return nil, fmt.Errorf("class %q is listed twice", c.Name)
		}
		known[c.Name] = true
	}
	switch s.Metric {
	case "", Acc1, MeanPerClassRecall:
	default:
		return nil, fmt.Errorf("metric %q: must be %s or %s", s.Metric, Acc1, MeanPerClassRecall)
	}
	if s.ClassMask != nil {
		for _, name := range s.ClassMask {
			if !known[name] {
				return nil, fmt.Errorf("class mask: %q isn't among the %d classes", name, len(s.Classes))
			}
		}
	}
	var classes []Class
	mask := make(map[string]bool, len(s.ClassMask))
	for _, name := range s.ClassMask {
		mask[name] = true
	}
	for _, c := range s.Classes {
		if s.ClassMask == nil || mask[c.Name] {
			classes = append(classes, c)
		}
	}
	if len(classes) == 0 {
		return nil, errors.New("no classes")
	}
	return classes, nil
}

// same tells whether two datasets are one, so that one pass serves both.
func same(a, b dataset.Dataset) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).Comparable() && a == b
}
