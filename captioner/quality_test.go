package captioner

import (
	"math"
	"testing"
)

func TestMeasure(t *testing.T) {
	captions := [][]Caption{
		{{Text: "shopping cart, shop", LogProb: -1}, {Text: "shopping cart, shop", LogProb: -1}, {Text: "outline trolley", LogProb: -4}},
		{{Text: "carts for shopping", LogProb: -2}, {Text: "shopping carts", LogProb: -2}, {Text: "dog", LogProb: -2}},
		{{Text: "cat", LogProb: -3}, {Text: "cat", LogProb: -3}, {Text: "cat", LogProb: -3}},
	}
	cart := []string{"shopping cart", "trolley"}
	q := Measure(captions, [][]string{cart, cart, {"cat"}})
	want := Quality{
		Images: 3, Captions: 9,
		NamesClass: 7.0 / 9, ImagesNamed: 1,
		DistinctPerImage: (2.0 + 3 + 1) / 3, DistinctPerClass: (5.0 + 1) / 2,
		Words: (3.0 + 3 + 2 + 3 + 2 + 1 + 3) / 9, ExtraWords: (1.0 + 1 + 1 + 3 + 0 + 1 + 0) / 9,
		LogProb: -21.0 / 9,
	}
	for _, d := range []float64{
		q.NamesClass - want.NamesClass, q.ImagesNamed - want.ImagesNamed, q.DistinctPerImage - want.DistinctPerImage,
		q.DistinctPerClass - want.DistinctPerClass, q.Words - want.Words, q.ExtraWords - want.ExtraWords, q.LogProb - want.LogProb,
	} {
		if math.Abs(d) > 1e-12 || math.IsNaN(d) {
			t.Fatalf("%+v, want %+v", q, want)
		}
	}
	if q.Images != 3 || q.Captions != 9 {
		t.Errorf("%+v", q)
	}
	if (Measure(nil, nil) != Quality{}) {
		t.Error("nothing measures as something")
	}
}
