// Package dataset reads image–text samples from folders, tables, tars, Parquet
// files and CoOp's splits, and feeds them to training as decoded batches.
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
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"arf/remote"
)

// Sample is one image with what is known about it.
type Sample struct {
	// Key names the sample within its dataset: the path in an image folder or
	// table, the key in a webdataset; where several sources are joined, after the
	// source's path and "::".
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
	CoOp        = "coop"
	Parquet     = "parquet"
	LooseImages = "images"
	Embeddings  = "embeddings"
)

var types = []string{ImageFolder, CSV, WebDataset, CoOp, Parquet, LooseImages, Embeddings}

// Source says where samples are. Only Path is needed.
type Source struct {
	// Type is "image-folder", "csv", "webdataset", "coop", "parquet", "images" or
	// "embeddings"; "" guesses from Path.
	Type string `yaml:"type,omitempty" json:"type,omitempty"`
	// Path is a folder with a folder of images for each class; a CSV or TSV
	// file with a header; tars (also of servers, by URL) or Hugging Face's Parquet files: one, a folder of
	// them, a glob, or a range as in "pool/{00000..00009}.tar"; a folder in
	// clip_benchmark's layout; CoOp's split_zhou_<Name>.json, or the folder
	// that has it; a folder of images without classes; or a folder of features in
	// clip-retrieval's layout. Several of them are joined by "::".
	Path string `yaml:"path" json:"path"`
	// Weights say how often an epoch draws each part of a Path with "::", see
	// [Mix]; none is once each.
	Weights []float64 `yaml:"weights,omitempty" json:"weights,omitempty"`
	// Split chooses among the splits of a source that has several: "train",
	// "val", "test" … "" takes the only one.
	Split string `yaml:"split,omitempty" json:"split,omitempty"`
	// Half keeps a half of the classes, as in CoOp's base-to-new experiments:
	// "base", the first half of the labels, rounded up, or "new", the rest. "" is
	// all.
	Half string `yaml:"half,omitempty" json:"half,omitempty"`
	// Shots keeps that many samples of each class, see [FewShot]; 0 is all.
	Shots int `yaml:"shots,omitempty" json:"shots,omitempty"`
	// ShotsSeed chooses them.
	ShotsSeed int `yaml:"shots_seed,omitempty" json:"shots_seed,omitempty"`

	// Classes fixes the classes and their order (their labels). Otherwise they
	// are what is found, sorted: as numbers if all are integers.
	Classes []string `yaml:"classes,omitempty" json:"classes,omitempty"`
	// AllowMissing accepts that some of Classes have no images.
	AllowMissing bool `yaml:"allow_missing_classes,omitempty" json:"allow_missing_classes,omitempty"`

	// Columns of a table or Parquet file; "" takes the usual names.
	ImageColumn string `yaml:"image_column,omitempty" json:"image_column,omitempty"`
	TextColumn  string `yaml:"text_column,omitempty" json:"text_column,omitempty"`
	ClassColumn string `yaml:"class_column,omitempty" json:"class_column,omitempty"`
	LabelColumn string `yaml:"label_column,omitempty" json:"label_column,omitempty"`
	// Separator between columns; "" is a tab for .tsv and where the header has
	// one (open_clip's tables), else a comma. "tab" and "\t" are a tab.
	Separator string `yaml:"separator,omitempty" json:"separator,omitempty"`
	// Root is where the relative image paths of a table, split file or Parquet
	// file start; "" is its folder, for CoOp's also the one that its data set
	// has the images in. For embeddings it may also be the source, such as tars,
	// whose keys they are; "" is the current folder.
	Root string `yaml:"root,omitempty" json:"root,omitempty"`

	// RequireText makes a sample without text broken.
	RequireText bool `yaml:"require_text,omitempty" json:"require_text,omitempty"`

	pairs bool          // of OpenPairs
	cache *remote.Cache // of servers' files; nil is remote.DefaultCache
}

