package dataset

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// benchmarkTree is a folder as clip_benchmark_export_wds writes it, with more
// tars than sort by name.
func benchmarkTree(t testing.TB, more map[string]string) string {
	t.Helper()
	files := map[string]string{
		"classnames.txt":                        "maine_coon\nFaces_easy\nsea horse\n",
		"zeroshot_classification_templates.txt": "a photo of a {c}.\nart of the {c}.\n",
		"test/nshards.txt":                      "11\n",
		"train/nshards.txt":                     "1\n",
		"train/0.tar":                           string(tarOf(t, entry{"s0000000.cls", "1", 0}, entry{"s0000000.webp", "T", 0})),
	}
	for i := range 11 {
		key := fmt.Sprintf("s%07d", i)
		files[fmt.Sprintf("test/%d.tar", i)] = string(tarOf(t, entry{key + ".cls", fmt.Sprint(i % 3), 0}, entry{key + []string{".webp", ".png", ".jpg"}[i%3], fmt.Sprint(i), 0}))
	}
	maps.Copy(files, more)
	for name, content := range files {
		if content == "" {
			delete(files, name)
		}
	}
	return tree(t, files)
}

func TestBenchmark(t *testing.T) {
	root := benchmarkTree(t, nil)
	classes := []string{"maine_coon", "Faces_easy", "sea horse"}
	for _, source := range []Source{
		{Path: root, Split: "test"}, {Path: filepath.Join(root, "test")}, {Path: root, Split: "test", Classes: classes, Type: WebDataset},
	} {
		d := open(t, source)
		var want []string
		for i := range 11 {
			want = append(want, fmt.Sprintf("s%07d:%d:%s", i, i%3, classes[i%3]))
		}
		if got := keys(t, d); !slices.Equal(got, want) {
			t.Errorf("%+v: %q", source, got)
		}
		if s, err := d.Sample(10); err != nil || string(s.Image) != "10" {
			t.Errorf("%+v, %v", s, err)
		}
		if !slices.Equal(Classes(d), classes) || !slices.Equal(Templates(d), []string{"a photo of a {}.", "art of the {}."}) {
			t.Errorf("%q, %q", Classes(d), Templates(d))
		}
		half, err := Half(d, HalfNew)
		if err != nil || !slices.Equal(Classes(half), classes[2:]) || half.Len() != 3 || len(Templates(half)) != 2 {
			t.Fatalf("%v, %v", half, err)
		}
		if got := keys(t, half); got[1] != "s0000005:0:sea horse" {
			t.Errorf("%q", got)
		}
	}
	if got := keys(t, open(t, Source{Path: root, Split: "train"})); !slices.Equal(got, []string{"s0000000:1:Faces_easy"}) {
		t.Errorf("%q", got)
	}
	if d := open(t, Source{Path: root, Split: "test", Half: HalfBase}); d.Len() != 8 {
		t.Errorf("%q", keys(t, d))
	}
	// Names that are there twice, as "missile" is in ImageNet's list: labels
	// tell the classes apart.
	d := open(t, Source{Path: benchmarkTree(t, map[string]string{"classnames.txt": "missile\r\nother\r\nmissile\r\n\r\n"}), Split: "test"})
	if got := keys(t, d); got[0] != "s0000000:0:missile" || got[2] != "s0000002:2:missile" {
		t.Errorf("%q", got)
	}
	// Tars that nshards.txt doesn't count.
	d = open(t, Source{Path: benchmarkTree(t, map[string]string{"test/nshards.txt": "2"}), Split: "test"})
	if p := ProblemsOf(d); d.Len() != 2 || p.Count != 9 || !strings.Contains(p.First[0], "nshards.txt") {
		t.Errorf("%d samples, %+v", d.Len(), p)
	}
}

