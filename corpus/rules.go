package corpus

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

//go:embed data/sets.yaml
var setsYAML []byte

//go:embed data/labels.yaml
var labelsYAML []byte

//go:embed data/brands.txt
var brandsText string

// Role of a set, and of the images that come from it.
type Role string

// Roles of sets. Images of test sets become ID, Shift or ZeroShot by class and drawn style.
const (
	Pretrain        Role = "pretrain"
	PretrainHeldout Role = "pretrain-heldout"
	Pool            Role = "pool"
	Finetune        Role = "finetune"
	Validation      Role = "validation"
	ValidationShift Role = "validation-shift" // finetune classes in other styles, from some families of the pool
	Test            Role = "test"
	ID              Role = "id"
	Shift           Role = "shift"
	ZeroShot        Role = "zero-shot"
)

// Family is one design and everything made from it.
type Family struct {
	Name  string   `yaml:"name"`
	Role  Role     `yaml:"role"`
	Style Style    `yaml:"style"` // of every icon, where the pixels can't tell: emoji, pixel-hand
	Sets  []string `yaml:"sets"`
	// ValidationShift says that icons of a pool family also stand for the shifts while choices are made.
	ValidationShift bool `yaml:"validation_shift"`
}

// Class is a label and the other names of the same thing.
type Class struct {
	Name     string   `json:"name"`
	Synonyms []string `json:"synonyms"`
}

// DropRule rules out icons whose name belongs to a class but which show something else. An empty field
// matches everything.
type DropRule struct {
	Set   string   `yaml:"set"`
	Sets  []string `yaml:"sets"`
	Style Style    `yaml:"style"`
	Name  string   `yaml:"name"` // without style words and numbers
	Icon  string   `yaml:"icon"` // exact name in the set
	Icons []string `yaml:"icons"`
	Why   string   `yaml:"why"`
}

func (d *DropRule) matches(ic *icon) bool {
	one := func(value, want string, wants []string) bool {
		return want == "" && len(wants) == 0 || value == want || slices.Contains(wants, value)
	}
	return one(ic.Set, d.Set, d.Sets) && one(ic.Icon, d.Icon, d.Icons) &&
		(d.Style == "" || d.Style == ic.Style) && (d.Name == "" || join(d.Name) == join(ic.Name))
}

type rules struct {
	Package  string              `yaml:"package"`
	Version  string              `yaml:"version"`
	Licences []string            `yaml:"licences"`
	Families []Family            `yaml:"families"`
	Styles   map[string]Style    `yaml:"styles"`
	Suffixes map[string][]string `yaml:"suffixes"`
	Prefixes map[string][]string `yaml:"prefixes"`
	Joined   []string            `yaml:"joined"`
	Heldout  []string            `yaml:"heldout"`
	Excluded map[string][]string `yaml:"excluded"`

	labels   labels
	brands   map[string]bool    // joined name → also as one word of several
	families map[string]*Family // by set
	class    map[string]int     // joined name or synonym → index into classes
	classes  []Class            // finetune classes, then zero-shot classes
	finetune int                // how many of classes are finetune classes
}

type labels struct {
	Finetune yaml.Node  `yaml:"finetune"`
	ZeroShot yaml.Node  `yaml:"zero_shot"`
	Drop     []DropRule `yaml:"drop"`
}

func loadRules() (*rules, error) {
	r := &rules{families: map[string]*Family{}, class: map[string]int{}, brands: map[string]bool{}}
	if err := decodeYAML(setsYAML, r); err != nil {
		return nil, fmt.Errorf("corpus/data/sets.yaml: %w", err)
	}
	if err := decodeYAML(labelsYAML, &r.labels); err != nil {
		return nil, fmt.Errorf("corpus/data/labels.yaml: %w", err)
	}
	for i := range r.Families {
		f := &r.Families[i]
		switch f.Role {
		case Pretrain, Pool, Finetune, Validation, Test:
		default:
			return nil, fmt.Errorf("corpus/data/sets.yaml: family %q has the unknown role %q", f.Name, f.Role)
		}
		for _, s := range f.Sets {
			if old := r.families[s]; old != nil {
				return nil, fmt.Errorf("corpus/data/sets.yaml: set %q is in the families %q and %q", s, old.Name, f.Name)
			}
			r.families[s] = f
		}
	}
	if err := r.addClasses(&r.labels.Finetune); err != nil {
		return nil, err
	}
	r.finetune = len(r.classes)
	if err := r.addClasses(&r.labels.ZeroShot); err != nil {
		return nil, err
	}
	for line := range strings.Lines(brandsText) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			name, anywhere := strings.CutSuffix(line, "*")
			r.brands[name] = anywhere
		}
	}
	return r, nil
}

func decodeYAML(data []byte, into any) error {
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	return d.Decode(into)
}

// addClasses reads a mapping of class name to synonyms, in the order of the file.
func (r *rules) addClasses(node *yaml.Node) error {
	for i := 0; i+1 < len(node.Content); i += 2 {
		c := Class{Name: node.Content[i].Value, Synonyms: []string{}}
		if err := node.Content[i+1].Decode(&c.Synonyms); err != nil {
			return fmt.Errorf("corpus/data/labels.yaml: class %q: %w", c.Name, err)
		}
		for _, name := range append([]string{c.Name}, c.Synonyms...) {
			if old, ok := r.class[join(name)]; ok && old != len(r.classes) {
				return fmt.Errorf("corpus/data/labels.yaml: %q belongs to the classes %q and %q", name, r.classes[old].Name, c.Name)
			}
			r.class[join(name)] = len(r.classes)
		}
		r.classes = append(r.classes, c)
	}
	return nil
}

// keepSets leaves only the families' sets that are named; for tests and trials.
func (r *rules) keepSets(sets []string) {
	for i := range r.Families {
		f := &r.Families[i]
		f.Sets = slices.DeleteFunc(slices.Clone(f.Sets), func(s string) bool { return !slices.Contains(sets, s) })
	}
	for s := range r.families {
		if !slices.Contains(sets, s) {
			delete(r.families, s)
		}
	}
}

// setStyle is the style of every icon of a set, or "" where the pixels decide.
func (r *rules) setStyle(set string) Style { return cmp.Or(r.Styles[set], r.families[set].Style) }

// sets returns every set that has a role, in order.
func (r *rules) sets() []string { return sortedKeys(r.families) }

// ruledOut reports whether a drop rule takes the icon from its class.
func (r *rules) ruledOut(ic *icon) bool {
	for i := range r.labels.Drop {
		if r.labels.Drop[i].matches(ic) {
			return true
		}
	}
	return false
}

// hash covers everything in the rules that a build depends on.
func (r *rules) hash() [32]byte {
	h := sha256.New()
	for _, part := range [][]byte{setsYAML, labelsYAML, []byte(brandsText), drawScript, []byte(strings.Join(r.sets(), ","))} {
		fmt.Fprintf(h, "%d\n", len(part))
		h.Write(part)
	}
	return [32]byte(h.Sum(nil))
}