// Open reads the list of samples; images are read later, one by one.
func Open(source Source) (Dataset, error) { return OpenContext(context.Background(), source) }

// OpenContext is Open for sources that may lie on servers: ctx ends the waiting
// for them, in later reads too.
func OpenContext(ctx context.Context, source Source) (Dataset, error) {
	if source.Path == "" {
		return nil, errors.New("open dataset: no path")
	}
	d, err := openMixed(ctx, source)
	if err == nil {
		d, err = choose(d, source)
	}
	if err != nil {
		return nil, fmt.Errorf("open dataset %s: %w", remote.RedactedText(source.Path), err)
	}
	if p := ProblemsOf(d); p.Count > 0 {
		slog.Warn("left out of the source", "source", remote.RedactedText(source.Path), "problems", p.Count, "such as", strings.Join(p.First, "; "))
	}
	if source.RequireText {
		d = withText{d}
	}
	return d, nil
}

// OpenPairs is OpenContext where texts are wanted rather than classes: a folder of
// folders in which images have .txt files beside them is then no image-folder, whose
// images have no texts, but of type "images".
func OpenPairs(ctx context.Context, source Source) (Dataset, error) {
	source.pairs = true
	return OpenContext(ctx, source)
}

// openMixed opens the parts of a path.
func openMixed(ctx context.Context, source Source) (Dataset, error) {
	paths := strings.Split(source.Path, "::")
	if len(paths) == 1 {
		if len(source.Weights) > 0 {
			return nil, errors.New("weights are for several sources, joined by :: in the path")
		}
		return openOne(ctx, source)
	}
	weights := source.Weights
	if len(weights) == 0 { // a saved config has an empty list
		weights = slices.Repeat([]float64{1}, len(paths))
	}
	if len(weights) != len(paths) {
		return nil, fmt.Errorf("%d weights for %d sources", len(weights), len(paths))
	}
	var parts []Dataset
	for _, path := range paths {
		source.Path = path
		d, err := openOne(ctx, source)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", remote.RedactedText(path), err)
		}
		parts = append(parts, keyed{d, remote.RedactedText(path) + "::"}) // another signature makes no other keys
	}
	return Mix(parts, weights)
}

// keyed tells apart samples of several sources that have the same key, such as
// cat/0001.jpg.
type keyed struct {
	Dataset
	prefix string
}

func (k keyed) Sample(i int) (Sample, error) {
	s, err := k.Dataset.Sample(i)
	s.Key = k.prefix + s.Key
	return s, err
}

func (k keyed) describe(i int) (Sample, error) {
	s, err := Describe(k.Dataset, i)
	s.Key = k.prefix + s.Key
	return s, err
}

func (k keyed) Classes() []string   { return Classes(k.Dataset) }
func (k keyed) Templates() []string { return Templates(k.Dataset) }
func (k keyed) Problems() Problems  { return ProblemsOf(k.Dataset) }

func openOne(ctx context.Context, source Source) (d Dataset, err error) {
	kind := source.Type
	if kind == "" {
		kind = guess(source)
	}
	if source.Split != "" && (kind == ImageFolder || kind == CSV || kind == LooseImages || kind == Embeddings) {
		return nil, fmt.Errorf("split %q: a source of type %s has no splits; give the split's own path", source.Split, kind)
	}
	if remote.IsURL(source.Path) && kind != WebDataset {
		return nil, fmt.Errorf("a source of type %s isn't read over the network, only tars are; fetch it first", kind)
	}
	switch kind {
	case ImageFolder:
		d, err = openFolder(source)
	case CSV:
		d, err = openCSV(source)
	case WebDataset:
		d, err = openWebDataset(ctx, source)
	case CoOp:
		d, err = openCoOp(source)
	case Parquet:
		d, err = openParquet(source)
	case LooseImages:
		d, err = openImages(source)
	case Embeddings:
		d, err = openEmbeddings(ctx, source)
	default:
		err = fmt.Errorf("type %q: must be one of %s", kind, strings.Join(types, ", "))
	}
	if err != nil {
		return nil, err
	}
	if d.Len() == 0 {
		if p := ProblemsOf(d); p.Count > 0 {
			return nil, fmt.Errorf("no usable samples in it (%d problems, first: %s)", p.Count, p.First[0])
		}
		return nil, errors.New("no samples in it")
	}
	if kind == WebDataset || kind == Parquet { // the others know all labels by now
		if err := checkLabels(d); err != nil {
			return nil, err
		}
	}
	if source.Half != "" && kind != CoOp { // CoOp's own rule looks at its train split
		return Half(d, source.Half)
	}
	return d, nil
}

