package clip

import (
	"fmt"
	"slices"
	"strings"

	"arf/nn"
)

// architecture has the sizes of a published model by open_clip's name. Facts
// from open_clip's src/open_clip/model_configs/*.json (version 3, June 2026).
type architecture struct {
	name     string
	embedDim int
	vision   visionSizes
	text     textSizes
	// What few have.
	layerScale float64
	clipa      bool   // mean pooling, no pre-norm; text without causal mask, the last token's feature
	tokenizer  string // hf_tokenizer_name
}

type visionSizes struct {
	image, layers, width, patch, headWidth int
	mlpRatio                               float64
	stages                                 []int // of a ModifiedResNet
}

type textSizes struct{ width, heads, layers int }

func vit(image, layers, width, patch int) visionSizes {
	return visionSizes{image: image, layers: layers, width: width, patch: patch, headWidth: 64, mlpRatio: 4}
}

func (v visionSizes) heads(width int, mlpRatio float64) visionSizes {
	v.headWidth, v.mlpRatio = width, mlpRatio
	return v
}

func resnet(image, width int, stages ...int) visionSizes {
	return visionSizes{image: image, width: width, headWidth: 64, stages: stages}
}

// quickGELU ends the names of models with OpenAI's activation; the others have GELU.
const quickGELU = "-quickgelu"

