package eval

import (
	"fmt"
	"math"
	"slices"

	"arf/clip"
	"arf/nn"
	"arf/torch"
)

// Interpolate makes the model of weights θ = (1−alpha)·θ₀ + alpha·θ₁ between a
// pretrained and a finetuned one (WiSE-FT, Wortsman et al. 2022, eq. 1), running
// statistics too. alpha is in [0, 1]; its ends give exactly the models.
func Interpolate(pretrained, finetuned *clip.Model, alpha float64) (m *clip.Model, err error) {
	defer torch.Catch(&err)
	m, err = clip.New(pretrained.Config)
	if err != nil {
		return nil, fmt.Errorf("interpolate: %w", err)
	}
	m.To(pretrained.Device())
	m.Tokenizer, m.Preprocess = pretrained.Tokenizer, pretrained.Preprocess
	return m, InterpolateInto(m, pretrained, finetuned, alpha)
}

// InterpolateInto is Interpolate into a model that is there, of the same
// architecture, so that a whole curve needs one.
func InterpolateInto(m, pretrained, finetuned *clip.Model, alpha float64) (err error) {
	defer torch.Catch(&err)
	if err := checkAlpha(alpha); err != nil {
		return fmt.Errorf("interpolate: %w", err)
	}
	for _, tower := range []struct {
		name string
		a, b nn.Activation
	}{
		{"image", pretrained.Config.Vision.Activation, finetuned.Config.Vision.Activation},
		{"text", pretrained.Config.Text.Activation, finetuned.Config.Text.Activation},
	} {
		resnet := tower.name == "image" && pretrained.Config.Vision.IsResNet()
		if tower.a != tower.b && !resnet {
			return fmt.Errorf("interpolate: the %s towers have the activations %q and %q; they must be of one architecture", tower.name, tower.a, tower.b)
		}
	}
	dst, a, b := nn.Params(m), nn.Params(pretrained), nn.Params(finetuned)
	if len(a) != len(b) || len(a) != len(dst) {
		return fmt.Errorf("interpolate: the models have %d and %d tensors; they must be of one architecture", len(a), len(b))
	}
	for i := range dst {
		for _, p := range []nn.Param{b[i], dst[i]} {
			if p.Name != a[i].Name || !slices.Equal(p.Tensor.Shape(), a[i].Tensor.Shape()) {
				return fmt.Errorf("interpolate: tensor %s %v of one model is %s %v in the other; they must be of one architecture",
					a[i].Name, a[i].Tensor.Shape(), p.Name, p.Tensor.Shape())
			}
		}
	}
	torch.Scope(func() {
		torch.NoGrad(func() {
			for i := range dst {
				torch.Scope(func() { dst[i].Tensor.Copy_(blend(a[i].Tensor, b[i].Tensor, alpha)) })
			}
		})
	})
	return nil
}

func blend(a, b *torch.Tensor, alpha float64) *torch.Tensor {
	switch alpha {
	case 0:
		return a
	case 1:
		return b
	}
	return a.Scale(1 - alpha).Add(b.ToDevice(a.Device()).Scale(alpha))
}

func checkAlpha(alpha float64) error {
	if math.IsNaN(alpha) || alpha < 0 || alpha > 1 {
		return fmt.Errorf("alpha is %v, must be in [0, 1]: 0 is the pretrained model, 1 the finetuned one", alpha)
	}
	return nil
}
