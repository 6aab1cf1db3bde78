package finetune

import (
	"math"
	"testing"

	"arf/clip"
	"arf/torch"
)

func TestMatricesOfFourPairs(t *testing.T) {
	texts := []int64{0, 1, 0, 2}   // pairs 0 and 2 have one text
	classes := []int64{5, 5, 6, 7} // pairs 0 and 1 have one class
	torch.Scope(func() {
		if target, excluded := Diag.matrices(torch.CPU, 0, 4, texts, classes); target != nil || excluded != nil {
			t.Error("diag changes the loss")
		}
		target, excluded := Mask.matrices(torch.CPU, 0, 4, texts, classes)
		if target != nil {
			t.Error("mask changes the target")
		}
		if excluded.DType() != torch.Bool {
			t.Errorf("excluded is %v", excluded.DType())
		}
		wantMatrix(t, "excluded", excluded.Cast(torch.Float32), [][]float64{{0, 1, 1, 0}, {1, 0, 0, 0}, {1, 0, 0, 0}, {0, 0, 0, 0}})
		target, excluded = Soft.matrices(torch.CPU, 0, 4, texts, classes)
		if excluded != nil {
			t.Error("soft excludes")
		}
		third := 1.0 / 3
		wantMatrix(t, "target", target, [][]float64{{third, third, third, 0}, {.5, .5, 0, 0}, {.5, 0, .5, 0}, {0, 0, 0, 1}})
	})
}

func wantMatrix(t *testing.T, name string, got *torch.Tensor, want [][]float64) {
	t.Helper()
	values := torch.To[float32](got)
	for i, row := range want {
		for j, w := range row {
			if v := float64(values[i*len(row)+j]); math.Abs(v-w) > 1e-6 {
				t.Errorf("%s[%d][%d] is %g, want %g", name, i, j, v, w)
			}
		}
	}
}

// Three pairs whose cosines are known: image i and text j are unit vectors, the
// first two pairs share their class, and the factor is 1.
//
//	S = 1 0 0
//	    0 1 0
//	    0 0 1
func TestLossOfThreePairsByHand(t *testing.T) {
	e := math.E
	lse := func(xs ...float64) float64 {
		sum := 0.0
		for _, x := range xs {
			sum += math.Exp(x)
		}
		return math.Log(sum)
	}
	// A row of S is 1, 0, 0 in some order, and S is symmetric.
	row := -math.Log(e / (e + 2))
	for negatives, want := range map[Negatives]float64{
		Diag: row,
		// Rows 0 and 1 keep their match and the third text; row 2 keeps all.
		Mask: (2*(lse(1, 0)-1) + row) / 3,
		// Rows 0 and 1 split their target over cosines 1 and 0.
		Soft: (2*(lse(1, 0, 0)-0.5) + row) / 3,
	} {
		torch.Scope(func() {
			f := &Features{
				Model: &clip.Model{LogitScale: torch.Full(torch.CPU, 0)}, Negatives: negatives, Texts: torch.Eye(torch.CPU, 3),
				Images: torch.Eye(torch.CPU, 3), Batch: &Batch{Prompts: []int64{0, 1, 2}, Labels: []int64{4, 4, 9}},
			}
			got := f.contrastive(ofPrompts).Item()
			if math.Abs(got-want) > 1e-6 {
				t.Errorf("%s: %.7f, want %.7f", negatives, got, want)
			}
		})
	}
}

// Pairs of one text: the two images can't tell which of the equal texts is
// theirs, so diag's loss can't fall below ln 2 and mask's can.
func TestEqualTextsAreNoNegativesUnderMask(t *testing.T) {
	for negatives, want := range map[Negatives]float64{Diag: math.Ln2, Mask: 0, Soft: math.Ln2} {
		torch.Scope(func() {
			f := &Features{
				Model: &clip.Model{LogitScale: torch.Full(torch.CPU, 0)}, Negatives: negatives, Texts: torch.Eye(torch.CPU, 2),
				Images: torch.From(torch.CPU, []float32{1, 0, 1, 0}, 2, 2), Batch: &Batch{Prompts: []int64{0, 0}, Labels: []int64{3, 8}},
			}
			if got := f.contrastive(ofPrompts).Item(); math.Abs(got-want) > 1e-6 {
				t.Errorf("%s: %.7f, want %.7f", negatives, got, want)
			}
		})
	}
}
