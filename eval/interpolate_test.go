package eval

import (
	"math"
	"strings"
	"testing"

	"arf/clip"
	"arf/internal/cliptest"
	"arf/nn"
	"arf/torch"
)

func resnet(t *testing.T, seed int64) *clip.Model {
	t.Helper()
	c := cliptest.Model(t, 1).Config
	c.Vision = clip.VisionConfig{ImageSize: 32, Width: 8, Heads: 4, Activation: nn.GELU, ResNetLayers: []int{1, 1, 1, 1}}
	m, err := clip.New(c)
	if err != nil {
		t.Fatal(err)
	}
	m.Init(seed)
	torch.Scope(func() {
		m.ResNet.BN1.Mean.Copy_(torch.Randn(torch.CPU, m.ResNet.BN1.Mean.Shape()...))
	})
	return m
}

func TestInterpolate(t *testing.T) {
	for name, models := range map[string][2]*clip.Model{
		"ViT":    {cliptest.Model(t, 1), cliptest.Model(t, 2)},
		"ResNet": {resnet(t, 1), resnet(t, 2)},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := models[0], models[1]
			differ, buffers := 0, 0
			for _, alpha := range []float64{0, 0.25, 0.5, 1} {
				m, err := Interpolate(a, b, alpha)
				if err != nil {
					t.Fatal(err)
				}
				pa, pb, pm := nn.Params(a), nn.Params(b), nn.Params(m)
				for i := range pm {
					x, y, z := torch.To[float32](pa[i].Tensor.Detach()), torch.To[float32](pb[i].Tensor.Detach()), torch.To[float32](pm[i].Tensor.Detach())
					for j := range z {
						want := (1-alpha)*float64(x[j]) + alpha*float64(y[j])
						exact := alpha == 0 && z[j] == x[j] || alpha == 1 && z[j] == y[j]
						if !exact && (alpha == 0 || alpha == 1 || math.Abs(float64(z[j])-want) > 1e-5*(1+math.Abs(want))) {
							t.Fatalf("alpha %v: %s[%d] is %v between %v and %v", alpha, pm[i].Name, j, z[j], x[j], y[j])
						}
						if x[j] != y[j] {
							differ++
							if pm[i].Buffer {
								buffers++
							}
						}
					}
				}
			}
			if differ == 0 || name == "ResNet" && buffers == 0 {
				t.Error("the models don't differ: this tests nothing")
			}
		})
	}
}

func TestInterpolateRefuses(t *testing.T) {
	a, b := cliptest.Model(t, 1), cliptest.Model(t, 2)
	for _, alpha := range []float64{-0.1, 1.1, math.NaN()} {
		if _, err := Interpolate(a, b, alpha); err == nil || !strings.Contains(err.Error(), "alpha") {
			t.Errorf("alpha %v: %v", alpha, err)
		}
	}
	if _, err := Interpolate(a, resnet(t, 1), 0.5); err == nil || !strings.Contains(err.Error(), "architecture") {
		t.Errorf("another architecture: %v", err)
	}
	b.Config.Text.Activation = nn.QuickGELU
	if _, err := Interpolate(a, b, 0.5); err == nil || !strings.Contains(err.Error(), "quick_gelu") {
		t.Errorf("another activation: %v", err)
	}
}

func TestInterpolateHeads(t *testing.T) {
	a := &Head{Classes: []string{"x", "y"}, Dim: 2, Weight: []float32{1, 2, 3, 4}}
	b := &Head{Classes: []string{"y", "x"}, Dim: 2, Weight: []float32{5, 6, 7, 8}}
	for alpha, want := range map[float64][]float32{0: {3, 4, 1, 2}, 1: {5, 6, 7, 8}, 0.5: {4, 5, 4, 5}} {
		h, err := InterpolateHeads(a, b, alpha)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			if h.Weight[i] != want[i] || h.Classes[0] != "y" {
				t.Errorf("alpha %v: %+v, want %v", alpha, h, want)
			}
		}
	}
	if a.Weight[0] != 1 {
		t.Error("the pretrained head was changed")
	}
	if _, err := InterpolateHeads(a, &Head{Classes: []string{"x"}, Dim: 2, Weight: []float32{1, 2}}, 0.5); err == nil {
		t.Error("other classes are accepted")
	}
}
