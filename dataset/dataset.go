// Package dataset reads image–text samples from folders, tables and tars, and
// feeds them to training as decoded batches.
//
// A [Dataset] gives samples by number, so that a shuffle is over all of it and
// reproducible, and a run can go on at any step. [Open] makes one from a
// [Source]; [NewLoader] decodes, augments and batches in parallel:
//
//	data, err := dataset.Open(dataset.Source{Path: "pool/{00000..00009}.tar"})
//	…
//	loader, err := dataset.NewLoader(data, dataset.Options{
//		BatchSize: 256, Shuffle: true, Preprocess: imaging.CLIP(224),
//	})
//	…
//	for batch, err := range loader.Batches(ctx) {
package dataset

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Sample is one image with what is known about it.
type Sample struct {
	// Key names the sample within its dataset: the path in an image folder or
	// table, the key in a webdataset.
	Key   string
	Image []byte // encoded
	Text  string // "" if there is none
	// Texts are alternative wordings; Texts[0] is Text. Empty without a text.
	Texts []string
	Label int // −1 if there is none
	Class string
	Meta  map[string]string // licence, set, url …
}

// Dataset is a fixed list of samples. It's safe for concurrent use.
type Dataset interface {
	Len() int
	// Sample reads sample i, 0 ≤ i < Len. Its errors name the sample.
	Sample(i int) (Sample, error)
}

// Values of [Source.Type].
const (
	ImageFolder = "image-folder"
	CSV         = "csv"
	WebDataset  = "webdataset"
)

// Source says where samples are. Only Path is needed.
type Source struct {
	// Type is "image-folder", "csv" or "webdataset"; "" guesses from Path.
	Type string `yaml:"type,omitempty" json:"type,omitempty"`
	// Path is a folder with a folder of images for each class; a CSV or TSV
	// file with a header; or tars: one, a folder of them, a glob, or a range as
	// in "pool/{00000..00009}.tar".
	Path string `yaml:"path" json:"path"`

	// Classes fixes the classes and their order (their labels). Otherwise they
	// are what is found, sorted: as numbers if all are integers.
	Classes []string `yaml:"classes,omitempty" json:"classes,omitempty"`
	// AllowMissing accepts that some of Classes have no images.
	AllowMissing bool `yaml:"allow_missing_classes,omitempty" json:"allow_missing_classes,omitempty"`

	// Columns of a table; "" takes the usual names (see [CSV] files).
	ImageColumn string `yaml:"image_column,omitempty" json:"image_column,omitempty"`
	TextColumn  string `yaml:"text_column,omitempty" json:"text_column,omitempty"`
	ClassColumn string `yaml:"class_column,omitempty" json:"class_column,omitempty"`
	LabelColumn string `yaml:"label_column,omitempty" json:"label_column,omitempty"`
	// Separator between columns; "" is a tab for .tsv, else a comma. "tab" and
	// "\t" are a tab.
	Separator string `yaml:"separator,omitempty" json:"separator,omitempty"`
	// Root is where a table's relative image paths start; "" is its folder.
	Root string `yaml:"root,omitempty" json:"root,omitempty"`

	// RequireText makes a sample without text broken.
	RequireText bool `yaml:"require_text,omitempty" json:"require_text,omitempty"`
}

// Open reads the list of samples; images are read later, one by one.
func Open(source Source) (Dataset, error) {
	kind := source.Type
	if kind == "" {
		kind = guess(source.Path)
	}
	var d Dataset
	var err error
	switch {
	case source.Path == "":
		err = errors.New("no path")
	case kind == ImageFolder:
		d, err = openFolder(source)
	case kind == CSV:
		d, err = openCSV(source)
	case kind == WebDataset:
		d, err = openWebDataset(source)
	default:
		err = fmt.Errorf("type %q: must be %s, %s or %s", kind, ImageFolder, CSV, WebDataset)
	}
	if err != nil {
		return nil, fmt.Errorf("open dataset %s: %w", source.Path, err)
	}
	if d.Len() == 0 {
		what := "no samples in it"
		if p := ProblemsOf(d); p.Count > 0 {
			what = fmt.Sprintf("no usable samples in it (%d problems, first: %s)", p.Count, p.First[0])
		}
		return nil, fmt.Errorf("open dataset %s: %s", source.Path, what)
	}
	if source.RequireText {
		d = withText{d}
	}
	return d, nil
}

func guess(path string) string {
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".csv", ".tsv":
		return CSV
	case ".tar", ".gz", ".tgz":
		return WebDataset
	}
	if tars, _ := filepath.Glob(filepath.Join(path, "*.tar")); len(tars) > 0 {
		return WebDataset
	}
	return ImageFolder
}

// Describe is Sample without the image, which isn't even read where that can
// be avoided.
func Describe(d Dataset, i int) (Sample, error) {
	if d, ok := d.(describer); ok {
		return d.describe(i)
	}
	s, err := d.Sample(i)
	s.Image = nil
	return s, err
}

type describer interface {
	describe(i int) (Sample, error)
}

// Classes are the class names by label, nil if there are none.
func Classes(d Dataset) []string {
	if c, ok := d.(interface{ Classes() []string }); ok {
		return c.Classes()
	}
	return nil
}

// Problems is what was left out when a dataset was opened, or skipped by a
// [Loader].
type Problems struct {
	Count int
	First []string // the first few, in words
}

// problemsKept bounds Problems.First.
const problemsKept = 20

func (p *Problems) add(format string, args ...any) {
	p.Count++
	if len(p.First) < problemsKept {
		p.First = append(p.First, fmt.Sprintf(format, args...))
	}
}

// ProblemsOf gives what Open left out of d.
func ProblemsOf(d Dataset) Problems {
	if p, ok := d.(interface{ Problems() Problems }); ok {
		return p.Problems()
	}
	return Problems{}
}

// ErrNoText is wrapped by errors about samples without text where
// [Source.RequireText] is set.
var ErrNoText = errors.New("no text")

type withText struct{ Dataset }

func (d withText) Sample(i int) (Sample, error) {
	s, err := d.Dataset.Sample(i)
	return s, needText(s, err)
}

func (d withText) describe(i int) (Sample, error) {
	s, err := Describe(d.Dataset, i)
	return s, needText(s, err)
}

func needText(s Sample, err error) error {
	if err == nil && strings.TrimSpace(s.Text) == "" {
		return fmt.Errorf("%s: %w", s.Key, ErrNoText)
	}
	return err
}

func (d withText) Classes() []string  { return Classes(d.Dataset) }
func (d withText) Problems() Problems { return ProblemsOf(d.Dataset) }

// readImage reads an image file; a file above the limit can't be a picture that
// imaging would decode.
func readImage(path string) ([]byte, error) {
	const limit = 1 << 30
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%s: %d bytes: too large for an image", path, info.Size())
	}
	return os.ReadFile(path)
}

var imageExtensions = map[string]bool{
	".png": true, ".jpg": true, ".jpeg": true, ".jpe": true, ".jfif": true, ".webp": true,
	".avif": true, ".heic": true, ".heif": true,
}
