package clip

import (
	"fmt"
	"math"
	"testing"

	"arf/nn"
)

// The published models' sizes, made from their open_clip configs, against
// open_clip's own table of parameters (docs/model_profile.csv, millions).
func TestPublishedSizes(t *testing.T) {
	text := func(width, heads int) string {
		return fmt.Sprintf(`{"context_length": 77, "vocab_size": 49408, "width": %d, "heads": %d, "layers": 12}`, width, heads)
	}
	for _, c := range []struct {
		name     string
		embedDim int
		vision   string
		text     string
		millions float64
	}{
		{"RN50", 1024, `{"image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "patch_size": null}`, text(512, 8), 102.01},
		{"RN101", 512, `{"image_size": 224, "layers": [3, 4, 23, 3], "width": 64, "patch_size": null}`, text(512, 8), 119.69},
		{"RN50x4", 640, `{"image_size": 288, "layers": [4, 6, 10, 6], "width": 80, "patch_size": null}`, text(640, 10), 178.30},
		{"RN50x64", 1024, `{"image_size": 448, "layers": [3, 15, 36, 10], "width": 128, "patch_size": null}`, text(1024, 16), 623.26},
		{"ViT-B-32", 512, `{"image_size": 224, "layers": 12, "width": 768, "patch_size": 32}`, text(512, 8), 151.28},
		{"ViT-B-16", 512, `{"image_size": 224, "layers": 12, "width": 768, "patch_size": 16}`, text(512, 8), 149.62},
		{"ViT-L-14", 768, `{"image_size": 224, "layers": 24, "width": 1024, "patch_size": 14}`, text(768, 12), 427.62},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, _, _, err := parseOpenCLIPConfig([]byte(fmt.Sprintf(
				`{"model_cfg": {"embed_dim": %d, "quick_gelu": true, "vision_cfg": %s, "text_cfg": %s}, "preprocess_cfg": {}}`, c.embedDim, c.vision, c.text)))
			if err != nil {
				t.Fatal(err)
			}
			m, err := New(config)
			if err != nil {
				t.Fatal(err)
			}
			parameters := 0
			for _, p := range m.Trainable() {
				n := 1
				for _, size := range p.Tensor.Shape() {
					n *= size
				}
				parameters += n
			}
			for _, p := range nn.Params(m) {
				p.Tensor.Free()
			}
			if got := float64(parameters) / 1e6; math.Abs(got-c.millions) > 0.006 {
				t.Errorf("%.3f million parameters, published are %.2f", got, c.millions)
			}
		})
	}
}
