package eval

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"arf/internal/atomicfile"
)

// Confusion is an entry of the confusion matrix off its diagonal: N images of
// Class were taken for Predicted.
type Confusion struct {
	Class, Predicted string
	N                int
}

// confusions lists the mistakes, the most frequent first, then in the classes'
// order.
func (t *tally) confusions(classes []Class) []Confusion {
	all := make([]mistake, 0, len(t.mistakes))
	for m := range t.mistakes {
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b mistake) int {
		return cmp.Or(cmp.Compare(t.mistakes[b], t.mistakes[a]), cmp.Compare(a.class, b.class), cmp.Compare(a.predicted, b.predicted))
	})
	out := make([]Confusion, len(all))
	for i, m := range all {
		out[i] = Confusion{classes[m.class].Name, classes[m.predicted].Name, t.mistakes[m]}
	}
	return out
}

// SaveConfusions writes the confusion matrix as CSV (class, predicted, n), one
// line for each pair of classes that occurs, atomically: each class's own line
// first, then the mistakes, the most frequent first.
func (r *Result) SaveConfusions(path string) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	lines := [][]string{{"class", "predicted", "n"}}
	wrong := map[string]int{}
	for _, c := range r.Confusions {
		wrong[c.Class] += c.N
	}
	names := make([]string, 0, len(r.PerClass))
	for name := range r.PerClass {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if right := r.PerClass[name].N - wrong[name]; right > 0 {
			lines = append(lines, []string{name, name, strconv.Itoa(right)})
		}
	}
	for _, c := range r.Confusions {
		lines = append(lines, []string{c.Class, c.Predicted, strconv.Itoa(c.N)})
	}
	if err := w.WriteAll(lines); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := atomicfile.Write(path, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// LoadConfusions reads the mistakes that SaveConfusions wrote.
func LoadConfusions(path string) ([]Confusion, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.FieldsPerRecord = 3
	lines, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var out []Confusion
	for i, line := range lines {
		if i == 0 || line[0] == line[1] {
			continue
		}
		n, err := strconv.Atoi(line[2])
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %q isn't a number", path, i+1, line[2])
		}
		out = append(out, Confusion{line[0], line[1], n})
	}
	return out, nil
}