// choose applies what a source says of any type.
func choose(d Dataset, source Source) (Dataset, error) {
	if source.Shots > 0 && len(source.Weights) > 0 {
		return nil, errors.New("shots choose samples without regard to weights; leave one of them out")
	}
	if source.Shots > 0 {
		return FewShot(d, source.Shots, uint64(source.ShotsSeed))
	}
	return d, nil
}

// guess tells a source's type by its path.
func guess(source Source) string {
	path := source.Path
	if remote.IsURL(path) {
		return WebDataset // nothing else is read over the network
	}
	switch ext := strings.ToLower(filepath.Ext(path)); ext {
	case ".csv", ".tsv":
		return CSV
	case ".tar", ".gz", ".tgz":
		return WebDataset
	case ".json":
		return CoOp
	case ".parquet":
		return Parquet
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return ImageFolder
	}
	switch {
	case holds(path, "metadata/metadata_*.parquet"):
		return Embeddings
	case holds(path, "*.tar") || holds(path, "*/"+shardCount):
		return WebDataset
	case holds(path, "*.parquet") || holds(path, "data/*.parquet") || source.Split != "" && holds(path, "*/*.parquet"):
		return Parquet
	case holds(path, coopSplitFiles):
		return CoOp
	case len(source.Classes) == 0 && (looseImages(path) || (source.pairs || source.RequireText) && textsBeside(path, imagesAsked)):
		return LooseImages
	}
	return ImageFolder
}

// holds reports whether a folder has files of a pattern.
func holds(dir, pattern string) bool {
	found, _ := filepath.Glob(filepath.Join(globQuote(dir), pattern))
	return len(found) > 0
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

// Columns are the names of the columns of a table or Parquet file that Open gave;
// nil of other datasets.
func Columns(d Dataset) []string {
	if c, ok := d.(interface{ Columns() []string }); ok {
		return c.Columns()
	}
	return nil
}

// Templates are the prompts that come with a dataset, "{}" standing for the
// class name; nil if there are none.
func Templates(d Dataset) []string {
	if t, ok := d.(interface{ Templates() []string }); ok {
		return t.Templates()
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

// and adds others' problems.
func (p Problems) and(q Problems) Problems {
	first := append(slices.Clone(p.First), q.First...)
	return Problems{Count: p.Count + q.Count, First: first[:min(len(first), problemsKept)]}
}

// Join adds the problems of another part.
func (p *Problems) Join(q Problems) {
	p.Count += q.Count
	p.First = append(p.First, q.First[:min(len(q.First), problemsKept-len(p.First))]...)
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

func (d withText) Classes() []string   { return Classes(d.Dataset) }
func (d withText) Templates() []string { return Templates(d.Dataset) }
func (d withText) Problems() Problems  { return ProblemsOf(d.Dataset) }

func (d withText) epochLen() int                 { return epochLen(d.Dataset) }
func (d withText) draw(seed, epoch uint64) []int { return drawn(d.Dataset, seed, epoch) }

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
	".avif": true, ".heic": true, ".heif": true, ".gif": true, ".bmp": true, ".tif": true, ".tiff": true,
}
