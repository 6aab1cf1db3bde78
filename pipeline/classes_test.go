package pipeline

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/anchor"
	"arf/config"
	"arf/dataset"
	"arf/eval"
	"arf/internal/cliptest"
)

// Folders named by ids, with names in data.classes, give what folders of those
// names give: prompts, heads and anchors have the names, results the ids.
func TestNamesInPrompts(t *testing.T) {
	dir := prepare(t)
	const methods = "methods=[zeroshot, ft, flyp, flyp+random-matched]"
	if err := Run(context.Background(), load(t, dir, methods), Evaluate, Options{}); err != nil {
		t.Fatal(err)
	}
	colors := slices.Sorted(slices.Values(cliptest.Colors[:3]))
	var lines []string
	for i, color := range colors {
		id := fmt.Sprintf("id_%d", i)
		lines = append(lines, id+"\t"+color)
		for _, set := range []string{"train", "validation", "test"} {
			if err := os.Rename(filepath.Join(dir, set, color), filepath.Join(dir, set, id)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write(t, filepath.Join(dir, "classes.txt"), []byte(strings.Join(lines, "\n")))
	if err := Run(context.Background(), load(t, dir, methods, "name=ids", "data.classes="+filepath.Join(dir, "classes.txt")), Evaluate, Options{}); err != nil {
		t.Fatal(err)
	}

	for _, method := range []string{"zeroshot", "ft", "flyp"} {
		var results [2]*eval.Result
		for i, run := range []string{"run", "ids"} {
			var err error
			if results[i], err = eval.LoadResult(filepath.Join(dir, "runs", run, "eval", method, "seed-0", "test.json")); err != nil {
				t.Fatal(err)
			}
		}
		named, ids := results[0], results[1]
		if named.Metrics.ECE != ids.Metrics.ECE || named.Metrics.Acc1 != ids.Metrics.Acc1 || named.Head != ids.Head {
			t.Errorf("%s: %+v with a %s head, by ids %+v with a %s head", method, named.Metrics, named.Head, ids.Metrics, ids.Head)
		}
		for i, color := range colors {
			if got := ids.PerClass[fmt.Sprintf("id_%d", i)]; got.Prompt != color || got.N != named.PerClass[color].N {
				t.Errorf("%s: class %d is %+v", method, i, got)
			}
		}
		if method == "zeroshot" {
			continue
		}
		if a, b := losses(t, filepath.Join(dir, "runs/run/train", method)), losses(t, filepath.Join(dir, "runs/ids/train", method)); !slices.Equal(a, b) {
			t.Errorf("%s: losses %v, by ids %v", method, a, b)
		}
	}
	pairs, err := anchor.ReadPairs(filepath.Join(dir, "runs/ids/anchors/pairs-random-matched.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	if len(pairs) == 0 || slices.ContainsFunc(pairs, func(p anchor.Pair) bool { return !slices.Contains(colors, p.QueryClass) }) {
		t.Errorf("%d pairs, some of a class by id", len(pairs))
	}
}

// Captions and pairs go by keys.
func TestImagesOfOneKeyAreRefused(t *testing.T) {
	dir := prepare(t)
	for i, name := range []string{"a.tar", "b.tar"} {
		pairs(t, filepath.Join(dir, name), uint64(i), 2)
	}
	for path, want := range map[string]bool{"{a,b}.tar": true, "a.tar::DIR/b.tar": false, "a.tar": false} {
		set, err := dataset.Open(dataset.Source{Path: filepath.Join(dir, strings.ReplaceAll(path, "DIR", dir))})
		if err != nil {
			t.Fatal(err)
		}
		if err := checkKeys(set); (err != nil) != want {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// losses are those of every step.
func losses(t *testing.T, dir string) []float64 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "seed-0", "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var out []float64
	for line := range strings.Lines(string(data)) {
		var m struct {
			Loss *float64 `json:"loss"`
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.Loss == nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, *m.Loss)
	}
	return out
}

// Labels of a test set without names are numbers of the finetune classes.
func TestLabelsOfTheFinetuneClasses(t *testing.T) {
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	for _, f := range []struct{ name, text string }{{"a.png", string(cliptest.Picture(t, "red", "disc", 1))}, {"a.cls", "1"}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "test.tar")
	write(t, path, content.Bytes())
	cfg := config.Default()
	test, err := openSuite(t.Context(), &cfg, config.Suite{Name: "test", Role: config.RoleShift, Source: config.Source{Path: path}}, eval.Classes("cat", "dog"))
	if err != nil {
		t.Fatal(err)
	}
	if s, err := dataset.Describe(test.Data, 0); err != nil || s.Class != "dog" {
		t.Errorf("%+v, %v", s, err)
	}
}
