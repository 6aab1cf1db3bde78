package clip

import (
	"fmt"
	"strings"
	"testing"
)

// What would make another model is refused by its key; what changes nothing is not.
func TestOpenCLIPConfigKeys(t *testing.T) {
	parse := func(model, vision, text string) error {
		c, _, _, err := parseOpenCLIPConfig([]byte(fmt.Sprintf(
			`{"model_cfg": {"embed_dim": 8 %s, "vision_cfg": {"layers": 2 %s}, "text_cfg": {"layers": 2 %s}}, "preprocess_cfg": {}}`, model, vision, text)))
		if err == nil {
			err = c.Check()
		}
		return err
	}
	for _, c := range []struct{ model, vision, text, want string }{
		{model: `, "multimodal_cfg": {"width": 8}`, want: "model_cfg.multimodal_cfg"},
		{model: `, "embed_dim": "8"`, want: "model_cfg.embed_dim"},
		{vision: `, "timm_model_name": "vit_base"`, want: `vision_cfg.timm_model_name "vit_base"`},
		{vision: `, "attentional_pool": true`, want: "vision_cfg.attentional_pool"},
		{vision: `, "pool_type": "none"`, want: "vision_cfg.pool_type"},
		{vision: `, "pos_embed_type": "sin_cos_2d"`, want: "vision_cfg.pos_embed_type"},
		{vision: `, "qk_norm": true`, want: "vision_cfg.qk_norm"},
		{vision: `, "act_kwargs": {"approximate": "tanh"}`, want: "vision_cfg.act_kwargs"},
		{vision: `, "norm_kwargs": {"bias": false}`, want: "vision_cfg.norm_kwargs"},
		{vision: `, "global_average_pool": true`, want: "vision_cfg.global_average_pool"},
		{vision: `, "input_patchnorm": true`, want: "vision_cfg.input_patchnorm"},
		{vision: `, "image_size": [224, 336]`, want: "vision_cfg.image_size"},
		{vision: `, "patch_size": [16, 8]`, want: "vision_cfg.patch_size"},
		{vision: `, "layers": "many"`, want: "vision_cfg.layers"},
		{vision: `, "head_width": -64`, want: "vision_cfg.head_width"},
		{text: `, "hf_model_name": "roberta-base"`, want: "text_cfg.hf_model_name"},
		{text: `, "text_arch": "modern"`, want: "text_cfg.text_arch"},
		{text: `, "pool_type": "mean"`, want: "text_cfg.pool_type"},
		{text: `, "pool_type": "eos"`, want: "text_cfg.eos_id"},
		{text: `, "pool_type": "last", "pad_id": 49408`, want: "pad_id is 49408"},
		{text: `, "embed_cls": true`, want: "text_cfg.embed_cls"},
		{text: `, "proj_type": "none"`, want: "text_cfg.proj_type"},
		{text: `, "proj_bias": true`, want: "text_cfg.proj_bias"},
		{text: `, "tokenizer_kwargs": {"clean": "canonicalize"}`, want: "text_cfg.tokenizer_kwargs"},
		{text: `, "mlp_type": "swiglu"`, want: "text_cfg.mlp_type"},
		{vision: `, "attentional_pool": false, "timm_model_name": null, "timm_pool": "avg", "patch_dropout": 0.5, "output_tokens": true, "pool_type": "tok"`},
		{text: `, "hf_model_name": null, "embed_cls": false, "proj_type": "linear", "pool_type": "argmax", "pad_id": 0`},
		{model: `, "quick_gelu": true, "init_logit_scale": 2.6, "custom_text": true`},
		{vision: `, "image_size": [224, 224], "patch_size": [16, 16]`},
	} {
		err := parse(c.model, c.vision, c.text)
		if c.want == "" && err != nil {
			t.Errorf("%s%s%s: %v", c.model, c.vision, c.text, err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s%s%s: error %v does not say %q", c.model, c.vision, c.text, err, c.want)
		}
	}
	if _, _, _, err := parseOpenCLIPConfig([]byte(`{"embed_dim": 8}`)); err == nil || !strings.Contains(err.Error(), "model_cfg") {
		t.Errorf("error %v", err)
	}
}
