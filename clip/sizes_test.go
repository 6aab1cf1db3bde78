package clip

import (
	"math"
	"strings"
	"testing"

	"arf/nn"
	"arf/torch"
)

// The published models' sizes against open_clip's own table of parameters
// (docs/model_profile.csv, millions).
func TestPublishedSizes(t *testing.T) {
	published := map[string]float64{
		"RN50": 102.01, "RN101": 119.69, "RN50x4": 178.3, "RN50x16": 290.98, "RN50x64": 623.26,
		"ViT-S-32-alt": 43.22, "ViT-S-32": 63.09, "ViT-S-16-alt": 42.4, "ViT-S-16": 62.26,
		"ViT-M-32-alt": 80.07, "ViT-M-32": 103.12, "ViT-M-16-alt": 78.98, "ViT-M-16": 102.02,
		"ViT-B-32": 151.28, "ViT-B-32-256": 151.29, "ViT-B-32-plus-256": 210.3,
		"ViT-B-16": 149.62, "ViT-B-16-plus": 208.35, "ViT-B-16-plus-240": 208.38,
		"ViT-L-16": 427.74, "ViT-L-16-320": 427.95, "ViT-L-14": 427.62, "ViT-L-14-280": 427.76, "ViT-L-14-336": 427.94,
		"ViT-H-16": 986.26, "ViT-H-14": 986.11, "ViT-H-14-378": 986.71, "ViT-g-14": 1366.68,
		"ViT-bigG-14": 2539.57, "ViT-e-14": 4581.09,
		"ViT-L-14-CLIPA": 414.21, "ViT-L-14-CLIPA-336": 414.54, "ViT-H-14-CLIPA": 968.24, "ViT-H-14-CLIPA-336": 968.64,
		"ViT-bigG-14-CLIPA": 2517.22, "ViT-bigG-14-CLIPA-336": 2517.76,
	}
	for _, name := range Architectures() {
		c, err := ArchitectureConfig(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want, ok := published[name]
		if got := float64(c.Parameters()) / 1e6; !ok || math.Abs(got-want) > 0.006 {
			t.Errorf("%s: %.3f million parameters, published are %.2f", name, got, want)
		}
	}
}

// Parameters counts what New makes.
func TestParameters(t *testing.T) {
	for _, name := range []string{"vit_gelu_eos", "vit_quickgelu_argmax", "resnet"} {
		golden, _ := readGolden(t, name)
		c := golden.Config
		for i := range 3 {
			switch i {
			case 1:
				c.Text.LayerScale, c.Vision.LayerScale = 0.1, 0.1
			case 2:
				c.Vision.NoPreNorm = true
			}
			if c.Vision.IsResNet() {
				c.Vision.LayerScale, c.Vision.NoPreNorm = 0, false
			}
			m, err := New(c)
			if err != nil {
				t.Fatal(err)
			}
			want := 0
			for _, p := range m.Trainable() {
				want += torch.Elements(p.Tensor.Shape())
			}
			for _, p := range nn.Params(m) {
				p.Tensor.Free()
			}
			if got := c.Parameters(); got != want {
				t.Errorf("%s %d: %d parameters, New made %d", name, i, got, want)
			}
		}
	}
}

func TestArchitectureNames(t *testing.T) {
	for _, name := range append(Architectures(), "ViT-B-32-quickgelu", "ViT-H-14-378-quickgelu", "RN50-quickgelu") {
		c, err := ArchitectureConfig(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Architecture(); got != name {
			t.Errorf("%s calls itself %s", name, got)
		}
		if quick := strings.HasSuffix(name, quickGELU); quick != (c.Text.Activation == nn.QuickGELU) || quick != (c.Vision.Activation == nn.QuickGELU) {
			t.Errorf("%s: activations %s and %s", name, c.Vision.Activation, c.Text.Activation)
		}
	}
	for given, want := range map[string]string{"ViT-B/32": "ViT-B-32", "ViT-L/14@336px": "ViT-L-14-336", "vit-l-14-QuickGELU": ""} {
		c, err := ArchitectureConfig(given)
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), given) || !strings.Contains(err.Error(), "ViT-bigG-14") {
				t.Errorf("%s: error %v", given, err)
			}
			continue
		}
		if err != nil || c.Architecture() != want {
			t.Errorf("%s: %v, %v", given, c.Architecture(), err)
		}
	}
}
