package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"arf/checkpoint"
	"arf/clip"
	"arf/torch"
)

// Head classifies: the logits of features f [B, Dim] of length 1 are
// s·f·Weightᵀ with the model's logit scale s.
type Head struct {
	Classes []string
	Dim     int
	Weight  []float32 // [len(Classes), Dim]
}

// ZeroShotHead makes the head of class prompts: for each class the normalised
// mean of the features of its names in all templates (Radford et al. 2021,
// §3.1.4). Its rows have length 1. precision is torch.BFloat16 or torch.Float32
// (the zero value too).
func ZeroShotHead(ctx context.Context, model *clip.Model, classes []Class, templates []string, precision torch.DType) (*Head, error) {
	h := &Head{Dim: model.Config.EmbedDim}
	var names [][]string
	for _, c := range classes {
		h.Classes = append(h.Classes, c.Name)
		names = append(names, c.prompts())
	}
	var err error
	h.Weight, err = model.ClassFeatures(ctx, names, templates, precision)
	return h, err
}

// Rows picks the rows of the given classes: by name, or else by what stands in
// their prompts; false if one is missing.
func (h *Head) Rows(classes []Class) ([]float32, bool) {
	at := make(map[string]int, len(h.Classes))
	for i, name := range h.Classes {
		at[name] = i
	}
	pick := func(name func(*Class) string) ([]float32, bool) {
		out := make([]float32, 0, len(classes)*h.Dim)
		used := make(map[int]bool, len(classes))
		for k := range classes {
			i, ok := at[name(&classes[k])]
			if !ok || used[i] {
				return nil, false
			}
			used[i] = true
			out = append(out, h.Weight[i*h.Dim:(i+1)*h.Dim]...)
		}
		return out, true
	}
	if rows, ok := pick(func(c *Class) string { return c.Name }); ok {
		return rows, true
	}
	return pick(func(c *Class) string { return c.prompts()[0] })
}

func (h *Head) check() error {
	if h.Dim < 1 || len(h.Weight) != len(h.Classes)*h.Dim {
		return fmt.Errorf("head: %d weights for %d classes of %d columns", len(h.Weight), len(h.Classes), h.Dim)
	}
	return nil
}

const (
	headTensor  = "weight"
	headClasses = "classes"
)

// Save writes the head as safetensors, atomically.
func (h *Head) Save(path string) (err error) {
	defer torch.Catch(&err)
	if err := h.check(); err != nil {
		return err
	}
	names, err := json.Marshal(h.Classes)
	if err != nil {
		return err
	}
	var weight checkpoint.Tensor
	torch.Scope(func() {
		weight = checkpoint.FromTorch(torch.From(torch.CPU, h.Weight, len(h.Classes), h.Dim))
	})
	return checkpoint.WriteSafetensors(path, checkpoint.Tensors{headTensor: weight}, map[string]string{headClasses: string(names)})
}

// LoadHead reads what Save wrote.
func LoadHead(path string) (h *Head, err error) {
	defer torch.Catch(&err)
	tensors, metadata, err := checkpoint.ReadSafetensors(path)
	if err != nil {
		return nil, err
	}
	h = &Head{}
	weight, ok := tensors[headTensor]
	if !ok || len(weight.Shape) != 2 || len(tensors) != 1 {
		return nil, fmt.Errorf("%s: want one tensor %q of two dimensions; is it a classification head?", path, headTensor)
	}
	if err := json.Unmarshal([]byte(metadata[headClasses]), &h.Classes); err != nil {
		return nil, fmt.Errorf("%s: class names in the metadata: %w", path, err)
	}
	h.Dim = weight.Shape[1]
	torch.Scope(func() { h.Weight = torch.To[float32](weight.ToTorch(torch.CPU).Cast(torch.Float32)) })
	if err := h.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return h, nil
}

// InterpolateHeads is (1−alpha)·pretrained + alpha·finetuned, as Interpolate
// does with models.
func InterpolateHeads(pretrained, finetuned *Head, alpha float64) (*Head, error) {
	if err := errors.Join(pretrained.check(), finetuned.check(), checkAlpha(alpha)); err != nil {
		return nil, fmt.Errorf("interpolate heads: %w", err)
	}
	rows, ok := pretrained.Rows(Classes(finetuned.Classes...))
	if !ok || pretrained.Dim != finetuned.Dim || len(pretrained.Classes) != len(finetuned.Classes) {
		return nil, errors.New("interpolate heads: they have different classes or columns")
	}
	h := &Head{Classes: finetuned.Classes, Dim: finetuned.Dim, Weight: rows}
	for i, f := range finetuned.Weight {
		h.Weight[i] = mix(rows[i], f, alpha)
	}
	return h, nil
}

func mix(a, b float32, alpha float64) float32 {
	switch alpha {
	case 0:
		return a
	case 1:
		return b
	}
	return float32((1-alpha)*float64(a) + alpha*float64(b))
}
