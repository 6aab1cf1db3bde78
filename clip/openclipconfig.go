package clip

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"

	"arf/imaging"
	"arf/nn"
)

// openclipConfig is open_clip_config.json (open_clip: push_to_hf_hub.py).
type openclipConfig struct {
	Model      openclipModel      `json:"model_cfg"`
	Preprocess openclipPreprocess `json:"preprocess_cfg"`
}

type openclipModel struct {
	EmbedDim  int            `json:"embed_dim"`
	QuickGELU bool           `json:"quick_gelu"`
	Vision    openclipVision `json:"vision_cfg"`
	Text      openclipText   `json:"text_cfg"`
}

type openclipVision struct {
	ImageSize int             `json:"image_size"`
	Layers    json.RawMessage `json:"layers"` // a number, or four for a ModifiedResNet
	Width     int             `json:"width"`
	HeadWidth int             `json:"head_width,omitempty"`
	MLPRatio  float64         `json:"mlp_ratio,omitempty"`
	PatchSize *int            `json:"patch_size"`

	TimmModel string   `json:"timm_model_name,omitempty"`
	LayerInit *float64 `json:"ls_init_value,omitempty"`
	Attention bool     `json:"attentional_pool,omitempty"`
	NoLNPre   bool     `json:"no_ln_pre,omitempty"`
	PoolType  string   `json:"pool_type,omitempty"`
}

type openclipText struct {
	ContextLength int     `json:"context_length"`
	VocabSize     int     `json:"vocab_size"`
	Width         int     `json:"width"`
	Heads         int     `json:"heads"`
	Layers        int     `json:"layers"`
	MLPRatio      float64 `json:"mlp_ratio,omitempty"`
	HFModel       string  `json:"hf_model_name,omitempty"`
	EmbedCLS      bool    `json:"embed_cls,omitempty"`
	NoCausalMask  bool    `json:"no_causal_mask,omitempty"`
	PoolType      string  `json:"pool_type,omitempty"`
	HFTokenizer   string  `json:"hf_tokenizer_name,omitempty"`
}

type openclipPreprocess struct {
	Size          json.RawMessage `json:"size,omitempty"` // a number or two
	Mean          []float32       `json:"mean"`
	Std           []float32       `json:"std"`
	Interpolation string          `json:"interpolation,omitempty"`
	ResizeMode    string          `json:"resize_mode,omitempty"`
}

