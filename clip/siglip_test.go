package clip

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/checkpoint"
	"arf/nn"
	"arf/torch"
)

// siglipCases are the folders of testdata/siglip, which scripts/golden/siglip.py
// made with transformers, and their tokenizers.
var siglipCases = map[string]string{"base": "siglip", "so400m": "siglip", "giant": "siglip2"}

// siglipFolder lays out a case as on the hub.
func siglipFolder(t *testing.T, name string) string {
	t.Helper()
	dir := t.TempDir()
	for _, pattern := range []string{
		filepath.Join("testdata", "siglip", name, "*"), filepath.Join("..", "text", "testdata", siglipCases[name], "*"),
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// Features, logits, losses and gradients against transformers' SiglipModel; then
// the model is written, with every tensor as it was, and read again. With
// ARF_SIGLIP_OUT set the folders are written there, for siglip.py --check.
func TestSiglipGolden(t *testing.T) {
	for name := range siglipCases {
		t.Run(name, func(t *testing.T) {
			dir := siglipFolder(t, name)
			golden, metadata, err := checkpoint.ReadSafetensors(filepath.Join(dir, "golden.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			var prompts []string
			if err := json.Unmarshal([]byte(metadata["prompts"]), &prompts); err != nil {
				t.Fatal(err)
			}
			m, err := Load(dir, torch.CPU)
			if err != nil {
				t.Fatal(err)
			}
			compareSiglip(t, m, prompts, golden)
			if want, got := parameters(m), float64(m.Config.Parameters()); got != want {
				t.Errorf("%g parameters, counted %g", want, got)
			}

			out := t.TempDir()
			if root := os.Getenv("ARF_SIGLIP_OUT"); root != "" {
				out = filepath.Join(root, name)
			}
			if err := m.Save(out, torch.Float32, nil); err != nil {
				t.Fatal(err)
			}
			before, _, err := checkpoint.ReadSafetensors(filepath.Join(dir, hfWeightsFile))
			if err != nil {
				t.Fatal(err)
			}
			after, _, err := checkpoint.ReadSafetensors(filepath.Join(out, hfWeightsFile))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(before.Names(), after.Names()) {
				t.Errorf("tensors %v, want %v", after.Names(), before.Names())
			}
			for name, want := range before {
				if got := after[name]; string(got.Data) != string(want.Data) || !slices.Equal(got.Shape, want.Shape) || got.DType != want.DType {
					t.Errorf("%s is not as it was read", name)
				}
			}
			again, err := Load(out, torch.CPU)
			if err != nil {
				t.Fatal(err)
			}
			if again.Config.Text != m.Config.Text || again.Preprocess != m.Preprocess {
				t.Errorf("%+v and %+v come back as %+v and %+v", m.Config.Text, m.Preprocess, again.Config.Text, again.Preprocess)
			}
			compareSiglip(t, again, prompts, golden)
		})
	}
}

func compareSiglip(t *testing.T, m *Model, prompts []string, golden checkpoint.Tensors) {
	t.Helper()
	for _, p := range m.Trainable() {
		p.Tensor.SetRequiresGrad(true)
	}
	torch.Scope(func() {
		rgb := golden["input.rgb"]
		tokens := m.Tokenize(prompts)
		padded, _, _ := m.Text.pad(tokens)
		if want := torch.To[int64](golden["input.ids"].ToTorch(torch.CPU)); !slices.Equal(padded, want) {
			t.Errorf("token ids %v, want %v", padded, want)
		}
		images, texts := m.EncodeImage(m.Pixels(rgb.Data, rgb.Shape[0])), m.EncodeText(tokens)
		loss := m.ContrastiveLoss(images, texts, nil, nil)
		n := len(prompts)
		match := golden["input.match"].ToTorch(torch.CPU).Cast(torch.Float32)
		soft := match.Div(match.SumDim(1, true))
		masked := match.Sub(torch.Eye(torch.CPU, n)).EqScalar(1)
		for what, got := range map[string]*torch.Tensor{
			"images": images, "texts": texts, "logits": m.Logits(images, texts), "loss": loss,
			"loss_soft": m.ContrastiveLoss(images, texts, soft, nil), "loss_masked": m.ContrastiveLoss(images, texts, nil, masked),
		} {
			e := relativeError(got, golden["output."+what])
			t.Logf("%s: relative error %.2g", what, e)
			if !(e <= 1e-5) {
				t.Errorf("%s: relative error %.2g", what, e)
			}
		}
		loss.Backward()
		gradients := 0
		for _, p := range m.Trainable() {
			want, ok := golden["gradient."+p.Name]
			if p.Tensor.Grad() == nil {
				t.Errorf("%s has no gradient", p.Name)
				continue
			}
			if !ok {
				continue
			}
			gradients++
			e := relativeError(p.Tensor.Grad(), want)
			t.Logf("gradient of %s: relative error %.2g", p.Name, e)
			if !(e <= 1e-4) {
				t.Errorf("gradient of %s: relative error %.2g", p.Name, e)
			}
		}
		if gradients < 10 {
			t.Errorf("only %d gradients were compared", gradients)
		}
	})
}

// Pixels of SiglipImageProcessor, from encoded pictures.
func TestSiglipPreprocessing(t *testing.T) {
	golden, _, err := checkpoint.ReadSafetensors(filepath.Join("testdata", "siglip", "preprocess.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	c := siglipConfigOf(t, "base")
	c.Vision.ImageSize, c.Vision.PatchSize = 24, 8
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(golden) < 6 {
		t.Fatalf("only %d pictures", len(golden))
	}
	for name, want := range golden {
		encoded, err := os.ReadFile(filepath.Join("..", "imaging", "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		rgb, err := m.Preprocess.Eval(encoded)
		if err != nil {
			t.Fatal(err)
		}
		torch.Scope(func() {
			got, want := torch.To[float32](m.Pixels(rgb, 1).Contiguous()), torch.To[float32](want.ToTorch(torch.CPU))
			worst, sum := 0.0, 0.0
			for i := range want {
				d := math.Abs(float64(got[i]-want[i])) * 255 / 2 // in steps of a byte
				worst, sum = max(worst, d), sum+d
			}
			mean := sum / float64(len(want))
			t.Logf("%s: mean %.3g, greatest %.3g of 255", name, mean, worst)
			if len(got) != len(want) || !(mean <= 0.1) || !(worst <= 2) {
				t.Errorf("%s: mean %.3g, greatest %.3g of 255", name, mean, worst)
			}
		})
	}
}

func siglipConfigOf(t testing.TB, name string) Config {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "siglip", name, hfConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseHFConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A config of the hub leaves out what equals the defaults.
func TestSiglipDefaults(t *testing.T) {
	c, err := parseHFConfig([]byte(`{"model_type": "siglip", "text_config": {"model_type": "siglip_text_model"}, "vision_config": {"image_size": 384}}`))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	v, x := c.Vision, c.Text
	if v.ImageSize != 384 || v.PatchSize != 16 || v.Width != 768 || v.Layers != 12 || v.Heads != 12 || v.MLPWidth != 3072 || v.Eps != 1e-6 || v.Activation != nn.GELUTanh ||
		x.ContextLength != 64 || x.VocabSize != 32000 || x.Width != 768 || x.Eps != 1e-6 || x.Activation != nn.GELUTanh || c.EmbedDim != 768 || !c.SigLIP {
		t.Errorf("%+v", c)
	}
	if p := c.preprocess(); p.ResizeMode != "squash" || p.Mean != [3]float32{0.5, 0.5, 0.5} {
		t.Errorf("%+v", p)
	}
}

func TestSiglipRefusals(t *testing.T) {
	for config, want := range map[string]string{
		`{"model_type": "siglip2"}`: "NaFlex",
		`{"model_type": "siglip", "vision_config": {"vision_use_head": false}}`: "vision_use_head",
		`{"model_type": "siglip", "text_config": {"projection_size": 1536}}`:    "projection_size",
		`{"model_type": "siglip", "vision_config": {"num_channels": 1}}`:        "num_channels",
		`{"model_type": "siglip", "vision_config": {"image_size": [224, 196]}}`: "image_size",
		`{"model_type": "siglip", "text_config": {"hidden_act": "relu"}}`:       "relu",
		`{"model_type": "siglip", "text_config": {"num_attention_heads": 7}}`:   "heads 7",
	} {
		c, err := parseHFConfig([]byte(config))
		if err == nil {
			err = c.Check()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one about %s", config, err, want)
		}
	}
	m, err := Load(siglipFolder(t, "base"), torch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.SaveWith(t.TempDir(), SaveOptions{Layout: OpenCLIP}); err == nil || !strings.Contains(err.Error(), "SigLIP") {
		t.Errorf("open_clip's layout: error %v", err)
	}
	if _, _, _, err := parseOpenCLIPConfig([]byte(`{"model_cfg": {"embed_dim": 768, "init_logit_bias": -10, "custom_text": true,
		"vision_cfg": {"image_size": 224, "timm_model_name": "vit_base_patch16_siglip_224"}, "text_cfg": {"vocab_size": 32000}}}`)); err == nil || !strings.Contains(err.Error(), "SigLIP in Hugging Face's layout") {
		t.Errorf("open_clip's config: error %v", err)
	}
}

// Positions are interpolated without a class token's.
func TestSiglipOtherImageSize(t *testing.T) {
	dir := siglipFolder(t, "base")
	m, err := LoadWith(dir, torch.CPU, LoadOptions{ImageSize: 80})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.ViT.Embeddings.Position.Weight.Dim(0); got != 25 {
		t.Errorf("%d positions, want 25", got)
	}
	f, err := m.ImageFeatures(t.Context(), make([]uint8, 80*80*3), 1, torch.Float32)
	if err != nil || len(f) != m.Config.EmbedDim {
		t.Errorf("%d values, %v", len(f), err)
	}
}
