package clip

import (
	"cmp"
	"encoding/json"
	"fmt"

	"arf/nn"
)

// siglipConfig is config.json of a Hugging Face SiglipModel. Defaults are
// transformers' (configuration_siglip.py).
type siglipConfig struct {
	Architectures []string    `json:"architectures"`
	ModelType     string      `json:"model_type"`
	Text          siglipTower `json:"text_config"`
	Vision        siglipTower `json:"vision_config"`
	DType         string      `json:"torch_dtype,omitempty"`
}

type siglipTower struct {
	ModelType        string        `json:"model_type"`
	HiddenSize       int           `json:"hidden_size"`
	IntermediateSize int           `json:"intermediate_size"`
	Layers           int           `json:"num_hidden_layers"`
	Heads            int           `json:"num_attention_heads"`
	Activation       nn.Activation `json:"hidden_act"`
	Eps              float64       `json:"layer_norm_eps"`

	ImageSize   int   `json:"image_size,omitempty"`
	PatchSize   int   `json:"patch_size,omitempty"`
	NumChannels int   `json:"num_channels,omitempty"`
	UseHead     *bool `json:"vision_use_head,omitempty"`

	VocabSize      int  `json:"vocab_size,omitempty"`
	MaxPositions   int  `json:"max_position_embeddings,omitempty"`
	ProjectionSize int  `json:"projection_size,omitempty"` // of the text tower's head; 0: hidden_size
	EOS            *int `json:"eos_token_id,omitempty"`
	Pad            *int `json:"pad_token_id,omitempty"`
}

func parseSigLIPConfig(data []byte) (Config, error) {
	var raw siglipConfig
	if err := json.Unmarshal(data, &raw); err != nil {
		return Config{}, err
	}
	v, t := raw.Vision, raw.Text
	if v.NumChannels != 0 && v.NumChannels != 3 {
		return Config{}, fmt.Errorf("vision_config.num_channels %d is not supported; supported is 3", v.NumChannels)
	}
	if v.UseHead != nil && !*v.UseHead {
		return Config{}, fmt.Errorf("vision_config.vision_use_head false is not supported: without its head the image tower gives no feature")
	}
	c := Config{
		EmbedDim: cmp.Or(v.HiddenSize, 768),
		Vision: VisionConfig{
			ImageSize: cmp.Or(v.ImageSize, 224), PatchSize: cmp.Or(v.PatchSize, 16), Width: cmp.Or(v.HiddenSize, 768),
			Layers: cmp.Or(v.Layers, 12), Heads: cmp.Or(v.Heads, 12), MLPWidth: cmp.Or(v.IntermediateSize, 3072),
			Activation: cmp.Or(v.Activation, nn.GELUTanh), Eps: cmp.Or(v.Eps, 1e-6),
		},
		Text: TextConfig{
			ContextLength: cmp.Or(t.MaxPositions, 64), VocabSize: cmp.Or(t.VocabSize, 32000), Width: cmp.Or(t.HiddenSize, 768),
			Layers: cmp.Or(t.Layers, 12), Heads: cmp.Or(t.Heads, 12), MLPWidth: cmp.Or(t.IntermediateSize, 3072),
			Activation: cmp.Or(t.Activation, nn.GELUTanh), Eps: cmp.Or(t.Eps, 1e-6), EOS: 49407, PadID: 1,
		},
	}
	if t.EOS != nil {
		c.Text.EOS = *t.EOS
	}
	if t.Pad != nil {
		c.Text.PadID = *t.Pad
	}
	if size := cmp.Or(t.ProjectionSize, c.Text.Width); size != c.EmbedDim {
		return Config{}, fmt.Errorf("text features have %d dimensions (text_config.projection_size, else hidden_size), image features %d (vision_config.hidden_size); want as many", size, c.EmbedDim)
	}
	c.setSigLIP()
	return c, nil
}

func (c Config) hfSigLIP(dtype string) ([]byte, error) {
	t, v := c.Text, c.Vision
	file := siglipConfig{
		Architectures: []string{"SiglipModel"}, ModelType: "siglip", DType: dtype,
		Text: siglipTower{
			ModelType: "siglip_text_model", HiddenSize: t.Width, IntermediateSize: t.MLPWidth, Layers: t.Layers, Heads: t.Heads,
			Activation: t.Activation, Eps: t.Eps, VocabSize: t.VocabSize, MaxPositions: t.ContextLength,
			EOS: &t.EOS, Pad: &t.PadID,
		},
		Vision: siglipTower{
			ModelType: "siglip_vision_model", HiddenSize: v.Width, IntermediateSize: v.MLPWidth, Layers: v.Layers, Heads: v.Heads,
			Activation: v.Activation, Eps: v.Eps, ImageSize: v.ImageSize, PatchSize: v.PatchSize, NumChannels: 3,
		},
	}
	if c.EmbedDim != t.Width {
		file.Text.ProjectionSize = c.EmbedDim
	}
	return json.MarshalIndent(file, "", "  ")
}
