package clip

import (
	"math/rand/v2"
	"slices"
	"testing"

	"arf/checkpoint"
	"arf/torch"
)

// Texts that go through the tower in groups of like length have the features
// and gradients of one padded batch, in their own order.
func TestGroupsByLength(t *testing.T) {
	m := randomModel(t, "vit_gelu_eos")
	rng := rand.New(rand.NewPCG(1, 2))
	var ids [][]int32
	for range 100 {
		row := make([]int32, 3+rng.IntN(m.Config.Text.ContextLength-2))
		for j := range row {
			row[j] = int32(rng.IntN(m.Config.Text.EOS))
		}
		row[len(row)-1] = int32(m.Config.Text.EOS)
		ids = append(ids, row)
	}
	if groups := byLength(ids); len(groups) != 2 {
		t.Fatalf("%d groups, want 2", len(groups))
	}
	weights := []*torch.Tensor{m.Text.Embeddings.Token.Weight, m.Text.Embeddings.Position.Weight, m.Text.FinalNorm.Weight}
	for _, w := range weights {
		w.SetRequiresGrad(true)
	}
	run := func(forward func([][]int32) *torch.Tensor) (out []checkpoint.Tensor) {
		torch.Scope(func() {
			features := forward(ids)
			target := torch.From(torch.CPU, make([]float32, 100*features.Dim(1)), 100, features.Dim(1)).Add(features.Detach().Scale(0.5))
			difference := features.Sub(target)
			difference.Mul(difference).Mul(features).Mean().Backward()
			out = append(out, checkpoint.FromTorch(features))
			for _, p := range weights {
				out = append(out, checkpoint.FromTorch(p.Grad()))
				p.SetGrad(nil)
			}
		})
		return out
	}
	want, got := run(m.Text.forward), run(m.Text.Forward)
	for i := range want {
		if e := relativeError(got[i].ToTorch(torch.CPU), want[i]); e > 1e-5 {
			t.Errorf("tensor %d: relative error %.2g", i, e)
		}
	}
}

func TestByLength(t *testing.T) {
	rows := func(lengths ...int) (ids [][]int32) {
		for _, n := range lengths {
			ids = append(ids, make([]int32, n))
		}
		return ids
	}
	repeat := func(n, times int) []int { return slices.Repeat([]int{n}, times) }
	for name, c := range map[string]struct {
		lengths []int
		sizes   []int
	}{
		"few":                  {[]int{3, 70, 5}, []int{3}},
		"all short":            {repeat(5, 100), []int{100}},
		"short and long":       {slices.Concat(repeat(20, 40), repeat(5, 60)), []int{60, 40}},
		"few short":            {slices.Concat(repeat(20, 40), repeat(5, 10)), []int{50}},
		"few long":             {slices.Concat(repeat(70, 2), repeat(5, 60)), []int{60, 2}},
		"none":                 {nil, nil},
		"three classes, small": {slices.Concat(repeat(5, 20), repeat(12, 20), repeat(30, 20)), []int{40, 20}},
	} {
		groups := byLength(rows(c.lengths...))
		var sizes []int
		seen := map[int]bool{}
		for _, g := range groups {
			sizes = append(sizes, len(g))
			for _, row := range g {
				seen[row] = true
			}
		}
		if !slices.Equal(sizes, c.sizes) || len(seen) != len(c.lengths) {
			t.Errorf("%s: groups of %v, want %v; %d of %d rows", name, sizes, c.sizes, len(seen), len(c.lengths))
		}
	}
}

func TestRoundedRows(t *testing.T) {
	for n, want := range map[int]int{1: 1, 16: 16, 17: 18, 32: 32, 33: 36, 129: 144, 256: 256, 257: 288} {
		if got := rounded(n); got != want {
			t.Errorf("%d rows become %d, want %d", n, got, want)
		}
	}
	for n := 1; n < 5000; n++ {
		if got := rounded(n); got < n || 8*(got-n) > n {
			t.Errorf("%d rows become %d, more than an eighth on top", n, got)
		}
	}
}
