package finetune

import (
	"fmt"

	"arf/clip"
	"arf/eval"
	"arf/torch"
)

// linear is method ft's classifier in training. Its weight holds the factor of
// the model's logit_scale, as WiSE-FT's does (mlfoundations/wise-ft,
// src/models/zeroshot.py); eval.Head's doesn't. WiSE-FT's also has a bias,
// which starts at 0 and at finetuning's learning rates stays far below the
// logits; without it the head interpolates with the zero-shot one.
type linear struct {
	Weight *torch.Tensor `weight:"weight"` // [classes, D]
}

// newLinear starts from the zero-shot head.
func newLinear(m *clip.Model, classes []string, zeroShot *eval.Head) (*linear, error) {
	if zeroShot == nil {
		return nil, fmt.Errorf("method ft starts from a zero-shot head of its %d classes; there is none", len(classes))
	}
	rows, ok := zeroShot.Rows(eval.Classes(classes...))
	if !ok || zeroShot.Dim != m.Config.EmbedDim {
		return nil, fmt.Errorf("method ft starts from a zero-shot head of its %d classes and the model's %d dimensions; the one given has %d classes, not all the same, or %d dimensions",
			len(classes), m.Config.EmbedDim, len(zeroShot.Classes), zeroShot.Dim)
	}
	h := &linear{}
	torch.Scope(func() {
		torch.NoGrad(func() {
			h.Weight = torch.From(m.Device(), rows, len(classes), zeroShot.Dim).Mul(m.LogitScale.Exp()).Keep()
		})
	})
	return h, nil
}

// forward maps features [B, D] of length 1 to logits [B, classes].
func (h *linear) forward(features *torch.Tensor) *torch.Tensor {
	return torch.Linear(features, h.Weight, nil)
}

// head is the classifier as evaluation takes it, without the factor.
func (h *linear) head(m *clip.Model, classes []string) *eval.Head {
	out := &eval.Head{Classes: classes, Dim: m.Config.EmbedDim}
	torch.Scope(func() {
		torch.NoGrad(func() { out.Weight = torch.To[float32](h.Weight.Div(m.LogitScale.Exp())) })
	})
	return out
}
