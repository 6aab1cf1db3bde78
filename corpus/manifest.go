package corpus

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// formatVersion changes when the same inputs would be written differently; drawVersion when they
// would be drawn or measured differently.
const (
	formatVersion = 2
	drawVersion   = 1
)

// Dropped counts icons that were left out, by the role they would have had and the reason.
type Dropped map[Role]map[string]int

func (d Dropped) add(role Role, why string) {
	if d[role] == nil {
		d[role] = map[string]int{}
	}
	d[role][why]++
}

// Part is what one folder of the corpus holds.
type Part struct {
	Images  int           `json:"images"`
	Classes int           `json:"classes,omitempty"`
	Sets    int           `json:"sets"`
	Styles  map[Style]int `json:"styles"`
	SHA256  string        `json:"sha256"` // over keys, pixels and texts, so that it doesn't depend on PNG compression
}

// Manifest says what a built corpus was made of and what is in it.
type Manifest struct {
	Package string            `json:"package"`
	Version string            `json:"version"`
	Inputs  string            `json:"inputs"` // sha256 over rules and files
	Files   map[string]string `json:"files"`  // sha256 of the package's files used
	Parts   map[string]Part   `json:"parts"`  // by folder
	Dropped Dropped           `json:"dropped"`
}

// LoadManifest reads manifest.json of a built corpus.
func LoadManifest(dir string) (*Manifest, error) {
	m := &Manifest{}
	if err := loadJSON(filepath.Join(dir, "manifest.json"), m); err != nil {
		return nil, fmt.Errorf("reading the icon corpus: %w; build it with `arf data icons --out %s`", err, dir)
	}
	return m, nil
}

// Classes is classes.json: what the benchmark's classes are called.
type Classes struct {
	Finetune []Class `json:"finetune"`
	ZeroShot []Class `json:"zero_shot"`
}

// LoadClasses reads classes.json of a built corpus.
func LoadClasses(dir string) (*Classes, error) {
	c := &Classes{}
	if err := loadJSON(filepath.Join(dir, "classes.json"), c); err != nil {
		return nil, fmt.Errorf("reading the icon corpus's classes: %w; build it with `arf data icons --out %s`", err, dir)
	}
	return c, nil
}

// ClassNames returns the names of the finetune and of the zero-shot classes of a built corpus, which
// are its folders' names.
func ClassNames(dir string) (finetune, zeroShot []string, err error) {
	c, err := LoadClasses(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, class := range c.Finetune {
		finetune = append(finetune, class.Name)
	}
	for _, class := range c.ZeroShot {
		zeroShot = append(zeroShot, class.Name)
	}
	return finetune, zeroShot, nil
}

func loadJSON(name string, into any) error {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
