package eval

import (
	"math"
	"testing"
)

func nearly(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > 1e-9 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

// logits of two classes with softmax p for the first.
func logits(p float64) []float32 { return []float32{float32(math.Log(p / (1 - p))), 0} }

// Worked by hand. Confidences 0.9 (right), 0.9 (wrong) share a bin: accuracy
// 0.5, confidence 0.9, gap 0.4, weight 2/4. 0.6 right and 0.7 right are alone:
// gaps 0.4 and 0.3, weight 1/4 each. ECE = 0.2 + 0.1 + 0.075.
func TestECE(t *testing.T) {
	tally := newTally(2)
	for _, x := range []struct {
		confidence float64
		class      int
	}{{0.9, 0}, {0.9, 1}, {0.6, 0}, {0.7, 0}} {
		if err := tally.add(logits(x.confidence), x.class); err != nil {
			t.Fatal(err)
		}
	}
	m := tally.metrics()
	if math.Abs(m.ECE-0.375) > 1e-6 {
		t.Errorf("ECE %v, want 0.375", m.ECE)
	}
	nearly(t, "acc1", m.Acc1, 0.75)
	nearly(t, "recall", m.MeanPerClassRecall, 0.5)
	if m.Acc5 != nil {
		t.Error("acc5 of two classes")
	}
}

func TestTally(t *testing.T) {
	tally := newTally(7)
	add := func(class int, l ...float32) {
		t.Helper()
		if err := tally.add(l, class); err != nil {
			t.Fatal(err)
		}
	}
	add(0, 9, 1, 2, 3, 4, 5, 6) // right
	add(0, 4, 9, 8, 7, 6, 5, 0) // sixth
	add(1, 9, 4, 8, 7, 6, 3, 0) // fifth
	add(1, 5, 5, 0, 0, 0, 0, 0) // ties with a lower class: wrong
	add(2, 0, 0, 0, 0, 0, 0, 0) // all tie: third
	add(6, 0, 0, 0, 0, 0, 0, 0) // all tie: seventh
	m := tally.metrics()
	nearly(t, "acc1", m.Acc1, 1.0/6)
	nearly(t, "acc5", *m.Acc5, 4.0/6)
	nearly(t, "recall over the four classes with images", m.MeanPerClassRecall, (0.5+0+0+0)/4)
	binomial, byClass := tally.standardErrors()
	nearly(t, "standard error", binomial, math.Sqrt(1.0/6*5/6/6))
	// Class sums of (right − n/6): 2/3, −1/3, −1/6, −1/6.
	nearly(t, "standard error by class", *byClass, math.Sqrt(4.0/3*(4.0/9+1.0/9+1.0/36+1.0/36))/6)

	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1))} {
		if err := tally.add([]float32{0, bad}, 0); err == nil {
			t.Errorf("a logit of %v is counted", bad)
		}
	}
}

func TestExtremeLogitsGiveNoNaN(t *testing.T) {
	tally := newTally(2)
	for range 3 {
		if err := tally.add([]float32{1e6, -1e6}, 0); err != nil {
			t.Fatal(err)
		}
	}
	m := tally.metrics()
	nearly(t, "ECE", m.ECE, 0)
	nearly(t, "acc1", m.Acc1, 1)
	if _, byClass := tally.standardErrors(); byClass != nil {
		t.Errorf("standard error by class of one class is %v", *byClass)
	}
}
