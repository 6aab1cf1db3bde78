package torch

import (
	"math"
	"sync"
)

// MatMul is the matrix product, batched over leading dimensions.
func (t *Tensor) MatMul(other *Tensor) *Tensor { return call1("aten::matmul", t, other) }

// Linear is x·wᵀ + b for w [out, in]; b [out] may be nil.
func Linear(x, w, b *Tensor) *Tensor { return call1("aten::linear", x, w, b) }

// Embedding looks rows of w [n, d] up by int64 indices of any shape.
func Embedding(w, indices *Tensor) *Tensor { return call1("aten::embedding", w, indices) }

// LayerNorm normalises over the last dimension, of w's size.
func LayerNorm(x, w, b *Tensor, eps float64) *Tensor {
	return call1("aten::layer_norm", x, w.Shape(), w, b, eps)
}

// BatchNorm normalises [N,C,H,W] over N, H and W. In training it uses the
// batch's statistics and moves the running ones by momentum.
func BatchNorm(x, w, b, mean, variance *Tensor, training bool, momentum, eps float64) *Tensor {
	return call1("aten::batch_norm", x, w, b, mean, variance, training, momentum, eps, false)
}

// Conv2D convolves [N,C,H,W] with w [out, C, kh, kw]; b may be nil.
func Conv2D(x, w, b *Tensor, stride, padding int) *Tensor {
	return call1("aten::conv2d", x, w, b, []int{stride, stride}, []int{padding, padding})
}

// AvgPool2D averages windows of k×k with stride k.
func AvgPool2D(x *Tensor, k int) *Tensor {
	return call1("aten::avg_pool2d", x, []int{k, k}, []int{k, k})
}

// ResizeBicubic resizes [N,C,H,W] to [N,C,h,w] by Pillow's bicubic filter, which
// is antialiased where it shrinks; torch's interpolate with antialias=True.
func ResizeBicubic(x *Tensor, h, w int) *Tensor {
	return call1("aten::_upsample_bicubic2d_aa", x, []int{h, w}, false)
}

var fusedAttention = sync.OnceValue(func() bool { return HasOperator("aten::scaled_dot_product_attention") })

// Attention is softmax(q·kᵀ/√d + mask)·v (Vaswani et al. 2017, eq. 1) for q
// [B,H,Tq,d], k and v [B,H,Tk,d]. mask is nil or additive, broadcast to
// [B,H,Tq,Tk].
func Attention(q, k, v, mask *Tensor) *Tensor {
	if fusedAttention() {
		return call1("aten::scaled_dot_product_attention", q, k, v, mask)
	}
	logits := q.Scale(1 / math.Sqrt(float64(q.Dim(-1)))).MatMul(k.Transpose(-2, -1))
	if mask != nil {
		logits = logits.Add(mask)
	}
	return logits.Softmax(-1).MatMul(v)
}

// CrossEntropy is the mean over rows of -log softmax(logits [N,C])[target]
// (target int64 [N]); rows whose target is -100 don't count.
func CrossEntropy(logits, target *Tensor) *Tensor {
	return call1("aten::cross_entropy_loss", logits, target)
}

// SoftCrossEntropy is the mean over rows of -Σ target·log softmax(logits) for
// target distributions [N,C].
func SoftCrossEntropy(logits, target *Tensor) *Tensor {
	return logits.LogSoftmax(-1).Mul(target).SumDim(-1, false).Mean().Scale(-1)
}
