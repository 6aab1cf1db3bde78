package suite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"arf/dataset"
	"arf/eval"
)

// Options of Open. The zero value is the suite as published.
type Options struct {
	// Templates replace the sets' own.
	Templates []string
	// Limit measures that many images of each set, spread evenly; 0 is all.
	Limit int
	// ID names the set in distribution in place of the suite's; the others
	// become shifts.
	ID string
	// Failed is told of a set that is there but can't be read, which is then left
	// out; nil makes it Open's error.
	Failed func(error)
}

// Opened is what was found of suites.
type Opened struct {
	Tests   []Test
	Missing []Missing
}

// Test is a set that was found; one of Class and Captions is set.
type Test struct {
	Suite string // names the results' folder
	Set   *Set
	Path  string // where it lies
	// Half is "base" or "new" in a suite of halves.
	Half     string
	Class    *eval.Suite
	Captions *eval.Captions
}

// Name names the result's file.
func (t Test) Name() string {
	if t.Half != "" {
		return t.Set.Name + "-" + t.Half
	}
	return t.Set.Name
}

// Missing is a set that wasn't found.
type Missing struct {
	Suite    string
	Set      *Set
	Expected []string // paths, any of which would do
	Also     string   // what else was looked for beside a path that exists
}

// String is one line.
func (m Missing) String() string {
	what := m.Also + " is missing"
	if m.Also == "" {
		what = "no " + strings.Join(m.Expected, ", nor ")
	}
	return fmt.Sprintf("%s (%s): %s", m.Set.Name, m.Set.Title, what)
}

// Details are String and, on lines of their own, the layout and the archive.
func (m Missing) Details() string {
	var b strings.Builder
	b.WriteString(m.String())
	if m.Set.Layout != "" {
		fmt.Fprintf(&b, "\n    layout:  %s", m.Set.Layout)
	}
	if m.Set.Archive != "" {
		fmt.Fprintf(&b, "\n    archive: %s", m.Set.Archive)
	}
	return b.String()
}

// errMissing is wrapped by a kind's errors about files that aren't there.
type errMissing struct{ what string }

func (e errMissing) Error() string { return e.what + " is missing" }

// Open looks below root for the sets, and opens those that are there. A set that
// is there but can't be read is an error.
func (s *Suite) Open(root string, o Options) (Opened, error) {
	var out Opened
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		return out, fmt.Errorf("suite %s: %s is not a folder; give the one that holds the test sets", s.Name, root)
	}
	sets := slices.Clone(s.Sets)
	if s.Discover != "" {
		found, err := s.discover(root)
		if err != nil {
			return out, fmt.Errorf("suite %s: %w", s.Name, err)
		}
		sets = append(sets, found...)
	}
	if err := setID(sets, o.ID); err != nil {
		return out, fmt.Errorf("suite %s: %w", s.Name, err)
	}
	for i := range sets {
		set := &sets[i]
		if o.Templates != nil {
			set.Templates = o.Templates
		}
		path, expected := set.find(root)
		if path == "" {
			out.Missing = append(out.Missing, Missing{Suite: s.Name, Set: set, Expected: expected})
			continue
		}
		tests, err := set.open(path, s.Halves)
		if missing, ok := errors.AsType[errMissing](err); ok {
			out.Missing = append(out.Missing, Missing{Suite: s.Name, Set: set, Expected: expected, Also: missing.what})
			continue
		}
		if err != nil && set.Kind == Folder {
			err = fmt.Errorf("%w; its layout must be %s (%s)", err, set.Layout, set.Archive)
		}
		if err != nil {
			if err = fmt.Errorf("suite %s: %s: %w", s.Name, set.Name, err); o.Failed == nil {
				return out, err
			}
			o.Failed(err)
			continue
		}
		for k := range tests {
			tests[k].Suite, tests[k].Set, tests[k].Path = s.Name, set, path
			tests[k].finish(o)
		}
		out.Tests = append(out.Tests, tests...)
	}
	return out, nil
}