func TestBenchmarkRetrieval(t *testing.T) {
	d := open(t, Source{Path: tree(t, map[string]string{
		"dataset_type.txt": "retrieval\n", "test/nshards.txt": "1",
		"test/0.tar": string(tarOf(t, entry{"s0.jpg", "A", 0}, entry{"s0.txt", "a cat\na kitten \n\nit sits", 0})),
	})})
	s, err := d.Sample(0)
	if err != nil || !slices.Equal(s.Texts, []string{"a cat", "a kitten", "it sits"}) || s.Text != "a cat" || Classes(d) != nil {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestBenchmarkErrors(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string
		source Source
		want   []string
	}{
		"no split":       {nil, Source{}, []string{`"test", "train"`, "split"}},
		"unknown split":  {nil, Source{Split: "val"}, []string{`"val"`, `"test", "train"`}},
		"count":          {map[string]string{"test/nshards.txt": "many"}, Source{Split: "test"}, []string{"nshards.txt", `"many"`}},
		"missing tars":   {map[string]string{"test/nshards.txt": "13"}, Source{Split: "test"}, []string{"nshards.txt", `"11.tar", "12.tar"`}},
		"multilabel":     {map[string]string{"dataset_type.txt": "multilabel"}, Source{Split: "test"}, []string{"dataset_type.txt", "multilabel"}},
		"empty line":     {map[string]string{"classnames.txt": "a\n\nb\n"}, Source{Split: "test"}, []string{"classnames.txt", "line 2"}},
		"no names":       {map[string]string{"classnames.txt": "\n"}, Source{Split: "test"}, []string{"classnames.txt", "empty"}},
		"bytes":          {map[string]string{"classnames.txt": "a\n\xff\n"}, Source{Split: "test"}, []string{"classnames.txt", "UTF-8"}},
		"template":       {map[string]string{"zeroshot_classification_templates.txt": "a {c}.\na photo\n"}, Source{Split: "test"}, []string{"line 2", `"a photo"`, "{c}"}},
		"other classes":  {nil, Source{Split: "test", Classes: []string{"x"}}, []string{"classnames.txt", "3 classes"}},
		"split of plain": {nil, Source{Path: "train/0.tar", Split: "test"}, []string{`"test"`, "nshards.txt"}},
	} {
		c.source.Path = filepath.Join(benchmarkTree(t, c.files), c.source.Path)
		_, err := Open(c.source)
		wantError(t, name, err, c.want...)
	}
	// A label without a class name: left out, it would be missing from the accuracy.
	_, err := Open(Source{Path: benchmarkTree(t, map[string]string{"classnames.txt": "one\ntwo\n"}), Split: "test"})
	wantError(t, "label", err, "3 of 11 samples", "s0000002", "label 2", "2 classes", "classnames.txt")
}

// TestWebDatasetClasses: labels and names that contradict each other.
func TestWebDatasetClasses(t *testing.T) {
	source := func(second string) Source {
		path := filepath.Join(tree(t, map[string]string{"x.tar": string(tarOf(t,
			entry{"a.jpg", "A", 0}, entry{"a.json", `{"class":"dog"}`, 0},
			entry{"b.jpg", "B", 0}, entry{"b.json", second, 0}))}), "x.tar")
		return Source{Path: path, Classes: []string{"cat", "dog"}}
	}
	d := open(t, source(`{}`))
	if s, err := d.Sample(0); err != nil || s.Label != 1 {
		t.Errorf("%+v, %v", s, err)
	}
	_, err := Open(source(`{"class":"dog","label":0}`))
	wantError(t, "contradiction", err, "x.tar: b", `"dog"`, "label 0", `"cat"`)
	_, err = Open(source(`{"class":"yak"}`))
	wantError(t, "unknown", err, "x.tar: b", `"yak"`, "2 classes")
}

func FuzzLines(f *testing.F) {
	f.Add("a\nb\n")
	f.Add("\uFEFFa\r\n b \r\n\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		lines, err := parseLines(text)
		if err != nil {
			return
		}
		if len(lines) == 0 || len(lines) > strings.Count(text, "\n")+1 {
			t.Errorf("%d lines", len(lines))
		}
		for _, l := range lines {
			if l == "" || strings.Contains(l, "\n") {
				t.Errorf("line %q", l)
			}
		}
	})
}