func parseOpenCLIPConfig(data []byte) (Config, imaging.Preprocess, error) {
	var file openclipConfig
	var p imaging.Preprocess
	if err := json.Unmarshal(data, &file); err != nil {
		return Config{}, p, err
	}
	m := file.Model
	for _, unsupported := range []struct {
		is   bool
		what string
	}{
		{m.Vision.TimmModel != "", "vision_cfg.timm_model_name"}, {m.Vision.LayerInit != nil, "vision_cfg.ls_init_value"},
		{m.Vision.Attention, "vision_cfg.attentional_pool"}, {m.Vision.NoLNPre, "vision_cfg.no_ln_pre"},
		{m.Vision.PoolType != "" && m.Vision.PoolType != "tok", "vision_cfg.pool_type"},
		{m.Text.HFModel != "", "text_cfg.hf_model_name"}, {m.Text.EmbedCLS, "text_cfg.embed_cls"},
		{m.Text.NoCausalMask, "text_cfg.no_causal_mask"}, {m.Text.PoolType != "" && m.Text.PoolType != "argmax", "text_cfg.pool_type"},
	} {
		if unsupported.is {
			return Config{}, p, fmt.Errorf("%s is not supported; supported are CLIP's ViT and ModifiedResNet with CLIP's text transformer", unsupported.what)
		}
	}
	activation := nn.GELU
	if m.QuickGELU {
		activation = nn.QuickGELU
	}
	v, t := m.Vision, m.Text
	c := Config{
		EmbedDim: m.EmbedDim,
		Vision:   VisionConfig{ImageSize: cmp.Or(v.ImageSize, 224), Width: cmp.Or(v.Width, 768), Activation: activation, Eps: 1e-5},
		Text: TextConfig{
			ContextLength: cmp.Or(t.ContextLength, 77), VocabSize: cmp.Or(t.VocabSize, 49408), Width: cmp.Or(t.Width, 512),
			Layers: cmp.Or(t.Layers, 12), Heads: cmp.Or(t.Heads, 8), Activation: activation, Eps: 1e-5, ArgmaxPooling: true,
		},
	}
	c.Text.MLPWidth = int(float64(c.Text.Width) * cmp.Or(t.MLPRatio, 4))
	c.Text.EOS = c.Text.VocabSize - 1
	headWidth := cmp.Or(v.HeadWidth, 64)
	var stages []int
	if err := json.Unmarshal(v.Layers, &stages); err == nil {
		c.Vision.ResNetLayers = stages
		c.Vision.Heads = c.Vision.Width * 32 / headWidth
	} else {
		if len(v.Layers) > 0 {
			if err := json.Unmarshal(v.Layers, &c.Vision.Layers); err != nil {
				return c, p, fmt.Errorf("vision_cfg.layers: %w", err)
			}
		}
		c.Vision.Layers = cmp.Or(c.Vision.Layers, 12)
		c.Vision.PatchSize = 16
		if v.PatchSize != nil {
			c.Vision.PatchSize = *v.PatchSize
		}
		c.Vision.Heads = c.Vision.Width / headWidth
		c.Vision.MLPWidth = int(float64(c.Vision.Width) * cmp.Or(v.MLPRatio, 4))
	}
	p = imaging.CLIP(c.Vision.ImageSize)
	if len(file.Preprocess.Mean) == 3 && len(file.Preprocess.Std) == 3 {
		p.Mean, p.Std = [3]float32(file.Preprocess.Mean), [3]float32(file.Preprocess.Std)
	}
	p.Interpolation, p.ResizeMode = file.Preprocess.Interpolation, file.Preprocess.ResizeMode
	return c, p, p.Validate()
}

func (c Config) openclip(p imaging.Preprocess) ([]byte, error) {
	v, t := c.Vision, c.Text
	file := openclipConfig{
		Model: openclipModel{
			EmbedDim: c.EmbedDim, QuickGELU: t.Activation == nn.QuickGELU,
			Vision: openclipVision{ImageSize: v.ImageSize, Width: v.Width},
			Text: openclipText{
				ContextLength: t.ContextLength, VocabSize: t.VocabSize, Width: t.Width, Heads: t.Heads, Layers: t.Layers,
				MLPRatio: mlpRatio(t.MLPWidth, t.Width),
			},
		},
		Preprocess: openclipPreprocess{
			Mean: p.Mean[:], Std: p.Std[:],
			Interpolation: cmp.Or(p.Interpolation, imaging.Bicubic), ResizeMode: cmp.Or(p.ResizeMode, imaging.Shortest),
		},
	}
	var err error
	if v.IsResNet() {
		file.Model.Vision.HeadWidth = v.Width * 32 / v.Heads
		file.Model.Vision.Layers, err = json.Marshal(v.ResNetLayers)
	} else {
		file.Model.Vision.HeadWidth, file.Model.Vision.PatchSize = v.Width/v.Heads, &v.PatchSize
		file.Model.Vision.MLPRatio = mlpRatio(v.MLPWidth, v.Width)
		file.Model.Vision.Layers, err = json.Marshal(v.Layers)
	}
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(file, "", "  ")
}

// mlpRatio leaves open_clip's default out: its older versions don't know the
// text tower's key.
func mlpRatio(hidden, width int) float64 {
	if hidden == 4*width {
		return 0
	}
	ratio := float64(hidden) / float64(width)
	if int(ratio*float64(width)) < hidden { // rounded down, as readers do
		ratio = math.Nextafter(ratio, math.Inf(1))
	}
	return ratio
}