var architectures = []architecture{
	{name: "RN50", embedDim: 1024, vision: resnet(224, 64, 3, 4, 6, 3), text: textSizes{512, 8, 12}},
	{name: "RN101", embedDim: 512, vision: resnet(224, 64, 3, 4, 23, 3), text: textSizes{512, 8, 12}},
	{name: "RN50x4", embedDim: 640, vision: resnet(288, 80, 4, 6, 10, 6), text: textSizes{640, 10, 12}},
	{name: "RN50x16", embedDim: 768, vision: resnet(384, 96, 6, 8, 18, 8), text: textSizes{768, 12, 12}},
	{name: "RN50x64", embedDim: 1024, vision: resnet(448, 128, 3, 15, 36, 10), text: textSizes{1024, 16, 12}},

	{name: "ViT-S-32-alt", embedDim: 256, vision: vit(224, 12, 384, 32), text: textSizes{256, 4, 10}},
	{name: "ViT-S-32", embedDim: 384, vision: vit(224, 12, 384, 32), text: textSizes{384, 6, 12}},
	{name: "ViT-S-16-alt", embedDim: 256, vision: vit(224, 12, 384, 16), text: textSizes{256, 4, 10}},
	{name: "ViT-S-16", embedDim: 384, vision: vit(224, 12, 384, 16), text: textSizes{384, 6, 12}},
	{name: "ViT-M-32-alt", embedDim: 384, vision: vit(224, 12, 512, 32), text: textSizes{384, 6, 12}},
	{name: "ViT-M-32", embedDim: 512, vision: vit(224, 12, 512, 32), text: textSizes{512, 8, 12}},
	{name: "ViT-M-16-alt", embedDim: 384, vision: vit(224, 12, 512, 16), text: textSizes{384, 6, 12}, layerScale: 1e-4},
	{name: "ViT-M-16", embedDim: 512, vision: vit(224, 12, 512, 16), text: textSizes{512, 8, 12}},

	{name: "ViT-B-32", embedDim: 512, vision: vit(224, 12, 768, 32), text: textSizes{512, 8, 12}},
	{name: "ViT-B-32-256", embedDim: 512, vision: vit(256, 12, 768, 32), text: textSizes{512, 8, 12}},
	{name: "ViT-B-32-plus-256", embedDim: 640, vision: vit(256, 12, 896, 32), text: textSizes{640, 10, 12}},
	{name: "ViT-B-16", embedDim: 512, vision: vit(224, 12, 768, 16), text: textSizes{512, 8, 12}},
	{name: "ViT-B-16-plus", embedDim: 640, vision: vit(224, 12, 896, 16), text: textSizes{640, 10, 12}},
	{name: "ViT-B-16-plus-240", embedDim: 640, vision: vit(240, 12, 896, 16), text: textSizes{640, 10, 12}},
	{name: "ViT-L-16", embedDim: 768, vision: vit(224, 24, 1024, 16), text: textSizes{768, 12, 12}},
	{name: "ViT-L-16-320", embedDim: 768, vision: vit(320, 24, 1024, 16), text: textSizes{768, 12, 12}},
	{name: "ViT-L-14", embedDim: 768, vision: vit(224, 24, 1024, 14), text: textSizes{768, 12, 12}},
	{name: "ViT-L-14-280", embedDim: 768, vision: vit(280, 24, 1024, 14), text: textSizes{768, 12, 12}},
	{name: "ViT-L-14-336", embedDim: 768, vision: vit(336, 24, 1024, 14), text: textSizes{768, 12, 12}},
	{name: "ViT-H-16", embedDim: 1024, vision: vit(224, 32, 1280, 16).heads(80, 4), text: textSizes{1024, 16, 24}},
	{name: "ViT-H-14", embedDim: 1024, vision: vit(224, 32, 1280, 14).heads(80, 4), text: textSizes{1024, 16, 24}},
	{name: "ViT-H-14-378", embedDim: 1024, vision: vit(378, 32, 1280, 14).heads(80, 4), text: textSizes{1024, 16, 24}},
	{name: "ViT-g-14", embedDim: 1024, vision: vit(224, 40, 1408, 14).heads(88, 4.3637), text: textSizes{1024, 16, 24}},
	{name: "ViT-bigG-14", embedDim: 1280, vision: vit(224, 48, 1664, 14).heads(104, 4.9231), text: textSizes{1280, 20, 32}},
	{name: "ViT-e-14", embedDim: 1280, vision: vit(224, 56, 1792, 14).heads(112, 8.5715), text: textSizes{1280, 20, 36}},

	{name: "ViT-L-14-CLIPA", embedDim: 768, vision: vit(224, 24, 1024, 14), text: textSizes{768, 12, 12}, clipa: true, tokenizer: "bert-base-uncased"},
	{name: "ViT-L-14-CLIPA-336", embedDim: 768, vision: vit(336, 24, 1024, 14), text: textSizes{768, 12, 12}, clipa: true, tokenizer: "bert-base-uncased"},
	{name: "ViT-H-14-CLIPA", embedDim: 1024, vision: vit(224, 32, 1280, 14).heads(80, 4), text: textSizes{1024, 16, 24}, clipa: true, tokenizer: "bert-base-uncased"},
	{name: "ViT-H-14-CLIPA-336", embedDim: 1024, vision: vit(336, 32, 1280, 14).heads(80, 4), text: textSizes{1024, 16, 24}, clipa: true, tokenizer: "bert-base-uncased"},
	{name: "ViT-bigG-14-CLIPA", embedDim: 1280, vision: vit(224, 48, 1664, 14).heads(104, 4.9231), text: textSizes{1280, 20, 32}, clipa: true, tokenizer: "bert-base-uncased"},
	{name: "ViT-bigG-14-CLIPA-336", embedDim: 1280, vision: vit(336, 48, 1664, 14).heads(104, 4.9231), text: textSizes{1280, 20, 32}, clipa: true, tokenizer: "bert-base-uncased"},
}

// Architectures lists the names that LoadOptions.Architecture knows, which are
// open_clip's. Each may have "-quickgelu" behind it.
func Architectures() []string {
	names := make([]string, len(architectures))
	for i, a := range architectures {
		names[i] = a.name
	}
	return names
}

