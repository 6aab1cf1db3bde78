package eval

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/dataset"
	"arf/internal/cliptest"
	"arf/torch"
)

func TestDrift(t *testing.T) {
	pairs := openData(t, cliptest.Pairs(t, t.TempDir(), 60, 0))
	a, b := cliptest.Model(t, 1), cliptest.Model(t, 2)
	same, err := Drift(t.Context(), a, a, pairs, 0, Options{BatchSize: 7})
	if err != nil {
		t.Fatal(err)
	}
	if same.Pairs != 60 || same.Texts != 25 {
		t.Errorf("%d pairs, %d texts", same.Pairs, same.Texts)
	}
	if math.Abs(same.ImageCosine-1) > 1e-5 || math.Abs(same.TextCosine-1) > 1e-5 || same.Before != same.After {
		t.Errorf("a model has drifted from itself: %+v", same)
	}
	other, err := Drift(t.Context(), a, b, pairs, 30, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if other.Pairs != 30 || other.ImageCosine > 0.9 || other.TextCosine > 0.9 || other.Before == other.After {
		t.Errorf("two models: %+v", other)
	}
	half, err := Interpolate(a, b, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	near, err := Drift(t.Context(), a, half, pairs, 30, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if near.ImageCosine <= other.ImageCosine || near.TextCosine <= other.TextCosine {
		t.Errorf("a tenth of the way is further (%v, %v) than the whole (%v, %v)", near.ImageCosine, near.TextCosine, other.ImageCosine, other.TextCosine)
	}

	path := filepath.Join(t.TempDir(), "drift.json")
	if err := other.Save(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		ImageCosine   float64 `json:"image_cosine"`
		Before, After map[string]float64
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if got.ImageCosine != other.ImageCosine || got.Before["recall_image_to_text@1"] != other.Before.ImageToText[0] ||
		got.After["recall_text_to_image@10"] != other.After.TextToImage[2] || len(got.Before) != 6 {
		t.Errorf("%s", data)
	}
}

// Three texts; images 0 and 1 share the first. Worked by hand from the cosines.
func TestRecallByHand(t *testing.T) {
	m := cliptest.Model(t, 1)
	dim := m.Config.EmbedDim
	rows := func(firsts ...[]float32) []float32 {
		var out []float32
		for _, f := range firsts {
			out = append(out, f...)
			out = append(out, make([]float32, dim-len(f))...)
		}
		return out
	}
	texts := rows([]float32{1, 0, 0}, []float32{0, 1, 0}, []float32{0, 0, 1})
	images := rows([]float32{1, 0, 0}, []float32{0, 1, 0}, []float32{0, 0.6, 0.8}, []float32{0.8, 0, 0.6})
	r, err := recall(t.Context(), nil, m, images, texts, []int{0, 0, 1, 2})
	if err != nil {
		t.Fatal(err)
	}
	// Image 0 finds text 0 first. Image 1 has 0 for text 0, as for text 2, and 1
	// for text 1: last of three. Image 2 has its text second, image 3 too.
	nearly(t, "image to text @1", r.ImageToText[0], 1.0/4)
	nearly(t, "image to text @5", r.ImageToText[1], 1)
	// Text 0 finds image 0 first. Text 1 ranks image 1 above its own; text 2
	// ranks image 2 above its own.
	nearly(t, "text to image @1", r.TextToImage[0], 1.0/3)
	nearly(t, "text to image @5", r.TextToImage[1], 1)
}

func TestCollapsedFeaturesHaveNoRecall(t *testing.T) {
	pairs := openData(t, cliptest.Pairs(t, t.TempDir(), 50, 0))
	a, b := cliptest.Model(t, 1), cliptest.Model(t, 1)
	torch.Scope(func() {
		torch.NoGrad(func() { // one feature for all texts
			b.Text.FinalNorm.Weight.Fill_(0)
			b.Text.FinalNorm.Bias.Fill_(1)
		})
	})
	r, err := Drift(t.Context(), a, b, pairs, 0, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.After.ImageToText != [3]float64{} {
		t.Errorf("recall of collapsed features: %+v", r.After)
	}
}

func TestDriftLeavesOutPairsWithoutText(t *testing.T) {
	data := shapes(t, 3, 0, "disc")
	if _, err := Drift(t.Context(), cliptest.Model(t, 1), cliptest.Model(t, 2), data, 0, Options{}); err == nil || !strings.Contains(err.Error(), "text") {
		t.Errorf("pairs without texts: %v", err)
	}
	pairs := openData(t, cliptest.Pairs(t, t.TempDir(), 10, 0))
	both, err := dataset.Concat(data, pairs)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Drift(t.Context(), cliptest.Model(t, 1), cliptest.Model(t, 2), both, 0, Options{})
	if err != nil || r.Pairs != 10 || r.LeftOut != 3 {
		t.Errorf("%+v, %v", r, err)
	}
}
