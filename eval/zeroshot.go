package eval

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// ZeroShot is what a finetuned model was trained to tell apart and how its
// evaluation asked for it. It lies beside the model, so that measuring it
// elsewhere gives the same numbers.
type ZeroShot struct {
	Templates []string        `json:"templates"` // that are averaged, "{}" standing for the class
	Classes   []ZeroShotClass `json:"classes"`   // by label
	// Precision is the towers': bf16, fp32, "" where it isn't known.
	Precision string `json:"precision,omitempty"`
}

// ZeroShotClass is a class's name in the data and, where it is another one, in
// prompts.
type ZeroShotClass struct {
	Name   string `json:"name"`
	Prompt string `json:"prompt,omitempty"`
}

// ZeroShotFile is its name in a model's folder.
const ZeroShotFile = "zeroshot.json"

// NewZeroShot keeps names and prompts of classes, which have no synonyms and members.
func NewZeroShot(templates []string, classes []Class) *ZeroShot {
	z := &ZeroShot{Templates: templates}
	for _, c := range classes {
		z.Classes = append(z.Classes, ZeroShotClass{c.Name, c.Prompt})
	}
	return z
}

// Save writes it into a model's folder.
func (z *ZeroShot) Save(dir string) error { return save(filepath.Join(dir, ZeroShotFile), z) }

// CopyZeroShot takes it along from one model's folder to another's, if there is one.
func CopyZeroShot(from, to string) error {
	z, err := LoadZeroShot(from)
	if err != nil || z == nil {
		return err
	}
	return z.Save(to)
}

// maxZeroShot bounds the file; ImageNet-21k's classes take 1 MB.
const maxZeroShot = 64 << 20

// LoadZeroShot reads what lies in a model's folder; nil where nothing does.
func LoadZeroShot(dir string) (*ZeroShot, error) {
	path := filepath.Join(dir, ZeroShotFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
		return nil, nil
	}
	fail := func(err error) (*ZeroShot, error) {
		return nil, fmt.Errorf("%s: %w; mend or remove it, then --templates, --classes and --precision say what to measure with", path, err)
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxZeroShot {
		return fail(fmt.Errorf("has more than %d MB", maxZeroShot>>20))
	}
	z := &ZeroShot{}
	if err := load(path, z); err != nil {
		return fail(err)
	}
	if len(z.Templates) == 0 {
		return fail(errors.New("templates: is empty"))
	}
	for _, t := range z.Templates {
		if err := CheckTemplate(t); err != nil {
			return fail(fmt.Errorf("templates: %w", err))
		}
	}
	if !slices.Contains([]string{"", "bf16", "fp32"}, z.Precision) {
		return fail(fmt.Errorf("precision: %q, must be bf16 or fp32", z.Precision))
	}
	for i, c := range z.Classes {
		if c.Name == "" {
			return fail(fmt.Errorf("classes[%d].name: is empty", i))
		}
	}
	return z, nil
}

// Covering gives the classes where all names are among them; nil where not, and
// where a name stands for several.
func (z *ZeroShot) Covering(names []string) []Class {
	var classes []Class
	known := map[string]bool{}
	for _, c := range z.Classes {
		if known[c.Name] {
			return nil
		}
		classes = append(classes, Class{Name: c.Name, Prompt: c.Prompt})
		known[c.Name] = true
	}
	if slices.ContainsFunc(names, func(name string) bool { return !known[name] }) {
		return nil
	}
	return classes
}
