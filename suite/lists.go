package suite

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"arf/dataset"
	"arf/eval"
)

// maxList bounds the lists that are read; DomainNet's longest has 6 MB.
const maxList = 64 << 20

// openList opens a domain of DomainNet by its test list, whose lines are
// "<domain>/<class>/<image> <label>". Classes are matched by the folder's name,
// and its label is checked.
func (s *Set) openList(folder string) (suite eval.Suite, err error) {
	root := filepath.Dir(folder)
	list, err := beside(root, s.Lists)
	if err != nil {
		return suite, err
	}
	if suite.Classes, suite.ClassMask, err = s.classes(); err != nil {
		return suite, err
	}
	names := make([]string, len(suite.Classes))
	label := map[string]int{}
	for i, c := range suite.Classes {
		names[i], label[c.Name] = c.Name, i
	}
	text, err := readText(list)
	if err != nil {
		return suite, err
	}
	items, err := parseList(text, label)
	if err != nil {
		return suite, fmt.Errorf("%s: %w", list, err)
	}
	suite.Data = dataset.List(root, items, names)
	return suite, nil
}

func parseList(text string, label map[string]int) ([]dataset.Item, error) {
	var items []dataset.Item
	number := 0
	for line := range strings.Lines(text) {
		number++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		file, n, ok := cutLast(line)
		class := path.Base(path.Dir(file))
		want, known := label[class]
		got, err := strconv.Atoi(n)
		switch {
		case !ok || err != nil:
			return nil, fmt.Errorf("line %d: want \"<domain>/<class>/<image> <label>\", got %q", number, line)
		case !filepath.IsLocal(filepath.FromSlash(file)):
			return nil, fmt.Errorf("line %d: %q isn't a path below the list's folder", number, file)
		case !known:
			return nil, fmt.Errorf("line %d: %q isn't among DomainNet's %d classes", number, class, len(label))
		case got != want:
			return nil, fmt.Errorf("line %d: %s has label %d, but is number %d of the %d classes; DomainNet's numbering is fixed (the class names sorted as in its archives): take the list of the archive as it is, or arf eval --data for a test set of your own", number, class, got, want, len(label))
		}
		items = append(items, dataset.Item{Path: file, Class: class})
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("it lists no images")
	}
	return items, nil
}

// cutLast cuts at the last space.
func cutLast(line string) (before, after string, ok bool) {
	i := strings.LastIndexByte(line, ' ')
	if i < 0 {
		return "", "", false
	}
	return strings.TrimSpace(line[:i]), line[i+1:], true
}

// openAircraft opens FGVC-Aircraft by its test list, whose lines are
// "<image> <variant>"; variants.txt has the classes by label.
func (s *Set) openAircraft(list string) (suite eval.Suite, err error) {
	dir := filepath.Dir(list)
	variants, err := beside(dir, []string{"variants.txt"})
	if err != nil {
		return suite, err
	}
	images, err := beside(dir, []string{s.Root})
	if err != nil {
		return suite, err
	}
	text, err := readText(variants)
	if err != nil {
		return suite, err
	}
	var names []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			names = append(names, line)
		}
	}
	if text, err = readText(list); err != nil {
		return suite, err
	}
	items, err := parseAircraft(text, names)
	if err != nil {
		return suite, fmt.Errorf("%s: %w", list, err)
	}
	suite.Data, suite.Classes = dataset.List(images, items, names), spoken(names, s.Rename)
	return suite, nil
}

func parseAircraft(text string, variants []string) ([]dataset.Item, error) {
	var items []dataset.Item
	number := 0
	for line := range strings.Lines(text) {
		number++
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		image, variant, _ := strings.Cut(line, " ")
		switch {
		case !slices.Contains(variants, variant):
			return nil, fmt.Errorf("line %d: %q isn't among the %d of variants.txt", number, variant, len(variants))
		case !filepath.IsLocal(image):
			return nil, fmt.Errorf("line %d: %q isn't an image's name", number, image)
		}
		items = append(items, dataset.Item{Path: image + ".jpg", Class: variant})
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("it lists no images")
	}
	return items, nil
}

// readText reads a list of bounded size.
func readText(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxList {
		return "", fmt.Errorf("%s: want a text file of at most %d MB", path, maxList>>20)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(text) {
		return "", fmt.Errorf("%s: not UTF-8", path)
	}
	return strings.TrimPrefix(string(text), "\uFEFF"), nil
}
