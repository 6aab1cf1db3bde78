package nn

import (
	"slices"
	"testing"

	"arf/torch"
)

// Chain gives the values and gradients of a plain loop, leaves only its output,
// and frees neither its input nor weights.
func TestChain(t *testing.T) {
	torch.Scope(func() {
		var blocks []*Block
		for i := range 3 {
			b := NewBlock(8, 16, 2, QuickGELU, 1e-5)
			for j, p := range Params(b) {
				torch.ManualSeed(int64(100*i + j))
				p.Tensor.Copy_(torch.Randn(torch.CPU, p.Tensor.Shape()...).Scale_(0.3)).SetRequiresGrad(true)
			}
			blocks = append(blocks, b)
		}
		x := torch.Randn(torch.CPU, 2, 5, 8)
		mask := CausalMask(torch.CPU, 5)
		gradients := func(out *torch.Tensor) (all []float32) {
			out.Mul(out).Mean().Backward()
			for _, b := range blocks {
				for _, p := range Params(b) {
					all = append(all, torch.To[float32](p.Tensor.Grad())...)
					p.Tensor.SetGrad(nil)
				}
			}
			return all
		}
		plain := x
		for _, b := range blocks {
			plain = b.Forward(plain, mask)
		}
		forward := func(b *Block, x *torch.Tensor) *torch.Tensor { return b.Forward(x, mask) }
		before := torch.Live()
		chained := Chain(nil, x, blocks, forward)
		if n := torch.Live() - before; n != 1 {
			t.Errorf("%d handles are left, want that of the output", n)
		}
		if !slices.Equal(torch.To[float32](chained), torch.To[float32](plain)) {
			t.Error("the values differ from a plain loop's")
		}
		if !slices.Equal(gradients(chained), gradients(plain)) {
			t.Error("the gradients differ from a plain loop's")
		}
		if len(torch.To[float32](x)) != 80 {
			t.Error("the input is gone")
		}
		// A layer that gives back its input.
		same := func(_ int, x *torch.Tensor) *torch.Tensor { return x }
		if Chain(nil, x, []int{1, 2, 3}, same) != x || len(torch.To[float32](x)) != 80 {
			t.Error("the identity doesn't give its input")
		}
	})
}
