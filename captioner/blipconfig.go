package captioner

import (
	"encoding/json"
	"fmt"

	"arf/imaging"
	"arf/nn"
)

// blipModelType is model_type of BLIP's config.json.
const blipModelType = "blip"

// BLIPConfig is config.json of a Hugging Face BlipForConditionalGeneration. Files
// leave out what equals the classes' defaults, so these are transformers'
// (configuration_blip.py).
type BLIPConfig struct {
	ModelType string     `json:"model_type"`
	Vision    BLIPVision `json:"vision_config"`
	Text      BLIPText   `json:"text_config"`
}

// BLIPVision are the sizes of the image tower, a ViT.
type BLIPVision struct {
	Width      int           `json:"hidden_size"`
	MLPWidth   int           `json:"intermediate_size"`
	Layers     int           `json:"num_hidden_layers"`
	Heads      int           `json:"num_attention_heads"`
	ImageSize  int           `json:"image_size"`
	PatchSize  int           `json:"patch_size"`
	Activation nn.Activation `json:"hidden_act"`
	Eps        float64       `json:"layer_norm_eps"`
}

// BLIPText are the sizes of the text decoder, a BERT with cross-attention.
type BLIPText struct {
	Width      int           `json:"hidden_size"`
	MLPWidth   int           `json:"intermediate_size"`
	Layers     int           `json:"num_hidden_layers"`
	Heads      int           `json:"num_attention_heads"`
	VocabSize  int           `json:"vocab_size"`
	Context    int           `json:"max_position_embeddings"`
	Activation nn.Activation `json:"hidden_act"`
	Eps        float64       `json:"layer_norm_eps"`
	BOS        int64         `json:"bos_token_id"` // [DEC], which the tokenizer lacks
	SEP        int64         `json:"sep_token_id"` // ends a caption
	Positions  string        `json:"position_embedding_type"`
}

// tokens is how many a picture gives, the class token among them.
func (v BLIPVision) tokens() int { return 1 + v.grid()*v.grid() }

func (v BLIPVision) grid() int { return v.ImageSize / v.PatchSize }

func parseBLIPConfig(data []byte) (BLIPConfig, error) {
	c := BLIPConfig{
		Vision: BLIPVision{Width: 768, MLPWidth: 3072, Layers: 12, Heads: 12, ImageSize: 384, PatchSize: 16, Activation: nn.GELU, Eps: 1e-5},
		Text: BLIPText{Width: 768, MLPWidth: 3072, Layers: 12, Heads: 8, VocabSize: 30524, Context: 512, Activation: nn.GELU, Eps: 1e-12,
			BOS: 30522, SEP: 102, Positions: "absolute"},
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return c, err
	}
	return c, c.check()
}

func (c BLIPConfig) check() error {
	v, t := c.Vision, c.Text
	if c.ModelType != blipModelType {
		return fmt.Errorf("model_type is %q, want %q", c.ModelType, blipModelType)
	}
	for _, f := range []struct {
		name            string
		value, min, max int
	}{
		{"vision_config.hidden_size", v.Width, 1, 1 << 14}, {"vision_config.intermediate_size", v.MLPWidth, 1, 1 << 16},
		{"vision_config.num_hidden_layers", v.Layers, 1, 1 << 8}, {"vision_config.num_attention_heads", v.Heads, 1, 1 << 10},
		{"vision_config.image_size", v.ImageSize, 1, 1 << 12}, {"vision_config.patch_size", v.PatchSize, 1, v.ImageSize},
		{"text_config.hidden_size", t.Width, 1, 1 << 14}, {"text_config.intermediate_size", t.MLPWidth, 1, 1 << 16},
		{"text_config.num_hidden_layers", t.Layers, 1, 1 << 8}, {"text_config.num_attention_heads", t.Heads, 1, 1 << 10},
		{"text_config.vocab_size", t.VocabSize, 1, 1 << 22}, {"text_config.max_position_embeddings", t.Context, 3, 1 << 14},
		{"text_config.bos_token_id", int(t.BOS), 0, t.VocabSize - 1}, {"text_config.sep_token_id", int(t.SEP), 0, t.VocabSize - 1},
	} {
		if f.value < f.min || f.value > f.max {
			return fmt.Errorf("%s is %d, want %d to %d", f.name, f.value, f.min, f.max)
		}
	}
	for _, f := range []struct {
		name         string
		width, heads int
		activation   nn.Activation
		eps          float64
	}{{"vision_config", v.Width, v.Heads, v.Activation, v.Eps}, {"text_config", t.Width, t.Heads, t.Activation, t.Eps}} {
		if f.width%f.heads != 0 {
			return fmt.Errorf("%s.num_attention_heads %d do not divide hidden_size %d", f.name, f.heads, f.width)
		}
		if err := f.activation.Check(); err != nil {
			return fmt.Errorf("%s.hidden_act: %w", f.name, err)
		}
		if !(f.eps > 0) {
			return fmt.Errorf("%s.layer_norm_eps is %g, want a positive number", f.name, f.eps)
		}
	}
	if t.Positions != "absolute" {
		return fmt.Errorf("text_config.position_embedding_type %q is not supported; supported is \"absolute\"", t.Positions)
	}
	return nil
}

// preprocess is the published models': both sides to the image's size, without
// regard to shape, and CLIP's mean and deviation.
func (c BLIPConfig) preprocess() imaging.Preprocess {
	p := imaging.CLIP(c.Vision.ImageSize)
	p.ResizeMode = imaging.Squash
	return p
}
