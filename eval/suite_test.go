package eval

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"arf/dataset"
	"arf/imaging"
	"arf/internal/cliptest"
)

// scores are the cosines of each image to each text, by plain loops.
func scores(t *testing.T, images [][]byte, texts []string, seed int64) [][]float64 {
	t.Helper()
	m := cliptest.Model(t, seed)
	f, err := m.TextFeatures(t.Context(), texts, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]float64, len(images))
	for i, image := range images {
		pixels, err := m.Preprocess.Eval(image)
		if err != nil {
			t.Fatal(err)
		}
		g, err := m.ImageFeatures(t.Context(), pixels, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		for k := range texts {
			dot := 0.0
			for d, v := range g {
				dot += float64(v) * float64(f[k*len(g)+d])
			}
			out[i] = append(out[i], dot)
		}
	}
	return out
}

func images(t *testing.T, d dataset.Dataset) (out [][]byte, classes []string) {
	t.Helper()
	for i := range d.Len() {
		s, err := d.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		out, classes = append(out, s.Image), append(classes, s.Class)
	}
	return out, classes
}

// A class that several finer ones compete for has the greatest of their logits.
func TestMembers(t *testing.T) {
	const seed = 5
	m := cliptest.Model(t, seed)
	data := shapes(t, 12, 0, "disc", "bar", "ring")
	classes := []Class{
		{Name: "disc", Members: []Class{{Name: "n1", Prompt: "red disc"}, {Name: "n2", Prompt: "blue cross"}, {Name: "n3", Prompt: "green square"}}},
		{Name: "bar"},
		{Name: "ring", Members: []Class{{Name: "n4", Prompt: "purple ring"}, {Name: "n5", Prompt: "ring"}}},
	}
	s := Suite{Name: "s", Data: data, Classes: classes, Templates: []string{"{}"}, Metric: MeanPerClassRecall}
	r, err := Evaluate(t.Context(), m, s, Options{BatchSize: 5})
	if err != nil {
		t.Fatal(err)
	}
	texts, of := []string{"red disc", "blue cross", "green square", "bar", "purple ring", "ring"}, []string{"disc", "disc", "disc", "bar", "ring", "ring"}
	pictures, labels := images(t, data)
	right := map[string]float64{}
	for i, row := range scores(t, pictures, texts, seed) {
		best := 0
		for k, v := range row {
			if v > row[best] {
				best = k
			}
		}
		if of[best] == labels[i] {
			right[labels[i]]++
		}
	}
	total := right["disc"] + right["bar"] + right["ring"]
	if total == 0 || total == 36 {
		t.Fatalf("%v of 36 right: this tests nothing; take another seed", total)
	}
	for name, n := range right {
		nearly(t, name, *r.PerClass[name].Acc1, n/12)
	}
	nearly(t, "acc1", r.Metrics.Acc1, total/36)
	nearly(t, "main metric", r.Main(), total/36)
	if r.Classes != 3 || r.MainMetric != MeanPerClassRecall {
		t.Errorf("%d classes, metric %s", r.Classes, r.MainMetric)
	}

	// A linear head of the members, in another order, serves as well.
	head, err := ZeroShotHead(t.Context(), m, []Class{
		{Name: "n4", Prompt: "purple ring"}, {Name: "bar"}, {Name: "n3", Prompt: "green square"}, {Name: "n2", Prompt: "blue cross"},
		{Name: "n5", Prompt: "ring"}, {Name: "n1", Prompt: "red disc"},
	}, []string{"{}"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	linear, err := Evaluate(t.Context(), m, s, Options{Head: head})
	if err != nil {
		t.Fatal(err)
	}
	if linear.Head != "linear" || linear.Metrics.Acc1 != r.Metrics.Acc1 || math.Abs(linear.Metrics.ECE-r.Metrics.ECE) > 1e-6 || !reflect.DeepEqual(linear.Confusions, r.Confusions) {
		t.Errorf("linear head: %+v, want %+v", linear.Metrics, r.Metrics)
	}

	s.Classes = []Class{{Name: "disc", Members: []Class{{Name: "a", Members: []Class{{Name: "b"}}}}}}
	if _, err := New([]Suite{s}, Options{}); err == nil || !strings.Contains(err.Error(), "members itself") {
		t.Errorf("members of members: %v", err)
	}
	s.Classes, s.Metric = Classes("disc", "bar", "ring"), "f1"
	if _, err := New([]Suite{s}, Options{}); err == nil || !strings.Contains(err.Error(), "f1") {
		t.Errorf("an unknown metric: %v", err)
	}
}

func TestNaNLogitsOfMembersAreTold(t *testing.T) {
	nan := float32(math.NaN())
	for _, logits := range [][]float32{{nan, 1, 2}, {1, nan, 2}, {1, 2, nan}} {
		if err := newTally(2).add(greatest(slices.Clone(logits), []int{2, 1}), 0); err == nil {
			t.Errorf("%v is counted", logits)
		}
	}
}

func TestAliasPromptAndLabel(t *testing.T) {
	const seed = 7
	m := cliptest.Model(t, seed)
	data := shapes(t, 8, 0, "disc", "bar", "ring")
	want, err := Evaluate(t.Context(), m, Suite{Name: "s", Data: data, Classes: Classes("bar", "disc", "ring"), Templates: templates}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	classes := []Class{{Name: "n1", Prompt: "bar"}, {Name: "n2", Prompt: "disc"}, {Name: "n3", Prompt: "ring"}}
	for name, s := range map[string]Suite{
		"alias": {Alias: map[string]string{"bar": "n1", "disc": "n2", "ring": "n3"}},
		"label": {ByLabel: true}, // the folder's labels are in the order of names
	} {
		s.Name, s.Data, s.Classes, s.Templates = "s", data, classes, templates
		got, err := Evaluate(t.Context(), m, s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got.Metrics, want.Metrics) || got.PerClass["n2"].Prompt != "disc" || *got.PerClass["n2"].Acc1 != *want.PerClass["disc"].Acc1 {
			t.Errorf("%s: %+v, want %+v", name, got.Metrics, want.Metrics)
		}
	}
	bad := Suite{Name: "s", Data: data, Classes: classes[:2], Templates: templates, ByLabel: true}
	if _, err := New([]Suite{bad}, Options{}); err == nil || !strings.Contains(err.Error(), "label 2") {
		t.Errorf("a label that has no class: %v", err)
	}
}

// The border is cut before resizing, and a suite without one on the same data
// sees it.
func TestBorder(t *testing.T) {
	const seed = 9
	m := cliptest.Model(t, seed)
	plain, framed := t.TempDir(), t.TempDir()
	for i, shape := range []string{"disc", "bar", "ring", "square"} {
		for k := range 6 {
			pix, w, h, err := imaging.DecodeRGB(cliptest.Picture(t, cliptest.Colors[(i+k)%5], shape, uint64(10*i+k)))
			if err != nil {
				t.Fatal(err)
			}
			const n = 2
			var wide []uint8
			for y := range h + 2*n {
				for x := range w + 2*n {
					if y < n || y >= h+n || x < n || x >= w+n {
						wide = append(wide, 255, 0, 0)
						continue
					}
					at := ((y-n)*w + x - n) * 3
					wide = append(wide, pix[at:at+3]...)
				}
			}
			write(t, filepath.Join(plain, shape, string(rune('a'+k))+".png"), pix, w, h)
			write(t, filepath.Join(framed, shape, string(rune('a'+k))+".png"), wide, w+2*n, h+2*n)
		}
	}
	both := openData(t, framed)
	suite := Suite{Name: "s", Data: openData(t, plain), Classes: Classes("bar", "disc", "ring", "square"), Templates: templates}
	cut, seen := suite, suite
	cut.Data, cut.Border, seen.Data = both, 2, both
	e, err := New([]Suite{suite, cut, seen}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Evaluate(t.Context(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r[0].Metrics, r[1].Metrics) {
		t.Errorf("border cut: %+v, want %+v", r[1].Metrics, r[0].Metrics)
	}
	if r[2].Metrics.ECE == r[0].Metrics.ECE {
		t.Error("the border makes no difference: this tests nothing")
	}
	if r[1].Border != 2 || r[0].Border != 0 {
		t.Errorf("borders %d and %d in the results", r[1].Border, r[0].Border)
	}
}

func write(t *testing.T, path string, pix []uint8, w, h int) {
	t.Helper()
	png, err := imaging.EncodePNG(pix, w, h)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, png, 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestConfusionsRoundTrip(t *testing.T) {
	m := cliptest.Model(t, 5)
	data := shapes(t, 9, 0, "disc", "bar", "ring")
	r, err := Evaluate(t.Context(), m, Suite{Name: "s", Data: data, Classes: Classes("disc", "bar", "ring", "square"), Templates: templates}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for _, c := range r.Confusions {
		wrong += c.N
	}
	if wrong == 0 || wrong == 27 {
		t.Fatalf("%d of 27 wrong: this tests nothing; take another seed", wrong)
	}
	nearly(t, "mistakes", float64(wrong)/27, 1-r.Metrics.Acc1)
	path := filepath.Join(t.TempDir(), "sub", "s.confusion.csv")
	if err := r.SaveConfusions(path); err != nil {
		t.Fatal(err)
	}
	got, err := LoadConfusions(path)
	if err != nil || !slices.Equal(got, r.Confusions) {
		t.Errorf("%v, %v; want %v", got, err, r.Confusions)
	}
	text, err := os.ReadFile(path)
	if err != nil || !strings.HasPrefix(string(text), "class,predicted,n\n") || strings.Contains(string(text), "square,square") {
		t.Errorf("%s, %v", text, err)
	}
}

func TestDoneGetsEachResult(t *testing.T) {
	m := cliptest.Model(t, 5)
	a, b := shapes(t, 3, 0, "disc", "bar"), shapes(t, 4, 9, "disc", "bar")
	suite := func(name string, d dataset.Dataset) Suite {
		return Suite{Name: name, Data: d, Classes: Classes("disc", "bar"), Templates: templates}
	}
	var places []int
	var names []string
	e, err := New([]Suite{suite("a", a), suite("b", b), suite("a again", a)}, Options{Done: func(i int, r *Result) error {
		places, names = append(places, i), append(names, r.Dataset)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	results, err := e.Evaluate(t.Context(), m, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The two on one dataset are read together.
	if !slices.Equal(places, []int{0, 2, 1}) || !slices.Equal(names, []string{"a", "a again", "b"}) || results[2].Dataset != "a again" {
		t.Errorf("%v %v", places, names)
	}
}
