package torch

// Add is t + other, broadcast.
func (t *Tensor) Add(other *Tensor) *Tensor { return call1("aten::add.Tensor", t, other) }

// Sub is t - other, broadcast.
func (t *Tensor) Sub(other *Tensor) *Tensor { return call1("aten::sub.Tensor", t, other) }

// Mul is t · other elementwise, broadcast.
func (t *Tensor) Mul(other *Tensor) *Tensor { return call1("aten::mul.Tensor", t, other) }

// Div is t / other elementwise, broadcast.
func (t *Tensor) Div(other *Tensor) *Tensor { return call1("aten::div.Tensor", t, other) }

// Scale is t · x.
func (t *Tensor) Scale(x float64) *Tensor { return call1("aten::mul.Scalar", t, x) }

// Scale_ multiplies t by x in place.
func (t *Tensor) Scale_(x float64) *Tensor { return call1("aten::mul_.Scalar", t, x) }

// Add_ adds alpha·other to t in place.
func (t *Tensor) Add_(other *Tensor, alpha float64) *Tensor {
	return call1("aten::add_.Tensor", t, other, alpha)
}

// AddScalar is t + x.
func (t *Tensor) AddScalar(x float64) *Tensor { return call1("aten::add.Scalar", t, x) }

// RSqrt is 1/√t.
func (t *Tensor) RSqrt() *Tensor { return call1("aten::rsqrt", t) }

// Exp is e to the t.
func (t *Tensor) Exp() *Tensor { return call1("aten::exp", t) }

// Tanh is the hyperbolic tangent.
func (t *Tensor) Tanh() *Tensor { return call1("aten::tanh", t) }

// ReLU is max(t, 0).
func (t *Tensor) ReLU() *Tensor { return call1("aten::relu", t) }

// ReLU_ sets negative elements to 0 in place.
func (t *Tensor) ReLU_() *Tensor { return call1("aten::relu_", t) }

// GELU is t·Φ(t), the exact form (erf).
func (t *Tensor) GELU() *Tensor { return call1("aten::gelu", t) }

// GELUTanh is GELU's approximation by tanh (Hendrycks & Gimpel 2016, §2), to
// which Hugging Face gives the name "gelu_pytorch_tanh".
func (t *Tensor) GELUTanh() *Tensor { return call1("aten::gelu", t, "tanh") }

// QuickGELU is t·σ(1.702 t), the activation of OpenAI's weights
// (openai/CLIP, model.py), as SiLU(1.702 t)/1.702, which keeps fewer
// intermediates for the gradient.
func (t *Tensor) QuickGELU() *Tensor { return call1("aten::silu", t.Scale(1.702)).Scale(1 / 1.702) }

// Clamp_ limits elements in place.
func (t *Tensor) Clamp_(min, max float64) *Tensor { return call1("aten::clamp_", t, min, max) }

// MaskedFill sets elements to value where mask (bool) is true.
func (t *Tensor) MaskedFill(mask *Tensor, value float64) *Tensor {
	return call1("aten::masked_fill.Scalar", t, mask, value)
}

// Eq compares elementwise, broadcast; the result is bool.
func (t *Tensor) Eq(other *Tensor) *Tensor { return call1("aten::eq.Tensor", t, other) }

// EqScalar compares elements with x; the result is bool.
func (t *Tensor) EqScalar(x float64) *Tensor { return call1("aten::eq.Scalar", t, x) }

// LeScalar tells which elements are at most x; the result is bool. NaN isn't.
func (t *Tensor) LeScalar(x float64) *Tensor { return call1("aten::le.Scalar", t, x) }

// Not is the elementwise negation of a bool tensor.
func (t *Tensor) Not() *Tensor { return call1("aten::logical_not", t) }

// Sum adds up all elements.
func (t *Tensor) Sum() *Tensor { return call1("aten::sum", t) }

// SumDim adds up along a dimension.
func (t *Tensor) SumDim(dim int, keep bool) *Tensor {
	return call1("aten::sum.dim_IntList", t, []int{dim}, keep)
}

// Mean averages all elements.
func (t *Tensor) Mean() *Tensor { return call1("aten::mean", t) }

// MeanDim averages along a dimension.
func (t *Tensor) MeanDim(dim int, keep bool) *Tensor {
	return call1("aten::mean.dim", t, []int{dim}, keep)
}

// Norm is the Euclidean norm along a dimension.
func (t *Tensor) Norm(dim int, keep bool) *Tensor {
	return call1("aten::norm.ScalarOpt_dim", t, 2, []int{dim}, keep)
}

// Normalize divides by the Euclidean norm along the last dimension.
func (t *Tensor) Normalize() *Tensor { return t.Div(t.Norm(-1, true)) }

// ArgMax gives the index (int64) of the greatest element along a dimension,
// the first where several are equal.
func (t *Tensor) ArgMax(dim int) *Tensor { return call1("aten::argmax", t, dim, false) }

// AMax is the greatest element along a dimension; NaN where one is among them.
func (t *Tensor) AMax(dim int) *Tensor { return call1("aten::amax", t, []int{dim}, false) }

// NonZero gives the places of the elements that aren't 0 or false, in row-major
// order, as int64 [count, dimensions].
func (t *Tensor) NonZero() *Tensor { return call1("aten::nonzero", t) }

// TopK gives the k greatest elements along the last dimension, in falling
// order, and their indices (int64).
func (t *Tensor) TopK(k int) (values, indices *Tensor) {
	r := Call("aten::topk", t, k, -1, true, true)
	return r[0].(*Tensor), r[1].(*Tensor)
}

// Softmax normalises exponentials along a dimension.
func (t *Tensor) Softmax(dim int) *Tensor { return call1("aten::softmax.int", t, dim) }

// LogSoftmax is the logarithm of Softmax, computed stably.
func (t *Tensor) LogSoftmax(dim int) *Tensor { return call1("aten::log_softmax.int", t, dim) }

// LogSigmoid is log σ(t), computed stably.
func (t *Tensor) LogSigmoid() *Tensor { return call1("aten::log_sigmoid", t) }

// AllFinite tells whether no element is NaN or infinite.
func (t *Tensor) AllFinite() bool {
	return To[uint8](call1("aten::all", call1("aten::isfinite", t)).Cast(Uint8))[0] == 1
}
