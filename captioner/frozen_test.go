package captioner

import (
	"testing"

	"arf/internal/graphtest"
	"arf/torch"
)

// A captioner that captions is only looked at, and so is, while one is trained,
// the image tower that it looks through; held-out pairs teach nothing.
func TestLookingRecordsNoGraph(t *testing.T) {
	for _, vit := range []bool{false, true} {
		m := newModel(t, vit)
		rgb, keys := pixels(t, m.Preprocess(), shapes())
		texts := make([]string, len(keys))
		for i := range texts {
			texts[i] = pairs[i].text
		}
		graphtest.RecordsNothing(t, func() {
			for _, o := range []GenerateOptions{{MaxLength: 3}, {MaxLength: 3, N: 2, Temperature: 1}, {MaxLength: 3, Beams: 2}} {
				if _, err := m.Caption(t.Context(), Images{Pixels: rgb, Keys: keys}, o); err != nil {
					t.Error(err)
				}
			}
			if _, err := m.LogProb(rgb, texts); err != nil {
				t.Error(err)
			}
			// A training's pass of the tower, and its validation.
			o := Options{Dir: t.TempDir(), Precision: torch.Float32}
			data, err := o.prepare(t.Context(), m.CLIP, shapes(), "train", 1)
			if err != nil {
				t.Fatal(err)
			}
			training := &task{model: m, data: data, heldout: hold(data, m, 4, 8), o: o}
			if loss := training.validate(); !(loss > 0) {
				t.Errorf("held-out loss %g", loss)
			}
		}, m.CLIP, m.Decoder)
	}
}

func TestBLIPRecordsNoGraph(t *testing.T) {
	m, g := loadBLIP(t, blipCases[0]), readGolden(t, blipCases[0])
	in := g.input(t, m)
	in.Keys, in.Pixels = in.Keys[:2], in.Pixels[:2*m.Preprocess().Bytes()]
	graphtest.RecordsNothing(t, func() {
		if _, err := m.Caption(t.Context(), in, GenerateOptions{MaxLength: 3}); err != nil {
			t.Error(err)
		}
	}, m)
}
