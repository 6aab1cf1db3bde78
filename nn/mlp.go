package nn

import (
	"fmt"

	"arf/torch"
)

// Activation is a nonlinearity by its Hugging Face name. They are different
// functions: weights trained with one are wrong with the other.
type Activation string

const (
	GELU      Activation = "gelu" // exact
	GELUTanh  Activation = "gelu_pytorch_tanh"
	QuickGELU Activation = "quick_gelu"
)

// Check refuses names that are not known.
func (a Activation) Check() error {
	switch a {
	case GELU, GELUTanh, QuickGELU:
		return nil
	}
	return fmt.Errorf("activation %q is not supported; supported are %q, %q and %q", a, GELU, QuickGELU, GELUTanh)
}

// Forward applies the function elementwise.
func (a Activation) Forward(x *torch.Tensor) *torch.Tensor {
	switch a {
	case QuickGELU:
		return x.QuickGELU()
	case GELUTanh:
		return x.GELUTanh()
	}
	return x.GELU()
}

// MLP is the two-layer perceptron of a transformer block.
type MLP struct {
	FC1        *Linear `weight:"fc1"`
	FC2        *Linear `weight:"fc2"`
	Activation Activation
}

// NewMLP makes width → hidden → width.
func NewMLP(width, hidden int, activation Activation) *MLP {
	return &MLP{FC1: NewLinear(width, hidden, true), FC2: NewLinear(hidden, width, true), Activation: activation}
}

// Forward keeps x's shape [..., width].
func (m *MLP) Forward(x *torch.Tensor) *torch.Tensor {
	return m.FC2.Forward(m.Activation.Forward(m.FC1.Forward(x)))
}

// LayerScale multiplies channels by learnt factors that start small (Touvron
// et al. 2021, Going deeper with image transformers).
type LayerScale struct {
	Weight *torch.Tensor `weight:"lambda1"` // [width]
}

// NewLayerScale makes one whose factors are all init.
func NewLayerScale(width int, init float64) *LayerScale {
	return &LayerScale{Weight: torch.Full(torch.CPU, init, width).Keep()}
}

// Forward keeps x's shape [..., width]; a nil LayerScale changes nothing.
func (l *LayerScale) Forward(x *torch.Tensor) *torch.Tensor {
	if l == nil {
		return x
	}
	return x.Mul(l.Weight)
}

// Block is a pre-norm transformer block as in CLIP.
type Block struct {
	LN1    *LayerNorm  `weight:"layer_norm1"`
	Attn   *Attention  `weight:"self_attn"`
	Scale1 *LayerScale `weight:"layer_scale1"` // nil in most models
	LN2    *LayerNorm  `weight:"layer_norm2"`
	MLP    *MLP        `weight:"mlp"`
	Scale2 *LayerScale `weight:"layer_scale2"` // nil where Scale1 is
}

// NewBlock makes a block of the given sizes.
func NewBlock(width, hidden, heads int, activation Activation, eps float64) *Block {
	return &Block{
		LN1: NewLayerNorm(width, eps), Attn: NewAttention(width, heads),
		LN2: NewLayerNorm(width, eps), MLP: NewMLP(width, hidden, activation),
	}
}

// Forward keeps x's shape [B, T, width]; mask as for Attention.
func (b *Block) Forward(x, mask *torch.Tensor) *torch.Tensor {
	h := b.LN1.Forward(x)
	x = x.Add(b.Scale1.Forward(b.Attn.Forward(h, h, mask)))
	return x.Add(b.Scale2.Forward(b.MLP.Forward(b.LN2.Forward(x))))
}
