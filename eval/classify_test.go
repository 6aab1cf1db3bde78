package eval_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/dataset"
	"arf/eval"
	"arf/internal/cliptest"
	"arf/torch"
)

// TestClassify: probabilities are the softmax of the scaled cosines of image
// and class, computed here by plain loops.
func TestClassify(t *testing.T) {
	dir := t.TempDir()
	cliptest.Folder(t, dir, cliptest.Shapes[:2], 3, 0)
	images, err := dataset.Images(dir)
	if err != nil {
		t.Fatal(err)
	}
	model := cliptest.Model(t, 3)
	classes := []eval.Class{{Name: "square"}, {Name: "a_disc", Prompt: "disc"}, {Name: "red cross", Synonyms: []string{"cross"}}}
	templates := []string{"a photo of a {}.", "drawing of the {}"}
	head, err := eval.ZeroShotHead(t.Context(), model, classes, templates, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []eval.Prediction
	last := 0
	err = eval.Classify(t.Context(), model, images, classes, templates, 2, eval.Options{BatchSize: 4, Progress: func(done, total int) { last = done*100 + total }},
		func(p eval.Prediction) error { got = append(got, p); return nil })
	if err != nil || len(got) != 6 || last != 606 {
		t.Fatalf("%d predictions, progress %d, %v", len(got), last, err)
	}
	scale := math.Exp(float64(model.LogitScale.Item()))
	for i, p := range got {
		s, err := images.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		pixels, err := model.Preprocess.Eval(s.Image)
		if err != nil {
			t.Fatal(err)
		}
		f, err := model.ImageFeatures(t.Context(), pixels, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		want, sum := map[string]float64{}, 0.0
		for k, c := range classes {
			cosine := 0.0
			for d := range f {
				cosine += float64(f[d] * head.Weight[k*head.Dim+d])
			}
			want[c.Name] = math.Exp(scale * cosine)
			sum += want[c.Name]
		}
		if p.Image != s.Key || len(p.Classes) != 2 || p.Classes[0].Probability < p.Classes[1].Probability {
			t.Errorf("%+v", p)
		}
		rest := 1.0
		for _, g := range p.Classes {
			if diff := math.Abs(g.Probability - want[g.Class]/sum); diff > 1e-4 {
				t.Errorf("%s: %+v is off by %g", p.Image, g, diff)
			}
			rest -= g.Probability
		}
		if rest > p.Classes[1].Probability {
			t.Errorf("%+v aren't the two most probable", p)
		}
	}
}

func TestClassifyBroken(t *testing.T) {
	dir := t.TempDir()
	cliptest.Folder(t, dir, cliptest.Shapes[:1], 2, 0)
	if err := os.WriteFile(filepath.Join(dir, "broken.png"), []byte("no picture"), 0o644); err != nil {
		t.Fatal(err)
	}
	images, err := dataset.Images(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = eval.Classify(t.Context(), cliptest.Model(t, 3), images, eval.Classes("square", "disc"), []string{"{}"}, 0, eval.Options{},
		func(p eval.Prediction) error {
			if n++; len(p.Classes) != 2 || math.Abs(p.Classes[0].Probability+p.Classes[1].Probability-1) > 1e-5 {
				t.Errorf("%+v", p)
			}
			return nil
		})
	if !errors.Is(err, eval.ErrUnreadable) || !strings.Contains(err.Error(), "1 of 3") || !strings.Contains(err.Error(), "broken.png") || n != 2 {
		t.Errorf("%d predictions, %v", n, err)
	}
	stop := errors.New("stop")
	if err := eval.Classify(t.Context(), cliptest.Model(t, 3), images, eval.Classes("square"), []string{"{}"}, 0, eval.Options{},
		func(eval.Prediction) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
	for _, c := range []struct {
		classes   []eval.Class
		templates []string
		want      string
	}{{nil, []string{"{}"}, "no classes"}, {eval.Classes("a", "a"), []string{"{}"}, "twice"}, {eval.Classes("a"), []string{"photo"}, "{}"}} {
		err := eval.Classify(t.Context(), cliptest.Model(t, 3), images, c.classes, c.templates, 0, eval.Options{}, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want %q", err, c.want)
		}
	}
}

// TestClassifySigLIP: a class's probability doesn't depend on the others.
func TestClassifySigLIP(t *testing.T) {
	dir := t.TempDir()
	cliptest.Folder(t, dir, cliptest.Shapes[:1], 2, 0)
	images, err := dataset.Images(dir)
	if err != nil {
		t.Fatal(err)
	}
	model := cliptest.Model(t, 3)
	predict := func(names ...string) (out []float64) {
		err := eval.Classify(t.Context(), model, images, eval.Classes(names...), []string{"{}"}, 0, eval.Options{}, func(p eval.Prediction) error {
			for _, g := range p.Classes {
				if g.Class == "disc" {
					out = append(out, g.Probability)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	// Of one class alone the softmax is 1, the sigmoid σ(logit + bias).
	const bias = -5
	head, err := eval.ZeroShotHead(t.Context(), model, eval.Classes("disc"), []string{"{}"}, 0)
	if err != nil {
		t.Fatal(err)
	}
	if p := predict("disc"); p[0] != 1 {
		t.Errorf("%v", p)
	}
	model.LogitBias = torch.Full(torch.CPU, bias, 1).Keep()
	alone, beside := predict("disc"), predict("disc", "ring", "red")
	for i := range alone {
		s, err := images.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		pixels, err := model.Preprocess.Eval(s.Image)
		if err != nil {
			t.Fatal(err)
		}
		f, err := model.ImageFeatures(t.Context(), pixels, 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		cosine := 0.0
		for d := range f {
			cosine += float64(f[d] * head.Weight[d])
		}
		want := 1 / (1 + math.Exp(-math.Exp(float64(model.LogitScale.Item()))*cosine-bias))
		if math.Abs(alone[i]-want) > 1e-5 || math.Abs(beside[i]-want) > 1e-5 {
			t.Errorf("%g alone, %g beside others; want %g", alone[i], beside[i], want)
		}
	}
}
