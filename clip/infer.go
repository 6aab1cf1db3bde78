package clip

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"arf/checkpoint"
	"arf/nn"
)

// inferConfig finds the sizes in the shapes of a checkpoint in open_clip's
// names, as build_model does in openai/CLIP's model.py. What shapes don't show
// is told: the heads are the published model's of these sizes, else of width
// 64; the activation is QuickGELU in OpenAI's archives and GELU elsewhere;
// texts are pooled at their greatest id.
func inferConfig(tensors checkpoint.Tensors, openAI, quick bool) (Config, string, error) {
	s := shapes{tensors: tensors}
	activation := nn.GELU
	if openAI || quick {
		activation = nn.QuickGELU
	}
	width := s.size("ln_final.weight", 1, 0)
	vocab := s.size("token_embedding.weight", 2, 0)
	c := Config{
		EmbedDim: s.size("text_projection", 2, 1),
		Text: TextConfig{
			ContextLength: s.size("positional_embedding", 2, 0), VocabSize: vocab, Width: width, Heads: width / 64,
			Layers: s.count("transformer.resblocks."), MLPWidth: s.size("transformer.resblocks.0.mlp.c_fc.weight", 2, 0),
			Activation: activation, Eps: defaultEps, EOS: vocab - 1, ArgmaxPooling: true,
		},
		Vision: VisionConfig{Activation: activation, Eps: defaultEps},
	}
	if isResNet(tensors) {
		s.resnet(&c.Vision)
	} else {
		s.vit(&c.Vision)
	}
	if s.err != nil {
		return Config{}, "", s.err
	}
	var told []string
	headWidth, from := 64, "no published model has these sizes"
	for _, a := range architectures {
		known := a.config()
		if sameSizes(known, c) {
			c.Vision.Heads, c.Text.Heads = known.Vision.Heads, known.Text.Heads
			headWidth, from = 0, "those of "+a.name
			break
		}
	}
	if headWidth != 0 {
		width := c.Vision.Width
		if c.Vision.IsResNet() {
			width *= 32 // the attention pool's
		}
		if width%headWidth != 0 || c.Text.Width%headWidth != 0 {
			return Config{}, "", fmt.Errorf("the weights don't show the number of attention heads, and the widths %d and %d are not multiples of %d; put open_clip_config.json beside the file, or name the architecture", width, c.Text.Width, headWidth)
		}
		from = fmt.Sprintf("of width %d, as %s", headWidth, from)
	}
	told = append(told, fmt.Sprintf("heads %d and %d (%s)", c.Vision.Heads, c.Text.Heads, from))
	if !openAI && !quick {
		told = append(told, fmt.Sprintf("activation %s (OpenAI's, %s, must be asked for)", activation, nn.QuickGELU))
	}
	if !openAI {
		told = append(told, guessedPreprocessing)
	}
	return c, notInWeights + strings.Join(told, "; "), nil
}

// What is told of a checkpoint file without a config.
const (
	notInWeights         = "not in the weights and guessed: "
	guessedPreprocessing = "preprocessing (OpenAI's; some models have other means, or bilinear resizing: put their open_clip_config.json beside the file)"
)

// shapes looks sizes up; the first that can't be found is err.
type shapes struct {
	tensors checkpoint.Tensors
	err     error
}

func (s *shapes) size(name string, dims, dim int) int {
	t, ok := s.tensors[name]
	switch {
	case s.err != nil:
		return 0
	case !ok:
		s.err = fmt.Errorf("tensor %s is missing; this is not a CLIP of open_clip's or OpenAI's kind (%s)", name, supported)
		return 0
	case len(t.Shape) != dims || t.Shape[dim] <= 0:
		s.err = fmt.Errorf("tensor %s has shape %v, want %d dimensions", name, t.Shape, dims)
		return 0
	}
	return t.Shape[dim]
}

// count is one more than the greatest number behind prefix.
func (s *shapes) count(prefix string) int {
	count := 0
	for name := range s.tensors {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			number, _, _ := strings.Cut(rest, ".")
			if i, err := strconv.Atoi(number); err == nil {
				count = max(count, i+1)
			}
		}
	}
	return count
}

// side is the root of a square number of positions, the first being another's.
func (s *shapes) side(name string) int {
	positions := s.size(name, 2, 0) - 1
	side := int(math.Round(math.Sqrt(float64(max(positions, 0)))))
	if s.err == nil && (side == 0 || side*side != positions) {
		s.err = fmt.Errorf("tensor %s has %d positions, want one and a square number; only square images are supported", name, positions+1)
	}
	return side
}

func (s *shapes) vit(v *VisionConfig) {
	v.Width = s.size("visual.conv1.weight", 4, 0)
	v.PatchSize = s.size("visual.conv1.weight", 4, 3)
	v.Layers = s.count("visual.transformer.resblocks.")
	v.ImageSize = v.PatchSize * s.side("visual.positional_embedding")
	v.MLPWidth = s.size("visual.transformer.resblocks.0.mlp.c_fc.weight", 2, 0)
	v.Heads = v.Width / 64
	if _, ok := s.tensors["visual.transformer.resblocks.0.ls_1.gamma"]; ok {
		v.LayerScale = 1e-4 // the only one that is published; it matters to new weights only
	}
	if _, ok := s.tensors["visual.ln_pre.weight"]; !ok && s.err == nil {
		s.err = fmt.Errorf("tensor visual.ln_pre.weight is missing: models without it pool differently, which the weights don't show; put open_clip_config.json beside the file, or name the architecture, such as ViT-L-14-CLIPA")
	}
}

func (s *shapes) resnet(v *VisionConfig) {
	v.Width = s.size("visual.layer1.0.conv1.weight", 4, 0)
	v.ImageSize = 32 * s.side("visual.attnpool.positional_embedding")
	v.Heads = v.Width * 32 / 64
	for _, stage := range []string{"1", "2", "3", "4"} {
		v.ResNetLayers = append(v.ResNetLayers, s.count("visual.layer"+stage+"."))
	}
}
