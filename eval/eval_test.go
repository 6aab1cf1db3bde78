package eval

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"arf/clip"
	"arf/dataset"
	"arf/internal/cliptest"
	"arf/internal/disttest"
	"arf/torch"
)

// Small tensors gain nothing from threads, and lose much on a busy machine.
func TestMain(m *testing.M) {
	if err := torch.Load(); err == nil {
		torch.SetThreads(1)
	}
	disttest.Main(map[string]disttest.Worker{"measures": shareMeasures, "each its own": eachOwn})
	os.Exit(m.Run())
}

func shapes(t *testing.T, n int, first uint64, names ...string) dataset.Dataset {
	t.Helper()
	dir := t.TempDir()
	cliptest.Folder(t, dir, names, n, first)
	return openData(t, dir)
}

func openData(t *testing.T, path string) dataset.Dataset {
	t.Helper()
	d, err := dataset.Open(dataset.Source{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var templates = []string{"a photo of a {}.", "a drawing of the {}.", "{}"}

func TestHeadIsTheNormalisedMeanOfNormalisedFeatures(t *testing.T) {
	m := cliptest.Model(t, 1)
	classes := []Class{{Name: "disc", Synonyms: []string{"ring"}}, {Name: "bar"}}
	h, err := ZeroShotHead(t.Context(), m, classes, templates, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, prompts := range [][]string{
		{"a photo of a disc.", "a drawing of the disc.", "disc", "a photo of a ring.", "a drawing of the ring.", "ring"},
		{"a photo of a bar.", "a drawing of the bar.", "bar"},
	} {
		f, err := m.TextFeatures(t.Context(), prompts, 0)
		if err != nil {
			t.Fatal(err)
		}
		mean := make([]float64, h.Dim)
		for j, v := range f {
			mean[j%h.Dim] += float64(v)
		}
		norm, length := 0.0, 0.0
		for _, v := range mean {
			norm += v * v
		}
		for j, v := range h.Weight[i*h.Dim : (i+1)*h.Dim] {
			length += float64(v) * float64(v)
			if math.Abs(float64(v)-mean[j]/math.Sqrt(norm)) > 1e-5 {
				t.Fatalf("class %d, column %d: %v, want %v", i, j, v, mean[j]/math.Sqrt(norm))
			}
		}
		if math.Abs(length-1) > 1e-5 {
			t.Errorf("row %d has the squared length %v", i, length)
		}
	}
}

func TestHeadRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "head.safetensors")
	want := &Head{Classes: []string{"b", "a, \"c\""}, Dim: 3, Weight: []float32{1, 2, 3, -4, 5.5, 6}}
	if err := want.Save(path); err != nil {
		t.Fatal(err)
	}
	got, err := LoadHead(path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Classes, want.Classes) || got.Dim != 3 || !slices.Equal(got.Weight, want.Weight) {
		t.Errorf("%+v", got)
	}
	if err := (&Head{Classes: []string{"a"}, Dim: 3, Weight: []float32{1}}).Save(path); err == nil {
		t.Error("a head of the wrong size is saved")
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadHead(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("damaged head: %v", err)
	}
}

// Every image one by one, with the logits worked out here.
func TestEvaluateEqualsOneByOne(t *testing.T) {
	m := cliptest.Model(t, 5)
	data := shapes(t, 9, 0, "disc", "bar", "ring")
	names := []string{"square", "ring", "disc", "cross", "bar"} // neither the folder's order nor its classes only
	r, err := Evaluate(t.Context(), m, Suite{Name: "id", Role: "id", Data: data, Classes: Classes(names...), Templates: templates}, Options{BatchSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	head, err := ZeroShotHead(t.Context(), m, Classes(names...), templates, 0)
	if err != nil {
		t.Fatal(err)
	}
	right, n := map[string]int{}, map[string]int{}
	for i := range data.Len() {
		s, err := data.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		pixels, err := m.Preprocess.Eval(s.Image)
		if err != nil {
			t.Fatal(err)
		}
		f, err := m.ImageFeatures(t.Context(), pixels, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		best, at := math.Inf(-1), 0
		for c := range names {
			dot := 0.0
			for d, v := range f {
				dot += float64(v) * float64(head.Weight[c*head.Dim+d])
			}
			if dot > best {
				best, at = dot, c
			}
		}
		n[s.Class]++
		if names[at] == s.Class {
			right[s.Class]++
		}
	}
	total := 0
	for _, name := range names {
		got := r.PerClass[name]
		if got.N != n[name] || (got.N == 0) != (got.Acc1 == nil) {
			t.Errorf("%s: %+v, want n %d", name, got, n[name])
		}
		if got.N > 0 {
			nearly(t, name, *got.Acc1, float64(right[name])/float64(n[name]))
		}
		total += right[name]
	}
	if total == 0 || total == 27 {
		t.Errorf("%d of 27 right: this tests nothing; take another seed", total)
	}
	nearly(t, "acc1", r.Metrics.Acc1, float64(total)/27)
	nearly(t, "acc5", *r.Metrics.Acc5, 1)
	if r.Images != 27 || r.Classes != 5 || r.Head != "text" || r.Activation != "gelu" || r.ClassMask != nil {
		t.Errorf("%+v", r)
	}
}

func TestResultIsStrictJSON(t *testing.T) {
	m := cliptest.Model(t, 3)
	data := shapes(t, 2, 0, "disc")
	r, err := Evaluate(t.Context(), m, Suite{Name: "one", Role: "shift", Data: data, Classes: Classes("disc", "bar"), Templates: templates}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	alone, err := json.Marshal(r)
	if err != nil || strings.Contains(string(alone), `"seed"`) || strings.Contains(string(alone), `"method"`) {
		t.Errorf("a model by itself has a method or seed: %s, %v", alone, err)
	}
	r.Method = "flyp"
	path := filepath.Join(t.TempDir(), "flyp", "seed-0", "one.json")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	data2, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(data2, &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"dataset", "model", "pretrained", "task", "metrics", "language", "num_images", "num_classes", "class_mask", "templates", "activation", "standard_error", "role", "per_class", "method", "seed"} {
		if _, ok := got[key]; !ok {
			t.Errorf("no key %s in %s", key, data2)
		}
	}
	if bar := got["per_class"].(map[string]any)["bar"].(map[string]any); bar["n"] != 0.0 || bar["acc1"] != nil {
		t.Errorf("class without images: %v", bar)
	}
	if _, ok := got["alpha"]; ok {
		t.Error("alpha outside WiSE-FT")
	}
}

func TestClassMask(t *testing.T) {
	m := cliptest.Model(t, 3)
	data := shapes(t, 6, 0, "disc", "bar", "ring", "square")
	all := Suite{Name: "s", Data: data, Classes: Classes("bar", "cross", "disc", "ring"), Templates: templates}
	if _, err := Evaluate(t.Context(), m, all, Options{}); err == nil || !strings.Contains(err.Error(), `"square"`) {
		t.Errorf("an image of an unknown class: %v", err)
	}
	masked := all
	masked.ClassMask = []string{"ring", "disc"}
	r, err := Evaluate(t.Context(), m, masked, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Images != 12 || r.LeftOut != 12 || r.Classes != 2 || len(r.PerClass) != 2 || !slices.Equal(r.ClassMask, masked.ClassMask) {
		t.Errorf("%+v", r)
	}
	two := Suite{Name: "two", Data: shapes(t, 6, 0, "disc", "ring"), Classes: Classes("disc", "ring"), Templates: templates}
	same, err := Evaluate(t.Context(), m, two, Options{})
	if err != nil {
		t.Fatal(err)
	}
	nearly(t, "masked accuracy", r.Metrics.Acc1, same.Metrics.Acc1)
	nearly(t, "masked ECE", r.Metrics.ECE, same.Metrics.ECE)
	if present := Present(data); !slices.Equal(present, []string{"bar", "disc", "ring", "square"}) {
		t.Errorf("present: %v", present)
	}
}

func TestSuitesThatCannotBe(t *testing.T) {
	data := shapes(t, 1, 0, "disc")
	good := Suite{Name: "name", Data: data, Classes: Classes("disc", "bar", "ring"), Templates: templates}
	for _, c := range []struct {
		change func(*Suite)
		want   string
	}{
		{func(s *Suite) { s.Data = nil }, "no images"},
		{func(s *Suite) { s.Templates = nil }, "no templates"},
		{func(s *Suite) { s.Templates = []string{"a photo"} }, "{}"},
		{func(s *Suite) { s.Classes = Classes("disc", "disc") }, "twice"},
		{func(s *Suite) { s.Classes = Classes("disc", " ") }, "empty name"},
		{func(s *Suite) { s.Classes = nil }, "no classes"},
		{func(s *Suite) { s.ClassMask = []string{"disk"} }, `"disk"`},
		{func(s *Suite) { s.ClassMask = []string{} }, "no classes"},
		{func(s *Suite) { s.ClassMask = []string{"bar", "ring"} }, "no image"},
		{func(s *Suite) { s.Classes = Classes("disc") }, `only the class "disc"`},
		{func(s *Suite) { s.Templates = []string{"a {} and a {}"} }, "needs {} once"},
	} {
		s := good
		c.change(&s)
		_, err := New([]Suite{s}, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "suite name") {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if _, err := New([]Suite{good}, Options{}); err != nil {
		t.Error(err)
	}
}

// reads counts the images that are read from disk.
type reads struct {
	dataset.Dataset
	n *atomic.Int32
}

func (r reads) Sample(i int) (dataset.Sample, error) {
	r.n.Add(1)
	return r.Dataset.Sample(i)
}

func TestOnePassADatasetAndCache(t *testing.T) {
	m := cliptest.Model(t, 3)
	// Without labels of its own, Describe would read images of the wrapper too;
	// what counts is the passes after New.
	data := reads{shapes(t, 5, 0, "disc", "bar"), new(atomic.Int32)}
	suites := []Suite{
		{Name: "all", Data: data, Classes: Classes("disc", "bar", "ring"), Templates: templates},
		{Name: "mask", Data: data, Classes: Classes("disc", "bar", "ring"), Templates: templates[:1], ClassMask: []string{"disc", "ring"}},
		{Name: "other", Data: shapes(t, 3, 0, "ring"), Classes: Classes("ring", "bar"), Templates: templates},
	}
	last, total := 0, 0
	e, err := New(suites, Options{CacheBytes: 1 << 20, Progress: func(done, of int) { last, total = done, of }})
	if err != nil {
		t.Fatal(err)
	}
	data.n.Store(0)
	first, err := e.Evaluate(t.Context(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := data.n.Load(); n != 10 {
		t.Errorf("10 images were read %d times for two suites", n)
	}
	if last != 13 || total != 13 {
		t.Errorf("progress ended at %d of %d", last, total)
	}
	if first[0].Images != 10 || first[1].Images != 5 || first[1].LeftOut != 5 || first[2].Images != 3 {
		t.Errorf("%d, %d, %d images", first[0].Images, first[1].Images, first[2].Images)
	}
	for i, s := range suites {
		alone, err := Evaluate(t.Context(), m, s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		nearly(t, s.Name, first[i].Metrics.Acc1, alone.Metrics.Acc1)
		if first[i].Dataset != s.Name {
			t.Errorf("result %d is of %s", i, first[i].Dataset)
		}
	}
	data.n.Store(0)
	second, err := e.Evaluate(t.Context(), cliptest.Model(t, 4), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := data.n.Load(); n != 0 {
		t.Errorf("the next model read %d images again", n)
	}
	if slices.EqualFunc(first, second, func(a, b *Result) bool { return a.Metrics.ECE == b.Metrics.ECE }) {
		t.Error("another model gives the same results")
	}
}

func TestHeadOverride(t *testing.T) {
	m := cliptest.Model(t, 3)
	data := shapes(t, 4, 0, "disc", "bar")
	s := Suite{Name: "s", Data: data, Classes: Classes("disc", "bar"), Templates: templates}
	zero, err := ZeroShotHead(t.Context(), m, Classes("bar", "ring", "disc"), templates, 0)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Evaluate(t.Context(), m, s, Options{Head: zero})
	if err != nil {
		t.Fatal(err)
	}
	text, err := Evaluate(t.Context(), m, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Head != "linear" || text.Head != "text" {
		t.Errorf("heads %s and %s", r.Head, text.Head)
	}
	nearly(t, "the zero-shot head as a linear one", r.Metrics.ECE, text.Metrics.ECE)
	// A head that answers "disc" whatever it sees.
	f, err := m.ImageFeatures(t.Context(), make([]uint8, m.Preprocess.Bytes()), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	always := &Head{Classes: []string{"disc", "bar"}, Dim: zero.Dim, Weight: slices.Concat(f, make([]float32, zero.Dim))}
	for i := range f {
		always.Weight[zero.Dim+i] = -f[i]
	}
	if r, err = Evaluate(t.Context(), m, s, Options{Head: always}); err != nil {
		t.Fatal(err)
	}
	nearly(t, "disc", *r.PerClass["disc"].Acc1, 1)
	nearly(t, "bar", *r.PerClass["bar"].Acc1, 0)
	// Classes that the head lacks have the text tower.
	s.Classes = Classes("disc", "bar", "cross")
	if r, err = Evaluate(t.Context(), m, s, Options{Head: always}); err != nil || r.Head != "text" {
		t.Errorf("head %v, %v", r, err)
	}
	if _, err = Evaluate(t.Context(), m, s, Options{Head: &Head{Classes: []string{"disc"}, Dim: 2, Weight: make([]float32, 2)}}); err == nil {
		t.Error("a head of another width is accepted")
	}
}

func TestEvaluateEndsAndNamesDamage(t *testing.T) {
	m := cliptest.Model(t, 3)
	s := Suite{Name: "s", Data: shapes(t, 30, 0, "disc", "bar"), Classes: Classes("disc", "bar"), Templates: templates}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Evaluate(ctx, m, s, Options{BatchSize: 4, Progress: func(done, total int) {
		if done >= 12 {
			cancel()
		}
		if done > 16 {
			t.Error("went on after the context ended")
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	torch.Scope(func() { m.VisualProjection.Weight.Fill_(math.NaN()) })
	if _, err := Evaluate(t.Context(), m, s, Options{}); !errors.Is(err, clip.ErrNotFinite) || !strings.Contains(err.Error(), "suite s") {
		t.Errorf("NaN features: %v", err)
	}
}

func TestBF16IsNearFP32(t *testing.T) {
	m := cliptest.Model(t, 3)
	s := Suite{Name: "s", Data: shapes(t, 10, 0, "disc", "bar", "ring"), Classes: Classes("disc", "bar", "ring"), Templates: templates}
	exact, err := Evaluate(t.Context(), m, s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	fast, err := Evaluate(t.Context(), m, s, Options{Precision: torch.BFloat16})
	if err != nil {
		t.Fatal(err)
	}
	if d := math.Abs(exact.Metrics.ECE - fast.Metrics.ECE); d > 0.1 || d == 0 {
		t.Errorf("ECE %v in fp32, %v in bf16", exact.Metrics.ECE, fast.Metrics.ECE)
	}
}
