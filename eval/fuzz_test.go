package eval

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
)

// FuzzResult: a result file that is taken has accuracies that can be averaged.
func FuzzResult(f *testing.F) {
	f.Add([]byte(`{"dataset":"test","role":"id","num_images":3,"metrics":{"acc1":0.5,"acc5":null,"mean_per_class_recall":0.25,"ece":0.1},"per_class":{"a":{"n":3,"acc1":1}}}`))
	f.Add([]byte(`{"metrics":{"image_retrieval_recall@1":0.5}}`))
	f.Add([]byte(`{"metrics":{"acc1":1e300}}`))
	path := filepath.Join(f.TempDir(), "result.json")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		if r, err := LoadResult(path); err == nil && (math.IsNaN(r.Main()) || r.Main() < 0 || r.Main() > 1) {
			t.Errorf("took an accuracy of %v", r.Main())
		}
		_, _ = LoadRetrievalResult(path)
	})
}

// FuzzHead: a head that is taken has a row for each class.
func FuzzHead(f *testing.F) {
	path := filepath.Join(f.TempDir(), "head.safetensors")
	h := &Head{Classes: []string{"cat", "dog"}, Dim: 3, Weight: []float32{1, 0, 0, 0, 1, 0}}
	if err := h.Save(path); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		h, err := LoadHead(path)
		if err != nil {
			return
		}
		if len(h.Classes) == 0 || len(h.Weight) != len(h.Classes)*h.Dim {
			t.Errorf("%d classes, %d columns, %d weights", len(h.Classes), h.Dim, len(h.Weight))
		}
	})
}

// FuzzZeroShot: what is taken has prompts that can be filled in, and saves as it
// is.
func FuzzZeroShot(f *testing.F) {
	f.Add([]byte(`{"templates":["a photo of a {}."],"classes":[{"name":"n01440764","prompt":"tench"},{"name":"cat"}]}`))
	f.Add([]byte(`{"templates":["{}"],"classes":[{"name":"a"},{"name":"a"}]}`))
	f.Add([]byte(`{"templates":["a photo"]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(filepath.Join(dir, ZeroShotFile), content, 0o644); err != nil {
			t.Fatal(err)
		}
		z, err := LoadZeroShot(dir)
		if err != nil {
			return
		}
		if len(z.Templates) == 0 || slices.ContainsFunc(z.Templates, func(t string) bool { return CheckTemplate(t) != nil }) {
			t.Errorf("took the prompts %q", z.Templates)
		}
		if classes := z.Covering([]string{""}); classes != nil {
			t.Errorf("a class without a name is among %v", classes)
		}
		if err := z.Save(dir); err != nil {
			t.Fatal(err)
		}
		if again, err := LoadZeroShot(dir); err != nil || !reflect.DeepEqual(again.Templates, z.Templates) || len(again.Classes) != len(z.Classes) {
			t.Errorf("reads back as %+v, %v", again, err)
		}
	})
}
