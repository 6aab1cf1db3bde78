package nn

import (
	"math"
	"testing"

	"arf/torch"
)

// TestNormConv2D compares one convolution of scaled weights with a convolution
// and a normalisation: values, and the gradients of all weights.
func TestNormConv2D(t *testing.T) {
	torch.Scope(func() {
		random := func(shape ...int) *torch.Tensor { return torch.Randn(torch.CPU, shape...) }
		for _, bias := range []bool{false, true} {
			x := random(3, 4, 7, 7).SetRequiresGrad(true)
			conv, norm := NewConv2D(4, 6, 3, 2, 1), NewBatchNorm2D(6)
			conv.Weight = random(6, 4, 3, 3).SetRequiresGrad(true)
			if bias {
				conv.Bias = random(6).SetRequiresGrad(true)
			}
			norm.Weight, norm.Bias = random(6).SetRequiresGrad(true), random(6).SetRequiresGrad(true)
			norm.Mean, norm.Variance = random(6), random(6).Exp()
			leaves := []*torch.Tensor{x, conv.Weight, norm.Weight, norm.Bias}
			if bias {
				leaves = append(leaves, conv.Bias)
			}
			weights := random(3, 6, 4, 4)
			measure := func(y *torch.Tensor) (out [][]float32) {
				out = append(out, torch.To[float32](y))
				y.Mul(weights).Sum().Backward()
				for _, leaf := range leaves {
					out = append(out, torch.To[float32](leaf.Grad()))
					leaf.SetGrad(nil)
				}
				return out
			}
			want := measure(norm.Forward(conv.Forward(x)))
			got := measure(NormConv2D(conv, norm, x))
			for k := range want {
				for i := range want[k] {
					if d := math.Abs(float64(got[k][i] - want[k][i])); d > 2e-5*(1+math.Abs(float64(want[k][i]))) {
						t.Fatalf("bias %v, tensor %d, element %d: %g, want %g", bias, k, i, got[k][i], want[k][i])
					}
				}
			}

			norm.Training = true
			mean := torch.To[float32](norm.Mean)
			NormConv2D(conv, norm, x)
			if torch.To[float32](norm.Mean)[0] == mean[0] {
				t.Error("in training the running mean stays")
			}
		}
	})
}
