// Package suite has the field's evaluation suites as data: which test sets they
// are of, how the official archives lie on disk, their classes, masks, prompts
// and metrics, each with its source (data/).
//
//	s, err := suite.Load("imagenet-robustness")
//	opened, err := s.Open("/data", suite.Options{})
//	results, err := suite.Run(ctx, model, opened.Tests, suite.RunOptions{})
//
// What is missing on disk is listed with the path that was expected; what is
// there is measured.
package suite

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"arf/eval"

	"github.com/goccy/go-yaml"
)

//go:embed data
var data embed.FS

// Values of Set.Kind.
const (
	Folder     = "folder"     // a folder of images for each class
	List       = "list"       // DomainNet's <domain>_test.txt
	CoOp       = "coop"       // CoOp's split_zhou_<Name>.json, split test
	Aircraft   = "aircraft"   // FGVC-Aircraft's images_variant_test.txt
	WebDataset = "webdataset" // clip_benchmark's layout, split test
)

// Suite is a list of test sets.
type Suite struct {
	Name   string `yaml:"-"`
	Title  string `yaml:"title"`
	Source string `yaml:"source"` // who defined it
	Like   string `yaml:"like"`   // a suite whose sets it has
	// Templates of sets that have none: a name (see Templates) or a list.
	Templates templates `yaml:"templates"`
	// Halves measures CoOp's base and new classes of each set apart.
	Halves bool  `yaml:"halves"`
	Sets   []Set `yaml:"sets"`
	// Discover is a pattern of folders in clip_benchmark's layout, each of which
	// is a set; Metrics are theirs by folder, accuracy where not given.
	Discover string            `yaml:"discover"`
	Metrics  map[string]string `yaml:"metrics"`
}

// Set is one test set.
type Set struct {
	Name      string            `yaml:"name"` // names the result's file; clip_benchmark's or CoOp's
	Title     string            `yaml:"title"`
	Role      string            `yaml:"role"`  // "id", "shift" or "zero-shot"
	Kind      string            `yaml:"kind"`  // "" is Folder
	Paths     []string          `yaml:"paths"` // below the root; the first that exists
	Lists     []string          `yaml:"lists"` // of Kind List, beside the folder; the first that exists
	Root      string            `yaml:"root"`  // of Kind CoOp and Aircraft: the images, beside the file
	Layout    string            `yaml:"layout"`
	Archive   string            `yaml:"archive"`
	Classes   string            `yaml:"classes"`  // "imagenet", "objectnet", "domainnet"; "" is the data's own
	Mask      string            `yaml:"mask"`     // a list of WordNet ids in data/
	Numbered  bool              `yaml:"numbered"` // class folders are labels, as ImageNetV2's
	Border    int               `yaml:"border"`   // pixels that are cut off each side
	Templates templates         `yaml:"templates"`
	Rename    map[string]string `yaml:"rename"` // class names in prompts
	Metric    string            `yaml:"metric"` // "" is eval.Acc1
	Images    int               `yaml:"images"` // of the complete set; 0 is unknown
}

// templates are prompts in a data file: a name or a list.
type templates []string

func (t *templates) UnmarshalYAML(text []byte) error {
	var list []string
	if err := yaml.Unmarshal(text, &list); err == nil {
		*t = list
		return nil
	}
	var name string
	if err := yaml.Unmarshal(text, &name); err != nil {
		return err
	}
	var err error
	*t, err = Templates(name)
	return err
}

// Names lists the suites.
func Names() []string {
	files, err := fs.Glob(data, "data/*.yaml")
	if err != nil {
		panic(err) // the pattern is constant
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(strings.TrimPrefix(f, "data/"), ".yaml")
	}
	return files
}

// Load gives a suite by its name.
func Load(name string) (*Suite, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("suite %q is not known; known are %s", name, strings.Join(Names(), ", "))
	}
	text, err := data.ReadFile("data/" + name + ".yaml")
	if err != nil {
		return nil, err
	}
	s := &Suite{Name: name}
	if err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(s); err != nil {
		return nil, fmt.Errorf("suite %s: %w", name, err)
	}
	if s.Like != "" {
		like, err := Load(s.Like)
		if err != nil {
			return nil, err
		}
		s.Sets, s.Templates = like.Sets, like.Templates
	}
	for i := range s.Sets {
		set := &s.Sets[i]
		if set.Kind == "" {
			set.Kind = Folder
		}
		if set.Templates == nil {
			set.Templates = s.Templates
		}
		if set.Metric == "" {
			set.Metric = eval.Acc1
		}
	}
	return s, nil
}
