package clip

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"arf/imaging"
	"arf/torch"
)

// TestParityTopOne: a zero-shot head takes the same class for our pixels of a
// photograph as for those of open_clip's transform (scripts/golden/preprocess.py).
func TestParityTopOne(t *testing.T) {
	const photos = "../imaging/testdata/photos"
	m, err := Load("../models/icon-clip", torch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	size := m.Config.Vision.ImageSize
	var golden struct{ Cases map[string][]string }
	data, err := os.ReadFile(filepath.Join(photos, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	names := golden.Cases[fmt.Sprint(size)]
	if len(names) < 40 {
		t.Fatalf("%d photographs of %d pixels", len(names), size)
	}
	if data, err = os.ReadFile(filepath.Join(photos, fmt.Sprintf("golden-%d.png", size))); err != nil {
		t.Fatal(err)
	}
	reference, _, _, err := imaging.DecodeRGB(data)
	if err != nil {
		t.Fatal(err)
	}
	var ours []uint8
	for _, name := range names {
		encoded, err := os.ReadFile(filepath.Join(photos, name))
		if err != nil {
			t.Fatal(err)
		}
		pixels, err := m.Preprocess.Eval(encoded)
		if err != nil {
			t.Fatal(err)
		}
		ours = append(ours, pixels...)
	}
	var prompts []string
	for _, class := range []string{
		"cat", "dog", "rocket", "person", "astronaut", "cup", "spoon", "coffee", "table", "camera", "tripod", "star", "galaxy", "moon", "crater",
		"wall", "brick", "house", "tree", "flag", "airplane", "car", "key", "book", "phone", "heart", "sun", "cloud", "fire", "arrow",
		"fish", "bird", "shoe", "hat", "clock", "chair", "bottle", "apple", "flower", "bicycle",
	} {
		prompts = append(prompts, "a picture of "+class)
	}
	torch.Scope(func() {
		torch.NoGrad(func() {
			texts := m.EncodeText(m.Tokenize(prompts))
			logits := func(pixels []uint8) *torch.Tensor {
				return m.Logits(m.EncodeImage(m.Pixels(pixels, len(names))), texts)
			}
			// A model of icons finds photographs much alike, so what counts is a
			// class's logit above its mean over the pictures.
			a, b := logits(ours), logits(reference)
			bias := b.MeanDim(0, true)
			got, want := torch.To[int64](a.Sub(bias).ArgMax(1)), torch.To[int64](b.Sub(bias).ArgMax(1))
			classes := map[int64]bool{}
			for i, name := range names {
				if got[i] != want[i] {
					t.Errorf("%s: %q for our pixels, %q for the reference's", name, prompts[got[i]], prompts[want[i]])
				}
				classes[want[i]] = true
			}
			if len(classes) < 5 {
				t.Errorf("only %d different classes: the head tells nothing apart", len(classes))
			}
		})
	})
}
