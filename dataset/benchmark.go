package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Files of clip_benchmark's webdataset folders (CLIP_benchmark,
// datasets/builder.py, build_wds_dataset):
//
//	<root>/<split>/nshards.txt, 0.tar, 1.tar …
//	<root>/classnames.txt, zeroshot_classification_templates.txt, dataset_type.txt
const (
	shardCount        = "nshards.txt"
	classNamesFile    = "classnames.txt"
	templatesFile     = "zeroshot_classification_templates.txt"
	benchmarkTypeFile = "dataset_type.txt"
)

// benchmark reads the layout's files, if path is such a root or one of its
// splits, and gives the split's tars.
func (d *webDataset) benchmark(source Source) (tars []string, ok bool, err error) {
	root, split := source.Path, source.Split
	if _, err := os.Stat(filepath.Join(root, shardCount)); err == nil && split == "" {
		clean, err := filepath.Abs(root)
		if err != nil {
			return nil, false, err
		}
		root, split = filepath.Split(clean)
	} else {
		counts, err := filepath.Glob(filepath.Join(globQuote(root), "*", shardCount))
		if err != nil || len(counts) == 0 {
			return nil, false, err
		}
		var splits []string
		for _, path := range counts {
			splits = append(splits, filepath.Base(filepath.Dir(path)))
		}
		if split, err = chooseSplit(split, splits); err != nil {
			return nil, false, err
		}
	}
	if err := d.describeBenchmark(root, source); err != nil {
		return nil, false, err
	}
	tars, err = d.benchmarkTars(filepath.Join(root, split))
	return tars, true, err
}

// benchmarkTars lists the tars in the order of their numbers.
func (d *webDataset) benchmarkTars(dir string) ([]string, error) {
	path := filepath.Join(dir, shardCount)
	data, err := readBounded(path, 1<<10)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || n < 1 || n > maxExpansion {
		return nil, fmt.Errorf("%s: %q isn't a number of tars", path, clip(data))
	}
	var tars, missing []string
	wanted := make(map[string]bool, n)
	for i := range n {
		name := strconv.Itoa(i) + ".tar"
		wanted[name] = true
		tar := filepath.Join(dir, name)
		if _, err := os.Stat(tar); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, name)
			continue
		}
		tars = append(tars, tar)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s says %d tars, but %s are missing", path, n, quoted(missing))
	}
	found, err := filepath.Glob(filepath.Join(globQuote(dir), "*.tar"))
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if !wanted[filepath.Base(f)] {
			d.problems.add("%s: left out, since %s says %d tars", f, shardCount, n)
		}
	}
	return tars, nil
}

// describeBenchmark reads what lies beside the splits.
func (d *webDataset) describeBenchmark(root string, source Source) error {
	kind := ""
	if data, err := readBounded(filepath.Join(root, benchmarkTypeFile), 1<<10); err == nil {
		kind = strings.ToLower(strings.TrimSpace(string(data)))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch kind {
	case "", "classification":
	case "retrieval":
		d.lines = true
		return nil
	default:
		return fmt.Errorf("%s: %q data can't be read; only classification (one label an image) and retrieval", filepath.Join(root, benchmarkTypeFile), kind)
	}
	names, err := readLines(filepath.Join(root, classNamesFile))
	if err != nil {
		return err
	}
	if len(names) > 0 {
		if len(source.Classes) > 0 && !slices.Equal(source.Classes, names) {
			return fmt.Errorf("its labels are numbers of the %d classes in %s, which aren't the %d expected", len(names), classNamesFile, len(source.Classes))
		}
		d.classes = names
	}
	if d.templates, err = readLines(filepath.Join(root, templatesFile)); err != nil {
		return err
	}
	for i, t := range d.templates {
		if d.templates[i] = strings.ReplaceAll(t, "{c}", "{}"); !strings.Contains(d.templates[i], "{}") {
			return fmt.Errorf("%s, line %d: %q has no {c} for the class name", filepath.Join(root, templatesFile), i+1, t)
		}
	}
	return nil
}

// readLines reads a file with an item on each line; nil if there is no file.
func readLines(path string) ([]string, error) {
	data, err := readBounded(path, maxJSON)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		var lines []string
		if lines, err = parseLines(string(data)); err == nil {
			return lines, nil
		}
	}
	return nil, fmt.Errorf("%s: %w", path, err)
}

// parseLines splits a text into trimmed lines. A line's number is its item's,
// so that there may be empty ones only at the end.
func parseLines(text string) ([]string, error) {
	text = strings.TrimRight(strings.TrimPrefix(text, "\uFEFF"), " \t\r\n")
	if text == "" {
		return nil, errors.New("it is empty")
	}
	if !utf8.ValidString(text) {
		return nil, errors.New("not UTF-8")
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		if lines[i] = strings.TrimSpace(l); lines[i] == "" {
			return nil, fmt.Errorf("line %d is empty", i+1)
		}
	}
	return lines, nil
}

// captionLines are the captions of a retrieval sample, one a line.
func captionLines(text string) []string {
	var captions []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			captions = append(captions, line)
		}
	}
	return captions
}
