package clip

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"arf/imaging"
	"arf/nn"
)

// openclipConfig is open_clip_config.json (open_clip: push_to_hf_hub.py; the
// keys are the fields of CLIPVisionCfg and CLIPTextCfg in model.py).
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
	ImageSize     pair            `json:"image_size"`
	Layers        json.RawMessage `json:"layers"` // a number, or four for a ModifiedResNet
	Width         int             `json:"width"`
	HeadWidth     int             `json:"head_width,omitempty"`
	MLPRatio      float64         `json:"mlp_ratio,omitempty"`
	PatchSize     *pair           `json:"patch_size"`
	LayerScale    *float64        `json:"ls_init_value,omitempty"`
	NoPreNorm     bool            `json:"no_ln_pre,omitempty"`
	Pooling       string          `json:"pool_type,omitempty"`
	NormAfterPool bool            `json:"final_ln_after_pool,omitempty"`
	Norm          *openclipNorm   `json:"norm_kwargs,omitempty"`
	Positions     string          `json:"pos_embed_type,omitempty"`
}

type openclipText struct {
	ContextLength int                `json:"context_length"`
	VocabSize     int                `json:"vocab_size"`
	Width         int                `json:"width"`
	Heads         int                `json:"heads"`
	Layers        int                `json:"layers"`
	MLPRatio      float64            `json:"mlp_ratio,omitempty"`
	LayerScale    *float64           `json:"ls_init_value,omitempty"`
	NoCausalMask  bool               `json:"no_causal_mask,omitempty"`
	Pooling       string             `json:"pool_type,omitempty"`
	EOS           *int               `json:"eos_id,omitempty"`
	Pad           int                `json:"pad_id,omitempty"`
	HubTokenizer  string             `json:"hf_tokenizer_name,omitempty"`
	Tokenizer     *openclipTokenizer `json:"tokenizer_kwargs,omitempty"`
	Projection    string             `json:"proj_type,omitempty"`
	Arch          string             `json:"text_arch,omitempty"`
	Norm          *openclipNorm      `json:"norm_kwargs,omitempty"`
}

type openclipNorm struct {
	Eps float64 `json:"eps,omitempty"`
}

type openclipTokenizer struct {
	StripSep bool   `json:"strip_sep_token,omitempty"`
	Clean    string `json:"clean,omitempty"`
}

type openclipPreprocess struct {
	Mean          []float32 `json:"mean"`
	Std           []float32 `json:"std"`
	Interpolation string    `json:"interpolation,omitempty"`
	ResizeMode    string    `json:"resize_mode,omitempty"`
}

// pair is one number, in some files written twice, as height and width.
type pair int

func (p *pair) UnmarshalJSON(data []byte) error {
	var both []int
	if json.Unmarshal(data, (*int)(p)) == nil {
		return nil
	}
	if err := json.Unmarshal(data, &both); err != nil {
		return err
	}
	if len(both) != 2 || both[0] != both[1] {
		return fmt.Errorf("%v: only squares are supported", both)
	}
	*p = pair(both[0])
	return nil
}

// ignored keys change neither the features nor what is trained.
var ignored = map[string][]string{
	"model_cfg":  {"custom_text", "init_logit_scale", "nonscalar_logit_scale", "output_dict", "cast_dtype"},
	"vision_cfg": {"patch_dropout", "attn_pooler_queries", "attn_pooler_heads", "n_queries", "output_tokens", "image_seq_len", "timm_model_pretrained", "timm_pool", "timm_proj", "timm_drop", "timm_drop_path"},
	"text_cfg":   {"bos_id", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type", "proj", "pooler_type", "output_tokens"},
}

const supported = "supported are CLIP's ViT and ModifiedResNet with CLIP's text transformer, and SigLIP in Hugging Face's layout (config.json with model_type siglip)"

// checkKeys refuses keys of an object that into hasn't, unless they say nothing.
// JSON's decoder takes keys in any case; open_clip doesn't, and neither does this.
func checkKeys(object string, data json.RawMessage, into any) error {
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(data, &keys); err != nil {
		return fmt.Errorf("%s: %w", object, err)
	}
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		value := bytes.TrimSpace(keys[key])
		if slices.Contains(ignored[object], key) || slices.Contains([]string{"null", "false", "0", "0.0", `""`, "{}"}, string(value)) {
			continue
		}
		decoder := json.NewDecoder(bytes.NewReader(append(append([]byte(`{`+quote(key)+`:`), value...), '}')))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(into); err != nil {
			if !strings.Contains(err.Error(), "unknown field") {
				return fmt.Errorf("%s.%s: %w", object, key, err)
			}
			if len(value) > 40 {
				value = append(value[:40:40], "…"...)
			}
			return fmt.Errorf("%s.%s %s is not supported; %s", object, key, value, supported)
		}
	}
	return nil
}

