package clip

import (
	"cmp"
	"encoding/json"
	"fmt"

	"arf/nn"
)

// hfConfig is config.json of a Hugging Face CLIPModel or SiglipModel. Old files
// leave out what equals the class's default, so defaults are transformers'
// (configuration_clip.py, configuration_siglip.py).
type hfConfig struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`
	ProjectionDim int      `json:"projection_dim,omitempty"`         // CLIP's
	LogitScale    float64  `json:"logit_scale_init_value,omitempty"` // CLIP's
	Text          hfTower  `json:"text_config"`
	Vision        hfTower  `json:"vision_config"`
	DType         string   `json:"torch_dtype,omitempty"`
}

type hfTower struct {
	ModelType        string        `json:"model_type"`
	HiddenSize       int           `json:"hidden_size"`
	IntermediateSize int           `json:"intermediate_size"`
	Layers           int           `json:"num_hidden_layers"`
	Heads            int           `json:"num_attention_heads"`
	Activation       nn.Activation `json:"hidden_act"`
	Eps              float64       `json:"layer_norm_eps"`
	ProjectionDim    int           `json:"projection_dim,omitempty"` // CLIP's

	ImageSize   int   `json:"image_size,omitempty"`
	PatchSize   int   `json:"patch_size,omitempty"`
	NumChannels int   `json:"num_channels,omitempty"`
	UseHead     *bool `json:"vision_use_head,omitempty"` // SigLIP's

	VocabSize      int  `json:"vocab_size,omitempty"`
	MaxPositions   int  `json:"max_position_embeddings,omitempty"`
	ProjectionSize int  `json:"projection_size,omitempty"` // of the head of SigLIP's text tower; 0: hidden_size
	BOS            *int `json:"bos_token_id,omitempty"`
	EOS            *int `json:"eos_token_id,omitempty"`
	Pad            *int `json:"pad_token_id,omitempty"`
}

// vision takes what isn't given from c.
func (t hfTower) vision(c VisionConfig) (VisionConfig, error) {
	if t.NumChannels != 0 && t.NumChannels != 3 {
		return c, fmt.Errorf("vision_config.num_channels %d is not supported; supported is 3", t.NumChannels)
	}
	c.ImageSize, c.PatchSize = cmp.Or(t.ImageSize, c.ImageSize), cmp.Or(t.PatchSize, c.PatchSize)
	c.Width, c.Layers, c.Heads = cmp.Or(t.HiddenSize, c.Width), cmp.Or(t.Layers, c.Layers), cmp.Or(t.Heads, c.Heads)
	c.MLPWidth, c.Activation, c.Eps = cmp.Or(t.IntermediateSize, c.MLPWidth), cmp.Or(t.Activation, c.Activation), cmp.Or(t.Eps, c.Eps)
	return c, nil
}

// text takes what isn't given from c.
func (t hfTower) text(c TextConfig) TextConfig {
	c.ContextLength, c.VocabSize = cmp.Or(t.MaxPositions, c.ContextLength), cmp.Or(t.VocabSize, c.VocabSize)
	c.Width, c.Layers, c.Heads = cmp.Or(t.HiddenSize, c.Width), cmp.Or(t.Layers, c.Layers), cmp.Or(t.Heads, c.Heads)
	c.MLPWidth, c.Activation, c.Eps = cmp.Or(t.IntermediateSize, c.MLPWidth), cmp.Or(t.Activation, c.Activation), cmp.Or(t.Eps, c.Eps)
	if t.EOS != nil {
		c.EOS = *t.EOS
	}
	if t.Pad != nil {
		c.PadID = *t.Pad
	}
	return c
}

func parseHFConfig(data []byte) (Config, error) {
	var kind struct {
		ModelType string `json:"model_type"`
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return Config{}, err
	}
	switch kind.ModelType {
	case "clip":
	case "siglip":
		return parseSigLIPConfig(data)
	case "siglip2":
		return Config{}, fmt.Errorf("model_type \"siglip2\" is not supported: these are SigLIP 2's models for images of any shape (NaFlex); supported are \"clip\" and \"siglip\", to which SigLIP 2's models of a fixed image size belong")
	default:
		return Config{}, fmt.Errorf("model_type %q is not supported; supported are \"clip\" and \"siglip\"", kind.ModelType)
	}
	var raw struct {
		hfConfig
		// Files of transformers before 4.10 keep the towers' settings here.
		TextDict   json.RawMessage `json:"text_config_dict"`
		VisionDict json.RawMessage `json:"vision_config_dict"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return Config{}, err
	}
	for _, old := range []struct {
		dict json.RawMessage
		into *hfTower
	}{{raw.TextDict, &raw.Text}, {raw.VisionDict, &raw.Vision}} {
		if len(old.dict) > 0 && string(old.dict) != "null" {
			if err := json.Unmarshal(old.dict, old.into); err != nil {
				return Config{}, err
			}
		}
	}
	c := Config{EmbedDim: cmp.Or(raw.ProjectionDim, 512)}
	var err error
	c.Vision, err = raw.Vision.vision(VisionConfig{
		ImageSize: 224, PatchSize: 32, Width: 768, Layers: 12, Heads: 12, MLPWidth: 3072, Activation: nn.QuickGELU, Eps: 1e-5,
	})
	if err != nil {
		return Config{}, err
	}
	c.Text = raw.Text.text(TextConfig{
		ContextLength: 77, VocabSize: 49408, Width: 512, Layers: 12, Heads: 8, MLPWidth: 2048, Activation: nn.QuickGELU, Eps: 1e-5,
		EOS: 49407, PadID: 1,
	})
	c.Text.ArgmaxPooling = c.Text.EOS == 2
	return c, nil
}

