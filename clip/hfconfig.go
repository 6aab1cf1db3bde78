package clip

import (
	"cmp"
	"encoding/json"
	"fmt"

	"arf/nn"
)

// hfConfig is config.json of a Hugging Face CLIPModel. Old files leave out what
// equals the class's default, so defaults are transformers' (configuration_clip.py).
type hfConfig struct {
	Architectures []string `json:"architectures"`
	ModelType     string   `json:"model_type"`
	ProjectionDim int      `json:"projection_dim"`
	LogitScale    float64  `json:"logit_scale_init_value"`
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
	ProjectionDim    int           `json:"projection_dim"`

	ImageSize   int `json:"image_size,omitempty"`
	PatchSize   int `json:"patch_size,omitempty"`
	NumChannels int `json:"num_channels,omitempty"`

	VocabSize    int  `json:"vocab_size,omitempty"`
	MaxPositions int  `json:"max_position_embeddings,omitempty"`
	BOS          *int `json:"bos_token_id,omitempty"`
	EOS          *int `json:"eos_token_id,omitempty"`
	Pad          *int `json:"pad_token_id,omitempty"`
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
	v, t := raw.Vision, raw.Text
	if v.NumChannels != 0 && v.NumChannels != 3 {
		return Config{}, fmt.Errorf("vision_config.num_channels %d is not supported; supported is 3", v.NumChannels)
	}
	eos, pad := 49407, 1
	if t.EOS != nil {
		eos = *t.EOS
	}
	if t.Pad != nil {
		pad = *t.Pad
	}
	return Config{
		EmbedDim: cmp.Or(raw.ProjectionDim, 512),
		Vision: VisionConfig{
			ImageSize: cmp.Or(v.ImageSize, 224), PatchSize: cmp.Or(v.PatchSize, 32), Width: cmp.Or(v.HiddenSize, 768),
			Layers: cmp.Or(v.Layers, 12), Heads: cmp.Or(v.Heads, 12), MLPWidth: cmp.Or(v.IntermediateSize, 3072),
			Activation: cmp.Or(v.Activation, nn.QuickGELU), Eps: cmp.Or(v.Eps, 1e-5),
		},
		Text: TextConfig{
			ContextLength: cmp.Or(t.MaxPositions, 77), VocabSize: cmp.Or(t.VocabSize, 49408), Width: cmp.Or(t.HiddenSize, 512),
			Layers: cmp.Or(t.Layers, 12), Heads: cmp.Or(t.Heads, 8), MLPWidth: cmp.Or(t.IntermediateSize, 2048),
			Activation: cmp.Or(t.Activation, nn.QuickGELU), Eps: cmp.Or(t.Eps, 1e-5),
			EOS: eos, PadID: pad, ArgmaxPooling: eos == 2,
		},
	}, nil
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
	t, v := c.Text, c.Vision
	eos := t.EOS
	if t.ArgmaxPooling {
		eos = 2 // what makes transformers pool by argmax
	}
	return json.MarshalIndent(hfConfig{
		Architectures: []string{"CLIPModel"}, ModelType: "clip", ProjectionDim: c.EmbedDim, LogitScale: 2.6592, DType: dtype,
		Text: hfTower{
			ModelType: "clip_text_model", HiddenSize: t.Width, IntermediateSize: t.MLPWidth, Layers: t.Layers, Heads: t.Heads,
			Activation: t.Activation, Eps: t.Eps, ProjectionDim: c.EmbedDim, VocabSize: t.VocabSize, MaxPositions: t.ContextLength,
			BOS: &bos, EOS: &eos, Pad: &t.PadID,
		},
		Vision: hfTower{
			ModelType: "clip_vision_model", HiddenSize: v.Width, IntermediateSize: v.MLPWidth, Layers: v.Layers, Heads: v.Heads,
			Activation: v.Activation, Eps: v.Eps, ProjectionDim: c.EmbedDim, ImageSize: v.ImageSize, PatchSize: v.PatchSize, NumChannels: 3,
		},
	}, "", "  ")
}
