package nn

import "arf/torch"

// Linear is x·Wᵀ + b.
type Linear struct {
	Weight *torch.Tensor `weight:"weight"` // [out, in]
	Bias   *torch.Tensor `weight:"bias"`   // [out], or nil
}

// NewLinear makes a layer of zeros.
func NewLinear(in, out int, bias bool) *Linear {
	l := &Linear{Weight: zeros(out, in)}
	if bias {
		l.Bias = zeros(out)
	}
	return l
}

// Forward maps [..., in] to [..., out].
func (l *Linear) Forward(x *torch.Tensor) *torch.Tensor { return torch.Linear(x, l.Weight, l.Bias) }

// LayerNorm normalises the last dimension (Ba et al. 2016).
type LayerNorm struct {
	Weight *torch.Tensor `weight:"weight"`
	Bias   *torch.Tensor `weight:"bias"`
	Eps    float64
}

// NewLayerNorm makes one that scales by 1 and shifts by 0.
func NewLayerNorm(width int, eps float64) *LayerNorm {
	return &LayerNorm{Weight: ones(width), Bias: zeros(width), Eps: eps}
}

// Forward keeps x's shape [..., width].
func (l *LayerNorm) Forward(x *torch.Tensor) *torch.Tensor {
	return torch.LayerNorm(x, l.Weight, l.Bias, l.Eps)
}

// Embedding maps token ids to vectors.
type Embedding struct {
	Weight *torch.Tensor `weight:"weight,nodecay"` // [n, width]
}

// NewEmbedding makes a table of zeros.
func NewEmbedding(n, width int) *Embedding { return &Embedding{Weight: zeros(n, width)} }

// Forward maps int64 ids [...] to [..., width].
func (e *Embedding) Forward(ids *torch.Tensor) *torch.Tensor { return torch.Embedding(e.Weight, ids) }

// Conv2D is a convolution of square kernels.
type Conv2D struct {
	Weight          *torch.Tensor `weight:"weight"` // [out, in, k, k]
	Bias            *torch.Tensor `weight:"bias"`   // [out], or nil
	Stride, Padding int
}

// NewConv2D makes a convolution without bias, of zeros.
func NewConv2D(in, out, kernel, stride, padding int) *Conv2D {
	return &Conv2D{Weight: zeros(out, in, kernel, kernel), Stride: stride, Padding: padding}
}

// Forward maps [N, in, H, W] to [N, out, H', W'].
func (c *Conv2D) Forward(x *torch.Tensor) *torch.Tensor {
	return torch.Conv2D(x, c.Weight, c.Bias, c.Stride, c.Padding)
}

const normEps = 1e-5 // PyTorch's default

// BatchNorm2D normalises channels (Ioffe & Szegedy 2015), momentum 0.1 as in
// PyTorch.
type BatchNorm2D struct {
	Weight   *torch.Tensor `weight:"weight"`
	Bias     *torch.Tensor `weight:"bias"`
	Mean     *torch.Tensor `weight:"running_mean,buffer"`
	Variance *torch.Tensor `weight:"running_var,buffer"`
	// Training uses the statistics of the batch and moves the running ones.
	// False, as in evaluation and in finetuning, uses the running ones.
	Training bool
}

// NewBatchNorm2D makes one that changes nothing until it is trained.
func NewBatchNorm2D(channels int) *BatchNorm2D {
	return &BatchNorm2D{Weight: ones(channels), Bias: zeros(channels), Mean: zeros(channels), Variance: ones(channels)}
}

// Forward keeps x's shape [N, C, H, W].
func (b *BatchNorm2D) Forward(x *torch.Tensor) *torch.Tensor {
	return torch.BatchNorm(x, b.Weight, b.Bias, b.Mean, b.Variance, b.Training, 0.1, normEps)
}

