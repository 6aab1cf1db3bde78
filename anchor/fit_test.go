package anchor

import (
	"math"
	"testing"
)

func TestFit(t *testing.T) {
	images := []float32{1, 0, 0, 1, 0.6, 0.8} // [3, 2]
	texts := []float32{1, 0, 1, 0, 0, 1, 0.8, 0.6}
	var f fit
	f.add(images[:4], texts[:6], 2)
	f.add(images[4:], texts[6:], 2)
	want := 0.0 // of all combinations
	for i := range 3 {
		for j := range 4 {
			want += dot(images[2*i:2*i+2], texts[2*j:2*j+2]) / 12
		}
	}
	for j, i := range []int{0, 0, 1, 2} {
		f.own += dot(images[2*i:2*i+2], texts[2*j:2*j+2])
	}
	own, any := f.scores()
	if math.Abs(any-want) > 1e-6 || math.Abs(own-(3+0.96)/4) > 1e-6 {
		t.Errorf("own %v, any %v, want %v", own, any, want)
	}
	if own, any := new(fit).scores(); own <= any {
		t.Error("no captions fit badly")
	}
}
