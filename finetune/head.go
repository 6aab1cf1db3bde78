package finetune

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"arf/checkpoint"
	"arf/clip"
	"arf/nn"
	"arf/torch"
)

// headFile is beside the model's files.
const headFile = "head.safetensors"

// Head is method ft's classifier: logits of an image feature of length 1 for
// each class. WiSE-FT's also has a bias, which starts at 0 and at finetuning's
// learning rates stays far below the logits; without it the head interpolates
// with the zero-shot one as a plain matrix.
type Head struct {
	Weight  *torch.Tensor `weight:"weight"` // [classes, D]
	Classes []string
}

// newHead starts from the zero-shot head [classes·D], scaled by the factor of
// the model's logit_scale (mlfoundations/wise-ft, src/models/zeroshot.py).
func newHead(m *clip.Model, classes []string, zeroShot []float32) (*Head, error) {
	d := m.Config.EmbedDim
	if len(zeroShot) != len(classes)*d {
		return nil, fmt.Errorf("method ft starts from the zero-shot head, %d classes of %d numbers; got %d numbers", len(classes), d, len(zeroShot))
	}
	h := &Head{Classes: classes}
	torch.Scope(func() {
		torch.NoGrad(func() {
			h.Weight = torch.From(m.Device(), zeroShot, len(classes), d).Mul(m.LogitScale.Exp()).Keep()
		})
	})
	return h, nil
}

// Forward maps features [B, D] to logits [B, classes].
func (h *Head) Forward(features *torch.Tensor) *torch.Tensor {
	return torch.Linear(features, h.Weight, nil)
}

// Save writes head.safetensors into dir, the model's folder: the tensor
// "weight", and the classes as a JSON list in the metadata.
func (h *Head) Save(dir string) (err error) {
	defer torch.Catch(&err)
	classes, err := json.Marshal(h.Classes)
	if err != nil {
		return err
	}
	return checkpoint.WriteSafetensors(filepath.Join(dir, headFile), nn.Export(h), map[string]string{"classes": string(classes)})
}

// LoadHead reads what Save wrote, onto device d.
func LoadHead(dir string, d torch.Device) (h *Head, err error) {
	defer torch.Catch(&err)
	path := filepath.Join(dir, headFile)
	tensors, metadata, err := checkpoint.ReadSafetensors(path)
	if err != nil {
		return nil, err
	}
	h = &Head{}
	if err := json.Unmarshal([]byte(metadata["classes"]), &h.Classes); err != nil {
		return nil, fmt.Errorf("%s: its metadata has no list of classes: %w", path, err)
	}
	weight := tensors["weight"]
	if len(weight.Shape) != 2 || weight.Shape[0] != len(h.Classes) {
		return nil, fmt.Errorf("%s: tensor weight has shape %v, want a row for each of %d classes", path, weight.Shape, len(h.Classes))
	}
	torch.Scope(func() { h.Weight = weight.ToTorch(d).Cast(torch.Float32).Keep() })
	return h, nil
}
