package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Values of [Source.Half].
const (
	HalfBase = "base"
	HalfNew  = "new"
)

// maxJSON bounds the JSON files that are read whole; the largest of CoOp's, for
// SUN397, has 4 MB.
const maxJSON = 256 << 20

// coopFolders is where the images of CoOp's data sets lie beside their split
// file (KaiyangZhou/CoOp, DATASETS.md).
var coopFolders = []string{"", "images", "jpg", "101_ObjectCategories", "2750", "SUN397", "UCF-101-midframes"}

// coopItem is [path, label, class name].
type coopItem struct {
	path  string
	label int
	class string
}

func (c *coopItem) UnmarshalJSON(data []byte) error {
	const want = "want [image path, label, class name]"
	var fields []json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil || len(fields) != 3 {
		return errors.New(want)
	}
	if json.Unmarshal(fields[0], &c.path) != nil || json.Unmarshal(fields[2], &c.class) != nil {
		return errors.New(want)
	}
	label := strings.Trim(string(fields[1]), `"`) // some tools write it as a text
	n, err := strconv.Atoi(label)
	if err != nil || n < 0 || n >= maxExpansion {
		return fmt.Errorf("%s isn't a label (0, 1, …)", fields[1])
	}
	c.label = n
	return nil
}

// coopSplits is a split_zhou_<Name>.json.
type coopSplits map[string][]coopItem

// parseCoOp reads the splits and checks each item.
func parseCoOp(data []byte) (coopSplits, error) {
	var lists map[string]json.RawMessage
	if err := json.Unmarshal(data, &lists); err != nil {
		return nil, fmt.Errorf(`want {"train": [[image path, label, class name], …], "val": …, "test": …}: %w`, err)
	}
	splits := coopSplits{}
	for _, name := range slices.Sorted(maps.Keys(lists)) {
		var raw []json.RawMessage
		if err := json.Unmarshal(lists[name], &raw); err != nil {
			return nil, fmt.Errorf("%s: want a list of [image path, label, class name]", name)
		}
		items := make([]coopItem, len(raw))
		for i := range raw {
			if err := items[i].UnmarshalJSON(raw[i]); err != nil {
				return nil, fmt.Errorf("%s[%d]: %w", name, i, err)
			}
			if p := items[i].path; !filepath.IsLocal(filepath.FromSlash(p)) || !utf8.ValidString(p) {
				return nil, fmt.Errorf("%s[%d]: %q isn't a path below the image folder", name, i, p)
			}
			if strings.TrimSpace(items[i].class) == "" {
				return nil, fmt.Errorf("%s[%d]: %s has no class name", name, i, items[i].path)
			}
		}
		splits[name] = items
	}
	return splits, nil
}

// classes are the class names by label, over all splits, so that a split
// without some class keeps the labels of the others.
func (s coopSplits) classes() ([]string, error) {
	named := map[int]string{}
	for _, split := range slices.Sorted(maps.Keys(s)) {
		for i, item := range s[split] {
			if old, ok := named[item.label]; ok && old != item.class {
				return nil, fmt.Errorf("%s[%d]: label %d is %q here and %q before", split, i, item.label, item.class, old)
			}
			named[item.label] = item.class
		}
	}
	return byLabel(named)
}

// byLabel lists class names by label and checks that it can.
func byLabel(named map[int]string) ([]string, error) {
	labels := slices.Sorted(maps.Keys(named))
	classes := make([]string, len(labels))
	seen := map[string]int{}
	for i, label := range labels {
		if label != i {
			return nil, fmt.Errorf("no class has label %d, but there are higher ones; number the classes without gaps", i)
		}
		if old, ok := seen[named[label]]; ok {
			return nil, fmt.Errorf("class %q has the labels %d and %d", named[label], old, label)
		}
		classes[i], seen[named[label]] = named[label], label
	}
	return classes, nil
}