// NormConv2D is norm(conv(x)), [N, in, H, W] to [N, out, H', W'] in memory of
// its own. While norm uses its running statistics it's linear, and goes into
// the convolution's weights and bias, which spares passes over the feature map,
// forward and backward.
func NormConv2D(conv *Conv2D, norm *BatchNorm2D, x *torch.Tensor) *torch.Tensor {
	if norm.Training {
		return norm.Forward(conv.Forward(x))
	}
	scale := norm.Weight.Mul(norm.Variance.AddScalar(normEps).RSqrt())
	shift := norm.Bias.Sub(norm.Mean.Mul(scale))
	if conv.Bias != nil {
		shift = shift.Add(conv.Bias.Mul(scale))
	}
	return torch.Conv2D(x, conv.Weight.Mul(scale.Reshape(-1, 1, 1, 1)), shift, conv.Stride, conv.Padding)
}

// Attention is multi-head attention with separate projections.
type Attention struct {
	Query *Linear `weight:"q_proj"`
	Key   *Linear `weight:"k_proj"`
	Value *Linear `weight:"v_proj"`
	Out   *Linear `weight:"out_proj"`
	Heads int
}

// NewAttention makes self-attention of a width that heads divides.
func NewAttention(width, heads int) *Attention {
	return &Attention{
		Query: NewLinear(width, width, true), Key: NewLinear(width, width, true),
		Value: NewLinear(width, width, true), Out: NewLinear(width, width, true), Heads: heads,
	}
}

// Forward attends from x [B, Tq, width] to memory [B, Tk, width] (x itself for
// self-attention); mask is nil or additive, broadcast to [B, heads, Tq, Tk].
func (a *Attention) Forward(x, memory, mask *torch.Tensor) *torch.Tensor {
	out := torch.Attention(a.split(a.Query.Forward(x)), a.split(a.Key.Forward(memory)), a.split(a.Value.Forward(memory)), mask)
	return a.Out.Forward(out.Transpose(1, 2).Flatten(2, 3))
}

// split turns [B, T, width] into [B, heads, T, width/heads].
func (a *Attention) split(x *torch.Tensor) *torch.Tensor {
	s := x.Shape()
	return x.Reshape(s[0], s[1], a.Heads, s[2]/a.Heads).Transpose(1, 2)
}

// MultiheadAttention is Attention with the three input projections in one
// matrix, as torch.nn.MultiheadAttention stores them.
type MultiheadAttention struct {
	InWeight *torch.Tensor `weight:"in_proj_weight"` // [3·width, width]: query, key, value
	InBias   *torch.Tensor `weight:"in_proj_bias"`   // [3·width]
	Out      *Linear       `weight:"out_proj"`
	Heads    int
}

// NewMultiheadAttention makes attention of a width that heads divides, of zeros.
func NewMultiheadAttention(width, heads int) *MultiheadAttention {
	return &MultiheadAttention{InWeight: zeros(3*width, width), InBias: zeros(3 * width), Out: NewLinear(width, width, true), Heads: heads}
}

// Forward is as Attention's, without a mask.
func (m *MultiheadAttention) Forward(x, memory *torch.Tensor) *torch.Tensor {
	width := m.InWeight.Dim(1)
	part := func(i int) *Linear {
		return &Linear{Weight: m.InWeight.Narrow(0, i*width, width), Bias: m.InBias.Narrow(0, i*width, width)}
	}
	a := Attention{Query: part(0), Key: part(1), Value: part(2), Out: m.Out, Heads: m.Heads}
	return a.Forward(x, memory, nil)
}

// CausalMask is additive, [length, length]: a position sees itself and those before it.
func CausalMask(d torch.Device, length int) *torch.Tensor {
	// -1e4 rather than -inf keeps low precision softmax free of NaN.
	return torch.Full(d, -1e4, length, length).Triu(1)
}

func zeros(shape ...int) *torch.Tensor {
	return torch.Zeros(torch.CPU, torch.Float32, shape...).Keep()
}

func ones(shape ...int) *torch.Tensor { return torch.Full(torch.CPU, 1, shape...).Keep() }