// finish names the test's eval suite and keeps o.Limit images.
func (t *Test) finish(o Options) {
	if c := t.Captions; c != nil {
		c.Name, c.Role = t.Name(), t.Set.Role
		c.Data = dataset.Limit(c.Data, o.Limit)
		return
	}
	c := t.Class
	c.Name, c.Role, c.Border, c.Metric = t.Name(), t.Set.Role, t.Set.Border, t.Set.Metric
	if len(c.Templates) == 0 || o.Templates != nil {
		c.Templates = t.Set.Templates
	}
	c.Data = dataset.Limit(c.Data, o.Limit)
}

// setID makes the set of that name the one in distribution.
func setID(sets []Set, name string) error {
	if name == "" {
		return nil
	}
	i := slices.IndexFunc(sets, func(s Set) bool { return s.Name == name })
	if i < 0 {
		names := make([]string, len(sets))
		for k := range sets {
			names[k] = sets[k].Name
		}
		return fmt.Errorf("it has no set %q to be in distribution; its sets are %s", name, strings.Join(names, ", "))
	}
	for k := range sets {
		sets[k].Role = "shift"
	}
	sets[i].Role = "id"
	return nil
}

// find gives the first path that exists, and all that would do.
func (s *Set) find(root string) (path string, expected []string) {
	for _, p := range s.Paths {
		p = filepath.Join(root, filepath.FromSlash(p))
		expected = append(expected, p)
		if _, err := os.Stat(p); err == nil && path == "" {
			path = p
		}
	}
	return path, expected
}

// open opens a set as one test, or two halves.
func (s *Set) open(path string, halves bool) ([]Test, error) {
	var suite eval.Suite
	var err error
	var halfOf func(half string) ([]string, error)
	switch s.Kind {
	case Folder:
		suite, err = s.openFolder(path)
	case List:
		suite, err = s.openList(path)
	case Aircraft:
		suite, err = s.openAircraft(path)
	case CoOp:
		suite, halfOf, err = s.openCoOp(path)
	case WebDataset:
		var captions *eval.Captions
		if suite, captions, err = s.openWebDataset(path); captions != nil && err == nil {
			return []Test{{Captions: captions}}, nil
		}
	default:
		err = fmt.Errorf("kind %q is not known", s.Kind)
	}
	if err != nil {
		return nil, err
	}
	if !halves {
		return []Test{{Class: &suite}}, nil
	}
	if halfOf == nil {
		halfOf = func(half string) ([]string, error) { return firstHalf(suite.Classes, half), nil }
	}
	var tests []Test
	for _, half := range []string{"base", "new"} {
		own := suite
		if own.ClassMask, err = halfOf(half); err != nil {
			return nil, err
		}
		tests = append(tests, Test{Class: &own, Half: half})
	}
	return tests, nil
}

// firstHalf names the first half of the classes, rounded up, or the rest.
func firstHalf(classes []eval.Class, half string) []string {
	m := (len(classes) + 1) / 2
	if half == "base" {
		classes = classes[:m]
	} else {
		classes = classes[m:]
	}
	names := make([]string, len(classes))
	for i, c := range classes {
		names[i] = c.Name
	}
	return names
}

// openFolder opens a folder of images for each class.
func (s *Set) openFolder(path string) (suite eval.Suite, err error) {
	if suite.Data, err = dataset.Open(dataset.Source{Type: dataset.ImageFolder, Path: path, AllowMissing: true}); err != nil {
		return suite, err
	}
	if suite.Classes, suite.ClassMask, err = s.classes(); err != nil {
		return suite, err
	}
	if s.Numbered {
		suite.Alias = make(map[string]string, len(suite.Classes))
		for label, c := range suite.Classes {
			suite.Alias[fmt.Sprint(label)] = c.Name
		}
	}
	return suite, nil
}

// beside gives the first of the files that exists below dir.
func beside(dir string, names []string) (string, error) {
	var tried []string
	for _, name := range names {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if _, err := os.Stat(p); err == nil {
			return p, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		tried = append(tried, p)
	}
	return "", errMissing{strings.Join(tried, " or ")}
}
