package suite

import (
	"path/filepath"

	"arf/dataset"
	"arf/eval"
)

// openCoOp opens the test split of a split_zhou_<Name>.json. Its classes are
// those of all splits, so that one without test images competes too.
func (s *Set) openCoOp(path string) (suite eval.Suite, half func(string) ([]string, error), err error) {
	dir := filepath.Dir(path)
	source := dataset.Source{Type: dataset.CoOp, Path: path, Split: "test", Root: dir}
	if s.Root != "" {
		if source.Root, err = beside(dir, []string{s.Root}); err != nil {
			return suite, nil, err
		}
	}
	if suite.Data, err = dataset.Open(source); err != nil {
		return suite, nil, err
	}
	suite.Classes = spoken(dataset.Classes(suite.Data), s.Rename)
	half = func(half string) ([]string, error) {
		source.Half = half
		d, err := dataset.Open(source)
		if err != nil {
			return nil, err
		}
		return dataset.Classes(d), nil
	}
	return suite, half, nil
}
