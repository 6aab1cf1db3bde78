package eval

import (
	"fmt"
	"math"
)

// eceBins is the number of bins of the calibration error (Guo et al. 2017).
const eceBins = 15

// tally counts what the metrics are made of.
type tally struct {
	n, right      []int // by class
	top5          int
	binN, binHits [eceBins]int
	binConfidence [eceBins]float64
	mistakes      map[mistake]int
}

// mistake is an image's class and the one that was predicted.
type mistake struct{ class, predicted int32 }

func newTally(classes int) *tally {
	return &tally{n: make([]int, classes), right: make([]int, classes), mistakes: map[mistake]int{}}
}

// add takes one image: its logits and its class. Of equal logits the lower
// class is the prediction.
func (t *tally) add(logits []float32, class int) error {
	top, rank := 0, 0
	own := logits[class]
	for i, v := range logits {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return fmt.Errorf("logit of class %d is %v", i, v)
		}
		if v > logits[top] {
			top = i
		}
		if v > own || v == own && i < class {
			rank++
		}
	}
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v - logits[top]))
	}
	t.n[class]++
	if rank == 0 {
		t.right[class]++
	} else {
		t.mistakes[mistake{int32(class), int32(top)}]++
	}
	if rank < 5 {
		t.top5++
	}
	confidence := 1 / sum // softmax of the greatest logit
	// Bins are open below and closed above.
	bin := min(max(int(math.Ceil(confidence*eceBins))-1, 0), eceBins-1)
	t.binN[bin]++
	t.binConfidence[bin] += confidence
	if rank == 0 {
		t.binHits[bin]++
	}
	return nil
}

func (t *tally) images() (n, right int) {
	for i := range t.n {
		n, right = n+t.n[i], right+t.right[i]
	}
	return n, right
}

// metrics are of at least one image.
func (t *tally) metrics() Metrics {
	n, right := t.images()
	m := Metrics{Acc1: float64(right) / float64(n), ECE: t.ece(n)}
	if len(t.n) >= 5 {
		acc5 := float64(t.top5) / float64(n)
		m.Acc5 = &acc5
	}
	classes := 0
	for i, k := range t.n {
		if k > 0 {
			m.MeanPerClassRecall += float64(t.right[i]) / float64(k)
			classes++
		}
	}
	m.MeanPerClassRecall /= float64(classes)
	return m
}

// ece is Σ n_b/n·|accuracy_b − confidence_b| over the bins (Guo et al. 2017, eq. 5).
func (t *tally) ece(n int) float64 {
	sum := 0.0
	for b := range t.binN {
		sum += math.Abs(float64(t.binHits[b])-t.binConfidence[b]) / float64(n)
	}
	return sum
}

// standardErrors of acc1: binomial, which takes images as independent; and by
// class, which takes classes as drawn at random and images of one class as
// alike (the cluster-robust error of a ratio), nil with one class.
func (t *tally) standardErrors() (binomial float64, byClass *float64) {
	n, right := t.images()
	p := float64(right) / float64(n)
	classes, sum := 0, 0.0
	for i, k := range t.n {
		if k > 0 {
			d := float64(t.right[i]) - p*float64(k)
			sum += d * d
			classes++
		}
	}
	if classes > 1 {
		e := math.Sqrt(float64(classes)/float64(classes-1)*sum) / float64(n)
		byClass = &e
	}
	return math.Sqrt(p * (1 - p) / float64(n)), byClass
}