func quote(s string) string {
	data, _ := json.Marshal(s) // a string always encodes
	return string(data)
}

// parseOpenCLIPConfig also gives hf_tokenizer_name.
func parseOpenCLIPConfig(data []byte) (Config, imaging.Preprocess, string, error) {
	var p imaging.Preprocess
	var raw struct {
		Model      map[string]json.RawMessage `json:"model_cfg"`
		Preprocess openclipPreprocess         `json:"preprocess_cfg"`
	}
	fail := func(err error) (Config, imaging.Preprocess, string, error) { return Config{}, p, "", err }
	if err := json.Unmarshal(data, &raw); err != nil {
		return fail(err)
	}
	if raw.Model == nil {
		return fail(fmt.Errorf("model_cfg is missing"))
	}
	var m openclipModel
	for _, part := range []struct {
		object string
		into   any
	}{{"vision_cfg", &m.Vision}, {"text_cfg", &m.Text}} {
		if len(raw.Model[part.object]) > 0 {
			if err := checkKeys(part.object, raw.Model[part.object], part.into); err != nil {
				return fail(err)
			}
		}
		delete(raw.Model, part.object)
	}
	rest, err := json.Marshal(raw.Model)
	if err != nil {
		return fail(err)
	}
	if err := checkKeys("model_cfg", rest, &m); err != nil {
		return fail(err)
	}
	c, err := m.config()
	if err != nil {
		return fail(err)
	}
	p = imaging.CLIP(c.Vision.ImageSize)
	if err := setNormalization(&p, raw.Preprocess.Mean, raw.Preprocess.Std, "preprocess_cfg.mean", "preprocess_cfg.std"); err != nil {
		return fail(err)
	}
	p.Interpolation, p.ResizeMode = raw.Preprocess.Interpolation, raw.Preprocess.ResizeMode
	if err := p.Validate(); err != nil {
		return fail(err)
	}
	return c, p, m.Text.HubTokenizer, nil
}

func (m openclipModel) config() (Config, error) {
	v, t := m.Vision, m.Text
	for _, choice := range []struct {
		key, value string
		supported  []string
	}{
		{"vision_cfg.pool_type", v.Pooling, []string{"", "tok", string(MeanPooling)}},
		{"vision_cfg.pos_embed_type", v.Positions, []string{"", "learnable"}},
		{"text_cfg.pool_type", t.Pooling, []string{"", "argmax", "eos", "last"}},
		{"text_cfg.proj_type", t.Projection, []string{"", "linear"}},
		{"text_cfg.text_arch", t.Arch, []string{"", "clip"}},
	} {
		if !slices.Contains(choice.supported, choice.value) {
			return Config{}, fmt.Errorf("%s %q is not supported; supported are %q", choice.key, choice.value, choice.supported[1:])
		}
	}
	if k := t.Tokenizer; k != nil && k.Clean != "" && k.Clean != "whitespace" {
		return Config{}, fmt.Errorf("text_cfg.tokenizer_kwargs.clean %q is not supported; supported is \"whitespace\"", k.Clean)
	}
	activation := nn.GELU
	if m.QuickGELU {
		activation = nn.QuickGELU
	}
	c := Config{
		EmbedDim: m.EmbedDim,
		Vision: VisionConfig{
			ImageSize: cmp.Or(int(v.ImageSize), 224), Width: cmp.Or(v.Width, 768), Activation: activation, Eps: v.Norm.eps(),
		},
		Text: TextConfig{
			ContextLength: cmp.Or(t.ContextLength, 77), VocabSize: cmp.Or(t.VocabSize, 49408), Width: cmp.Or(t.Width, 512),
			Layers: cmp.Or(t.Layers, 12), Heads: cmp.Or(t.Heads, 8), Activation: activation, Eps: t.Norm.eps(), ArgmaxPooling: true,
			NonCausal: t.NoCausalMask, StripEOS: t.Tokenizer != nil && t.Tokenizer.StripSep,
		},
	}
	c.Text.MLPWidth = int(float64(c.Text.Width) * cmp.Or(t.MLPRatio, 4))
	c.Text.EOS = c.Text.VocabSize - 1
	switch t.Pooling {
	case "eos":
		if t.EOS == nil {
			return Config{}, fmt.Errorf("text_cfg.pool_type \"eos\" needs text_cfg.eos_id, which is missing")
		}
		// The greatest id is the argmax.
		c.Text.ArgmaxPooling, c.Text.EOS = *t.EOS == c.Text.EOS, *t.EOS
	case "last":
		c.Text.ArgmaxPooling, c.Text.LastPooling = false, true
	}
	if c.Text.seesPadding() {
		c.Text.PadID = t.Pad
	}
	if t.LayerScale != nil {
		c.Text.LayerScale = *t.LayerScale
	}
	headWidth := cmp.Or(v.HeadWidth, 64)
	if headWidth < 0 {
		return Config{}, fmt.Errorf("vision_cfg.head_width is %d, want a positive number", headWidth)
	}
	var stages []int
	if err := json.Unmarshal(v.Layers, &stages); err == nil && len(stages) > 0 {
		c.Vision.ResNetLayers = stages
		c.Vision.Heads = c.Vision.Width * 32 / headWidth
		return c, nil
	}
	if len(v.Layers) > 0 {
		if err := json.Unmarshal(v.Layers, &c.Vision.Layers); err != nil {
			return Config{}, fmt.Errorf("vision_cfg.layers: %w", err)
		}
	}
	c.Vision.Layers = cmp.Or(c.Vision.Layers, 12)
	c.Vision.PatchSize = 16
	if v.PatchSize != nil {
		c.Vision.PatchSize = int(*v.PatchSize)
	}
	c.Vision.Heads = c.Vision.Width / headWidth
	c.Vision.MLPWidth = int(float64(c.Vision.Width) * cmp.Or(v.MLPRatio, 4))
	if v.LayerScale != nil {
		c.Vision.LayerScale = *v.LayerScale
	}
	c.Vision.NoPreNorm = v.NoPreNorm
	if v.Pooling == string(MeanPooling) { // the class token's norm is the same before and after
		c.Vision.Pooling, c.Vision.NormAfterPool = MeanPooling, v.NormAfterPool
	}
	return c, nil
}