// checkHF is an error about what transformers' CLIPModel and SiglipModel can't do.
func (c Config) checkHF() error {
	if c.SigLIP { // SiglipModel's
		return nil
	}
	v, t := c.Vision, c.Text
	for _, f := range []struct {
		is   bool
		what string
	}{
		{v.IsResNet(), "a ModifiedResNet"},
		{v.LayerScale > 0 || t.LayerScale > 0, "LayerScale (ls_init_value)"},
		{v.NoPreNorm, "a ViT without pre-norm (no_ln_pre)"},
		{v.Pooling != "", "pooling " + string(v.Pooling) + " (pool_type)"},
		{t.NonCausal, "a text tower without causal mask (no_causal_mask)"},
		{t.LastPooling, "pooling of the last token (pool_type last)"},
		{t.StripEOS, "a tokenizer without end token (strip_sep_token)"},
	} {
		if f.is {
			return fmt.Errorf("the layout of Hugging Face's CLIPModel has no room for %s; use layout %q", f.what, OpenCLIP)
		}
	}
	return nil
}

func (c Config) hf(bos int, dtype string) ([]byte, error) {
	if c.SigLIP {
		return c.hfSigLIP(dtype)
	}
	eos := c.Text.EOS
	if c.Text.ArgmaxPooling {
		eos = 2 // what makes transformers pool by argmax
	}
	file := hfConfig{
		Architectures: []string{"CLIPModel"}, ModelType: "clip", ProjectionDim: c.EmbedDim, LogitScale: 2.6592, DType: dtype,
		Text: hfText(c.Text, "clip_text_model"), Vision: hfVision(c.Vision, "clip_vision_model"),
	}
	file.Text.ProjectionDim, file.Vision.ProjectionDim = c.EmbedDim, c.EmbedDim
	file.Text.BOS, file.Text.EOS = &bos, &eos
	return json.MarshalIndent(file, "", "  ")
}

func hfText(c TextConfig, modelType string) hfTower {
	return hfTower{
		ModelType: modelType, HiddenSize: c.Width, IntermediateSize: c.MLPWidth, Layers: c.Layers, Heads: c.Heads,
		Activation: c.Activation, Eps: c.Eps, VocabSize: c.VocabSize, MaxPositions: c.ContextLength, EOS: &c.EOS, Pad: &c.PadID,
	}
}

func hfVision(c VisionConfig, modelType string) hfTower {
	return hfTower{
		ModelType: modelType, HiddenSize: c.Width, IntermediateSize: c.MLPWidth, Layers: c.Layers, Heads: c.Heads,
		Activation: c.Activation, Eps: c.Eps, ImageSize: c.ImageSize, PatchSize: c.PatchSize, NumChannels: 3,
	}
}
