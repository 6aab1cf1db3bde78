package clip

import (
	"os"
	"reflect"
	"testing"

	"arf/imaging"
)

// Any bytes in the place of a config give an error, or a config that can be
// checked and comes back as it is when it's written.

func FuzzHFConfig(f *testing.F) {
	for _, name := range []string{"vit_gelu_eos", "vit_quickgelu_argmax"} {
		golden, _ := readGolden(f, name)
		data, err := golden.Config.hf(1, "float32")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"model_type": "clip"}`))
	f.Add([]byte(`{"model_type": "siglip"}`))
	f.Add([]byte(`{"model_type": "siglip", "text_config": {"hidden_size": 1152, "projection_size": 1536, "pad_token_id": 0}, "vision_config": {"hidden_size": 1536}}`))
	f.Add([]byte(`{"model_type": "clip", "text_config_dict": {"eos_token_id": 2, "pad_token_id": 0}, "vision_config_dict": {"num_channels": 3}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseHFConfig(data)
		if err != nil || c.Check() != nil {
			return
		}
		written, err := c.hf(0, "float32")
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseHFConfig(written)
		if err != nil {
			t.Fatalf("%v: %s", err, written)
		}
		if !reflect.DeepEqual(again, c) {
			t.Errorf("%+v comes back as %+v", c, again)
		}
	})
}

func FuzzOpenCLIPConfig(f *testing.F) {
	for _, name := range []string{"vit_gelu_eos", "vit_quickgelu_argmax", "resnet"} {
		golden, _ := readGolden(f, name)
		data, err := golden.Config.openclip(imaging.CLIP(golden.Config.Vision.ImageSize), "")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	shipped, err := os.ReadFile("../models/icon-clip/open_clip_config.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(shipped)
	f.Add([]byte(`{"model_cfg": {"embed_dim": 1024, "vision_cfg": {"image_size": [336, 336], "layers": 32, "width": 1280, "head_width": 80, "patch_size": 14, "no_ln_pre": true, "pool_type": "avg", "final_ln_after_pool": true, "ls_init_value": 1e-4, "norm_kwargs": {"eps": 1e-6}}, "text_cfg": {"context_length": 32, "vocab_size": 32000, "hf_tokenizer_name": "bert-base-uncased", "tokenizer_kwargs": {"strip_sep_token": true}, "width": 1024, "heads": 16, "layers": 24, "pool_type": "last", "no_causal_mask": true, "pad_id": 3}}}`))
	f.Add([]byte(`{"model_cfg": {"text_cfg": {"pool_type": "eos", "eos_id": 2}}}`))
	f.Add([]byte(`{"model_cfg": {"embed_dim": 7, "vision_cfg": {"width": 49, "head_width": 7, "mlp_ratio": 2.3}, "text_cfg": {"mlp_ratio": 0.5}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, p, tokenizer, err := parseOpenCLIPConfig(data)
		if err != nil || c.Check() != nil {
			return
		}
		written, err := c.openclip(p, tokenizer)
		if err != nil {
			t.Fatal(err)
		}
		again, q, name, err := parseOpenCLIPConfig(written)
		if err != nil {
			t.Fatalf("%v: %s", err, written)
		}
		if !reflect.DeepEqual(again, c) {
			t.Errorf("%+v comes back as %+v", c, again)
		}
		if p.Interpolation == "" {
			p.Interpolation = imaging.Bicubic
		}
		if p.ResizeMode == "" {
			p.ResizeMode = imaging.Shortest
		}
		if q != p || name != tokenizer {
			t.Errorf("%+v, %q come back as %+v, %q", p, tokenizer, q, name)
		}
	})
}

func FuzzPreprocessor(f *testing.F) {
	squash := imaging.CLIP(64)
	squash.ResizeMode, squash.Interpolation = imaging.Squash, imaging.Bilinear
	for _, p := range []imaging.Preprocess{imaging.CLIP(64), squash} {
		data, err := formatPreprocessor(p, false)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"size": 64, "crop_size": 64, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "resample": 2}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := parsePreprocessor(data, imaging.CLIP(64))
		if err != nil {
			return
		}
		written, err := formatPreprocessor(p, false)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parsePreprocessor(written, imaging.CLIP(64))
		if err != nil {
			t.Fatalf("%v: %s", err, written)
		}
		if again != p {
			t.Errorf("%+v comes back as %+v", p, again)
		}
	})
}

func TestMLPRatioGivesTheWidthBack(t *testing.T) {
	for width := 1; width < 200; width++ {
		for hidden := 1; hidden < 400; hidden++ {
			ratio := mlpRatio(hidden, width)
			if ratio == 0 {
				ratio = 4
			}
			if got := int(float64(width) * ratio); got != hidden {
				t.Fatalf("width %d: %d becomes %d", width, hidden, got)
			}
		}
	}
}