const defaultEps = 1e-5

func (n *openclipNorm) eps() float64 {
	if n == nil {
		return defaultEps
	}
	return cmp.Or(n.Eps, defaultEps)
}

func newNorm(eps float64) *openclipNorm {
	if eps == defaultEps {
		return nil
	}
	return &openclipNorm{Eps: eps}
}

func some(x float64) *float64 {
	if x == 0 {
		return nil
	}
	return &x
}

// openclip writes open_clip_config.json.
func (c Config) openclip(p imaging.Preprocess, tokenizer string) ([]byte, error) {
	v, t := c.Vision, c.Text
	if c.SigLIP {
		return nil, fmt.Errorf("a SigLIP can't be written in open_clip's layout, which has other names for it; use layout %q", HuggingFace)
	}
	if t.Activation == nn.GELUTanh || v.Activation == nn.GELUTanh {
		return nil, fmt.Errorf("open_clip's layout has no activation %q; use layout %q", nn.GELUTanh, HuggingFace)
	}
	if !v.IsResNet() && v.Activation != t.Activation {
		return nil, fmt.Errorf("open_clip's layout has one activation, the model has %q for images and %q for texts; use layout %q", v.Activation, t.Activation, HuggingFace)
	}
	file := openclipConfig{
		Model: openclipModel{
			EmbedDim: c.EmbedDim, QuickGELU: t.Activation == nn.QuickGELU,
			Vision: openclipVision{ImageSize: pair(v.ImageSize), Width: v.Width},
			Text: openclipText{
				ContextLength: t.ContextLength, VocabSize: t.VocabSize, Width: t.Width, Heads: t.Heads, Layers: t.Layers,
				MLPRatio: mlpRatio(t.MLPWidth, t.Width), LayerScale: some(t.LayerScale), NoCausalMask: t.NonCausal,
				HubTokenizer: tokenizer, Norm: newNorm(t.Eps),
			},
		},
		Preprocess: openclipPreprocess{
			Mean: p.Mean[:], Std: p.Std[:],
			Interpolation: cmp.Or(p.Interpolation, imaging.Bicubic), ResizeMode: cmp.Or(p.ResizeMode, imaging.Shortest),
		},
	}
	text, vision := &file.Model.Text, &file.Model.Vision
	switch {
	case t.LastPooling:
		text.Pooling = "last"
	case !t.ArgmaxPooling && t.EOS != t.VocabSize-1:
		text.Pooling, text.EOS = "eos", &t.EOS
	}
	if t.seesPadding() {
		text.Pad = t.PadID
	}
	if t.StripEOS {
		text.Tokenizer = &openclipTokenizer{StripSep: true}
	}
	var err error
	if v.IsResNet() {
		vision.HeadWidth = v.Width * 32 / v.Heads
		vision.Layers, err = json.Marshal(v.ResNetLayers)
	} else {
		patch := pair(v.PatchSize)
		vision.HeadWidth, vision.PatchSize = v.Width/v.Heads, &patch
		vision.MLPRatio, vision.LayerScale, vision.NoPreNorm = mlpRatio(v.MLPWidth, v.Width), some(v.LayerScale), v.NoPreNorm
		vision.Pooling, vision.NormAfterPool, vision.Norm = string(v.Pooling), v.NormAfterPool, newNorm(v.Eps)
		vision.Layers, err = json.Marshal(v.Layers)
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
