package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// folder is <root>/<class>/…/<image>.
type folder struct {
	root    string
	classes []string
	files   []folderFile
	loose   []string // images beside the class folders
}

type folderFile struct {
	path  string // below root, with slashes
	label int
}

func openFolder(source Source) (Dataset, error) {
	entries, err := os.ReadDir(source.Path)
	if err != nil {
		return nil, err
	}
	var found []string
	var loose []string
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") {
			continue
		}
		// A class may be a link to a folder.
		info, err := os.Stat(filepath.Join(source.Path, name))
		if err != nil {
			return nil, err
		}
		if info.IsDir() {
			found = append(found, name)
		} else if imageExtensions[strings.ToLower(filepath.Ext(name))] {
			loose = append(loose, name)
		}
	}
	if len(found) == 0 {
		if len(loose) > 0 {
			return nil, fmt.Errorf("it has %d images but no class folders; put the images of each class in a folder named after the class, or list them in a CSV", len(loose))
		}
		return nil, errors.New("it has no class folders; it must have a folder of images for each class")
	}
	classes, err := chooseClasses(found, source)
	if err != nil {
		return nil, err
	}
	d := &folder{root: source.Path, classes: classes, loose: loose}
	var empty []string
	for label, class := range classes {
		if !slices.Contains(found, class) {
			continue // allowed, or chooseClasses would have said so
		}
		before := len(d.files)
		if err := d.walk(class, label); err != nil {
			return nil, err
		}
		if len(d.files) == before {
			empty = append(empty, class)
		}
	}
	if len(empty) > 0 && !source.AllowMissing {
		return nil, fmt.Errorf("class folders without images: %s; add images, remove the folders, or allow it (--allow-missing-classes, or allow_missing_classes in the config)", quoted(empty))
	}
	return d, nil
}

// chooseClasses checks the classes found against those wanted.
func chooseClasses(found []string, source Source) ([]string, error) {
	if len(source.Classes) == 0 {
		sortClasses(found)
		return found, nil
	}
	seen := map[string]bool{}
	for _, c := range source.Classes {
		if seen[c] {
			return nil, fmt.Errorf("class %q is listed twice", c)
		}
		seen[c] = true
	}
	var extra, missing []string
	for _, c := range found {
		if !seen[c] {
			extra = append(extra, c)
		}
	}
	if len(extra) > 0 {
		return nil, fmt.Errorf("it has classes that aren't among the %d expected: %s", len(source.Classes), quoted(extra))
	}
	for _, c := range source.Classes {
		if !slices.Contains(found, c) {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 && !source.AllowMissing {
		return nil, fmt.Errorf("classes without images: %s; add them, or allow it (--allow-missing-classes, or allow_missing_classes in the config)", quoted(missing))
	}
	return source.Classes, nil
}

// sortClasses sorts as numbers if all are integers (ImageNetV2's folders), else
// as text.
func sortClasses(classes []string) {
	numbers := make(map[string]int, len(classes))
	for _, c := range classes {
		n, err := strconv.Atoi(c)
		if err != nil {
			slices.Sort(classes)
			return
		}
		numbers[c] = n
	}
	slices.SortFunc(classes, func(a, b string) int {
		return cmp.Or(cmp.Compare(numbers[a], numbers[b]), cmp.Compare(a, b))
	})
}

func quoted(names []string) string {
	const shown = 5
	var parts []string
	for _, n := range names[:min(len(names), shown)] {
		parts = append(parts, strconv.Quote(n))
	}
	s := strings.Join(parts, ", ")
	if len(names) > shown {
		s += fmt.Sprintf(" and %d more", len(names)-shown)
	}
	return s
}

// walk adds the images below a class folder, in order of their paths.
func (d *folder) walk(class string, label int) error {
	root := filepath.Join(d.root, class)
	if target, err := filepath.EvalSymlinks(root); err == nil {
		root = target
	}
	return filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(e.Name(), ".") && p != root
		if e.IsDir() {
			if hidden {
				return filepath.SkipDir
			}
			return nil
		}
		if hidden || !imageExtensions[strings.ToLower(filepath.Ext(p))] {
			return nil
		}
		below, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		d.files = append(d.files, folderFile{path.Join(class, filepath.ToSlash(below)), label})
		return nil
	})
}

// Problems are images that nobody would miss: they have no class, and the leak
// guard doesn't see them.
func (d *folder) Problems() Problems {
	if len(d.loose) == 0 {
		return Problems{}
	}
	return Problems{Count: len(d.loose), First: []string{fmt.Sprintf(
		"images directly in the folder, beside the class folders, have no class (%s); move each into the folder of its class", quoted(d.loose))}}
}

func (d *folder) Len() int          { return len(d.files) }
func (d *folder) Classes() []string { return d.classes }

func (d *folder) describe(i int) (Sample, error) { return d.file(i), nil } //nolint:unparam // describer

func (d *folder) file(i int) Sample {
	f := d.files[i]
	return Sample{Key: f.path, Label: f.label, Class: d.classes[f.label]}
}

func (d *folder) Sample(i int) (Sample, error) {
	s := d.file(i)
	var err error
	s.Image, err = readImage(filepath.Join(d.root, filepath.FromSlash(s.Key)))
	return s, err
}