// half gives CoOp's base or new classes: of the labels that occur in train,
// sorted, the first half (rounded up) or the rest (datasets/oxford_pets.py,
// subsample_classes).
func (s coopSplits) half(classes []string, half string) []string {
	labels := map[int]bool{}
	for _, item := range s["train"] {
		labels[item.label] = true
	}
	if len(labels) == 0 {
		for label := range classes {
			labels[label] = true
		}
	}
	sorted := slices.Sorted(maps.Keys(labels))
	m := (len(sorted) + 1) / 2
	if half == HalfBase {
		sorted = sorted[:m]
	} else {
		sorted = sorted[m:]
	}
	chosen := make([]string, len(sorted))
	for i, label := range sorted {
		chosen[i] = classes[label]
	}
	return chosen
}

// coopSplitFiles is the name of CoOp's split files.
const coopSplitFiles = "split_zhou_*.json"

// coopFile finds the split file in a folder.
func coopFile(path string) (string, error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return path, nil //nolint:nilerr // told by the one who reads it
	}
	found, err := filepath.Glob(filepath.Join(globQuote(path), coopSplitFiles))
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", fmt.Errorf("it is a folder without a %s; give the path of CoOp's split file", coopSplitFiles)
	case len(found) > 1:
		return "", fmt.Errorf("it has several split files: %s; give the path of one", quoted(found))
	}
	return found[0], nil
}

func openCoOp(source Source) (_ Dataset, err error) {
	if source.Path, err = coopFile(source.Path); err != nil {
		return nil, err
	}
	data, err := readBounded(source.Path, maxJSON)
	if err != nil {
		return nil, err
	}
	splits, err := parseCoOp(data)
	if err != nil {
		return nil, err
	}
	name, err := chooseSplit(source.Split, slices.Sorted(maps.Keys(splits)))
	if err != nil {
		return nil, err
	}
	items := splits[name]
	if len(items) == 0 {
		return nil, fmt.Errorf("its split %q is empty", name)
	}
	found, err := splits.classes()
	if err != nil {
		return nil, err
	}
	names := found // by the file's labels
	if source.Half != "" {
		found = splits.half(found, source.Half)
	}
	classes, err := chooseClasses(slices.Clone(found), keepOrder(found, source))
	if err != nil {
		return nil, err
	}
	d := &table{root: source.Root, classes: classes}
	if d.root == "" {
		if d.root, err = coopRoot(filepath.Dir(source.Path), items[0].path); err != nil {
			return nil, err
		}
	}
	label := make(map[string]int, len(classes))
	for i, c := range classes {
		label[c] = i
	}
	for _, item := range items {
		class := names[item.label]
		if n, ok := label[class]; ok {
			d.rows = append(d.rows, tableRow{image: item.path, class: class, label: n})
		}
	}
	if len(d.rows) == 0 {
		return nil, fmt.Errorf("its split %q has no images of the %s classes", name, source.Half)
	}
	return d, nil
}

// keepOrder makes classes that are in the order of their labels stay so.
func keepOrder(found []string, source Source) Source {
	if len(source.Classes) == 0 {
		source.Classes = found
	}
	return source
}

// chooseSplit gives the split that is wanted, or the only one.
func chooseSplit(wanted string, splits []string) (string, error) {
	switch {
	case wanted != "" && slices.Contains(splits, wanted):
		return wanted, nil
	case len(splits) == 0:
		return "", errors.New("it has no splits")
	case wanted != "":
		return "", fmt.Errorf("it has no split %q; its splits are %s", wanted, quoted(splits))
	case len(splits) == 1:
		return splits[0], nil
	}
	return "", fmt.Errorf("it has the splits %s; choose one with split (--split, or split in the config)", quoted(splits))
}

// coopRoot finds the image folder beside a split file by its first image.
func coopRoot(dir, image string) (string, error) {
	for _, name := range coopFolders {
		root := filepath.Join(dir, name)
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(image))); err == nil {
			return root, nil
		}
	}
	return "", fmt.Errorf("its image %s is neither below %s nor below a folder there named %s; give the image folder with root (--root, or root in the config)", image, dir, quoted(coopFolders[1:]))
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%d bytes: too large (at most %d)", info.Size(), limit)
	}
	return os.ReadFile(path)
}