// findArchitecture also takes OpenAI's spelling, ViT-B/32 and ViT-L/14@336px.
func findArchitecture(name string) (architecture, error) {
	plain := strings.NewReplacer("/", "-", "@336px", "-336").Replace(name)
	base, quick := strings.CutSuffix(plain, quickGELU)
	for _, a := range architectures {
		if strings.EqualFold(a.name, base) {
			if quick {
				a.name += quickGELU
			}
			return a, nil
		}
	}
	return architecture{}, fmt.Errorf("architecture %q is not known; known are %s, each also with %s behind it", name, strings.Join(Architectures(), ", "), quickGELU)
}

// ArchitectureConfig gives the sizes of one of Architectures.
func ArchitectureConfig(name string) (Config, error) {
	a, err := findArchitecture(name)
	if err != nil {
		return Config{}, err
	}
	return a.config(), nil
}

func (a architecture) config() Config {
	v, t := a.vision, a.text
	c := Config{
		EmbedDim: a.embedDim,
		Vision: VisionConfig{
			ImageSize: v.image, Width: v.width, Heads: v.width / v.headWidth, Activation: nn.GELU, Eps: defaultEps,
			PatchSize: v.patch, Layers: v.layers, MLPWidth: int(float64(v.width) * v.mlpRatio), LayerScale: a.layerScale,
		},
		Text: TextConfig{
			ContextLength: 77, VocabSize: 49408, Width: t.width, Heads: t.heads, Layers: t.layers, MLPWidth: 4 * t.width,
			Activation: nn.GELU, Eps: defaultEps, EOS: 49407, ArgmaxPooling: true,
		},
	}
	if v.stages != nil {
		c.Vision.ResNetLayers, c.Vision.Heads = slices.Clone(v.stages), v.width*32/v.headWidth
	}
	if a.clipa {
		c.Vision.NoPreNorm, c.Vision.Pooling, c.Vision.NormAfterPool = true, MeanPooling, true
		c.Text.ContextLength, c.Text.VocabSize, c.Text.EOS = 32, 32000, 31999
		c.Text.ArgmaxPooling, c.Text.LastPooling, c.Text.NonCausal, c.Text.StripEOS = false, true, true, true
	}
	if strings.HasSuffix(a.name, quickGELU) {
		c.setActivation(nn.QuickGELU)
	}
	return c
}

// Architecture is open_clip's name for a model of these sizes, or a description.
func (c Config) Architecture() string {
	for _, a := range architectures {
		for _, suffix := range []string{"", quickGELU} {
			a := a
			a.name += suffix
			if sameSizes(a.config(), c) && a.config().Text.Activation == c.Text.Activation {
				return a.name
			}
		}
	}
	v := c.Vision
	if c.SigLIP {
		return fmt.Sprintf("SigLIP of %d layers, width %d, patch %d, %d px", v.Layers, v.Width, v.PatchSize, v.ImageSize)
	}
	if v.IsResNet() {
		return fmt.Sprintf("ModifiedResNet of %v blocks, width %d, %d px", v.ResNetLayers, v.Width, v.ImageSize)
	}
	return fmt.Sprintf("ViT of %d layers, width %d, patch %d, %d px", v.Layers, v.Width, v.PatchSize, v.ImageSize)
}

// sameSizes compares what shapes of weights show.
func sameSizes(a, b Config) bool {
	v, w, t, u := a.Vision, b.Vision, a.Text, b.Text
	return a.EmbedDim == b.EmbedDim && slices.Equal(v.ResNetLayers, w.ResNetLayers) &&
		v.ImageSize == w.ImageSize && v.Width == w.Width && (v.IsResNet() || v.PatchSize == w.PatchSize && v.Layers == w.Layers && v.MLPWidth == w.MLPWidth) &&
		v.NoPreNorm == w.NoPreNorm && (v.LayerScale > 0) == (w.LayerScale > 0) &&
		t.Width == u.Width && t.Layers == u.Layers && t.MLPWidth == u.MLPWidth && t.ContextLength == u.ContextLength
}
