package suite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"arf/dataset"
	"arf/eval"
)

// openWebDataset opens the test split of a folder in clip_benchmark's layout:
// classes, or captions where dataset_type.txt says retrieval.
func (s *Set) openWebDataset(path string) (suite eval.Suite, captions *eval.Captions, err error) {
	if _, err := beside(path, []string{"test/nshards.txt"}); err != nil {
		return suite, nil, err
	}
	retrieval, err := isRetrieval(path)
	if err != nil {
		return suite, nil, err
	}
	if !retrieval {
		if _, err := beside(path, []string{"classnames.txt"}); err != nil {
			return suite, nil, err
		}
	}
	d, err := dataset.Open(dataset.Source{Type: dataset.WebDataset, Path: path, Split: "test"})
	if err != nil {
		return suite, nil, err
	}
	if retrieval {
		return suite, &eval.Captions{Data: d}, nil
	}
	suite.Data, suite.Classes, suite.ByLabel = d, byLabel(dataset.Classes(d)), true
	suite.Templates = dataset.Templates(d)
	if len(suite.Templates) == 0 && len(s.Templates) == 0 {
		// As clip_benchmark does for data sets that have none of their own.
		suite.Templates, err = Templates("imagenet-80")
	}
	return suite, nil, err
}

func isRetrieval(path string) (bool, error) {
	kind, err := readText(filepath.Join(path, "dataset_type.txt"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return strings.EqualFold(strings.TrimSpace(kind), "retrieval"), err
}

// byLabel makes classes of names of which some may occur twice, as in
// clip_benchmark's imagenet1k: those are told apart by their label.
func byLabel(names []string) []eval.Class {
	n := map[string]int{}
	for _, name := range names {
		n[name]++
	}
	classes := make([]eval.Class, len(names))
	for label, name := range names {
		classes[label].Name = name
		if n[name] > 1 {
			classes[label] = eval.Class{Name: fmt.Sprintf("%s (%d)", name, label), Prompt: name}
		}
	}
	return classes
}

// discover finds the folders that the suite's pattern names.
func (s *Suite) discover(root string) ([]Set, error) {
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	var sets []Set
	for _, e := range entries {
		name := e.Name()
		if ok, err := filepath.Match(s.Discover, name); err != nil || !ok {
			continue
		}
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || !info.IsDir() {
			continue
		}
		set := Set{
			Name: strings.TrimPrefix(name, "wds_"), Title: name, Role: "zero-shot", Kind: WebDataset, Paths: []string{name},
			Templates: s.Templates, Metric: eval.Acc1, Layout: WebDatasetLayout,
		}
		if m, ok := s.Metrics[name]; ok {
			set.Metric = m
		}
		sets = append(sets, set)
	}
	if len(sets) == 0 {
		sets = []Set{{Name: strings.TrimSuffix(s.Discover, "_*"), Title: s.Title, Role: "zero-shot", Kind: WebDataset, Paths: []string{s.Discover}, Layout: WebDatasetLayout}}
	}
	return sets, nil
}

// WebDatasetLayout is clip_benchmark's, in words.
const WebDatasetLayout = "test/nshards.txt, test/0.tar …, classnames.txt, zeroshot_classification_templates.txt; for captions dataset_type.txt"
