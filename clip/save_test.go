package clip

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/checkpoint"
	"arf/nn"
	"arf/text"
	"arf/torch"
)

// oddModel does all that only open_clip's layout can hold.
func oddModel(t *testing.T) *Model {
	t.Helper()
	c := randomModel(t, "vit_gelu_eos").Config
	c.Vision.LayerScale, c.Text.LayerScale, c.Vision.Pooling, c.Vision.NormAfterPool, c.Vision.NoPreNorm = 1e-4, 0.1, MeanPooling, true, true
	c.Text.NonCausal, c.Text.LastPooling, c.Text.StripEOS, c.Vision.Eps = true, true, true, 1e-3
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	m.Init(8)
	m.Tokenizer = randomModel(t, "vit_gelu_eos").Tokenizer
	return m
}

func readTensors(t *testing.T, path string) checkpoint.Tensors {
	t.Helper()
	tensors, _, err := checkpoint.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return tensors
}

func sameTensors(t *testing.T, got, want checkpoint.Tensors) {
	t.Helper()
	if !slices.Equal(got.Names(), want.Names()) {
		t.Errorf("tensors %q, want %q", got.Names(), want.Names())
		return
	}
	for name, w := range want {
		if g := got[name]; g.DType != w.DType || !slices.Equal(g.Shape, w.Shape) || !bytes.Equal(g.Data, w.Data) {
			t.Errorf("%s differs", name)
		}
	}
}

// Reading and writing in the same layout and number type gives the same bits,
// and the way through the other layout too.
func TestRoundTrips(t *testing.T) {
	models := map[string]func(*testing.T) *Model{
		"gelu":      func(t *testing.T) *Model { return randomModel(t, "vit_gelu_eos") },
		"quickgelu": func(t *testing.T) *Model { return randomModel(t, "vit_quickgelu_argmax") },
		"resnet":    func(t *testing.T) *Model { return randomModel(t, "resnet") },
		"odd":       oddModel,
	}
	for name, make := range models {
		for _, layout := range []Layout{HuggingFace, OpenCLIP} {
			for _, dtype := range []torch.DType{torch.Float32, torch.Float16, torch.BFloat16} {
				t.Run(name+" "+string(layout)+" "+dtype.String(), func(t *testing.T) {
					m := make(t)
					first, second, third := t.TempDir(), filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
					err := m.SaveWith(first, SaveOptions{Layout: layout, DType: dtype})
					if layout == HuggingFace && m.Config.checkHF() != nil {
						if err == nil || !strings.Contains(err.Error(), string(OpenCLIP)) {
							t.Errorf("error %v", err)
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					again, saved, err := Convert(first, second, ConvertOptions{Save: SaveOptions{Layout: layout}})
					if err != nil {
						t.Fatal(err)
					}
					if saved.DType != dtype || again.Source.DType != dtype || again.Source.Layout != layout {
						t.Errorf("read %+v, saved %+v", again.Source, saved)
					}
					file := map[Layout]string{HuggingFace: hfWeightsFile, OpenCLIP: openclipWeights}
					want := readTensors(t, filepath.Join(first, file[layout]))
					sameTensors(t, readTensors(t, filepath.Join(second, file[layout])), want)
					for _, config := range []string{hfConfigFile, openclipConfigFile, preprocessorFile} {
						a, errA := os.ReadFile(filepath.Join(first, config))
						b, errB := os.ReadFile(filepath.Join(second, config))
						if !bytes.Equal(a, b) || (errA == nil) != (errB == nil) {
							t.Errorf("%s: %s\nbecame %s", config, a, b)
						}
					}
					if m.Config.checkHF() != nil {
						return
					}
					other := map[Layout]Layout{HuggingFace: OpenCLIP, OpenCLIP: HuggingFace}[layout]
					if _, _, err := Convert(first, third, ConvertOptions{Save: SaveOptions{Layout: other}}); err != nil {
						t.Fatal(err)
					}
					if _, _, err := Convert(third, third+"2", ConvertOptions{Save: SaveOptions{Layout: layout}}); err != nil {
						t.Fatal(err)
					}
					sameTensors(t, readTensors(t, filepath.Join(third+"2", file[layout])), want)
				})
			}
		}
	}
}

// A model that is converted computes what it did.
func TestConvertedFeatures(t *testing.T) {
	for name, make := range map[string]func(*testing.T) *Model{
		"eos": func(t *testing.T) *Model { return randomModel(t, "vit_gelu_eos") }, "odd": oddModel,
	} {
		t.Run(name, func(t *testing.T) {
			m := make(t)
			dir := t.TempDir()
			if err := m.SaveWith(dir, SaveOptions{Layout: OpenCLIP}); err != nil {
				t.Fatal(err)
			}
			again, err := Load(dir, torch.CPU)
			if err != nil {
				t.Fatal(err)
			}
			torch.Scope(func() {
				torch.NoGrad(func() {
					ids := m.Tokenize([]string{"a red cat", "the dog", ""})
					want := checkpoint.FromTorch(m.EncodeText(ids))
					if e := relativeError(again.EncodeText(ids), want); !(e <= 1e-6) {
						t.Errorf("texts: relative error %.2g", e)
					}
					size := m.Config.Vision.ImageSize
					pixels := torch.Randn(torch.CPU, 2, 3, size, size)
					want = checkpoint.FromTorch(m.EncodeImage(pixels))
					if e := relativeError(again.EncodeImage(pixels), want); !(e <= 1e-6) {
						t.Errorf("images: relative error %.2g", e)
					}
				})
			})
		})
	}
}

// Saving over another layout leaves one model, and files of others alone.
func TestSaveReplacesTheOtherLayout(t *testing.T) {
	m := randomModel(t, "vit_gelu_eos")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, layout := range []Layout{OpenCLIP, HuggingFace, OpenCLIP} {
		m.Init(int64(len(layout)))
		if err := m.SaveWith(dir, SaveOptions{Layout: layout}); err != nil {
			t.Fatal(err)
		}
		again, err := Load(dir, torch.CPU)
		if err != nil {
			t.Fatal(err)
		}
		if again.Source.Layout != layout {
			t.Errorf("saved as %s, loaded as %s", layout, again.Source.Layout)
		}
		want := nn.Export(m)
		for name, got := range nn.Export(again) {
			if !bytes.Equal(got.Data, want[name].Data) {
				t.Errorf("%s: %s differs", layout, name)
			}
		}
	}
	if data, err := os.ReadFile(filepath.Join(dir, "notes.txt")); err != nil || string(data) != "mine" {
		t.Errorf("notes.txt: %q, %v", data, err)
	}
}

// A tokenizer of another kind that lies there isn't taken for the model's.
func TestSaveReplacesTheTokenizer(t *testing.T) {
	dir := siglipFolder(t, "base")
	m := randomModel(t, "vit_gelu_eos")
	if err := m.SaveWith(dir, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	again, err := Load(dir, torch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.Tokenize([]string{"a red cat"})[0], m.Tokenize([]string{"a red cat"})[0]; !slices.Equal(got, want) {
		t.Errorf("ids %v, want %v", got, want)
	}
}

func TestSaveRefuses(t *testing.T) {
	mixed := randomModel(t, "vit_gelu_eos")
	mixed.Config.Text.Activation = nn.QuickGELU
	huge := randomModel(t, "vit_gelu_eos")
	huge.LogitScale.Fill_(1e6)
	for name, c := range map[string]struct {
		model *Model
		o     SaveOptions
		want  []string
	}{
		"ResNet in Hugging Face's": {randomModel(t, "resnet"), SaveOptions{Layout: HuggingFace}, []string{"ModifiedResNet", "openclip"}},
		"LayerScale":               {oddModel(t), SaveOptions{Layout: HuggingFace}, []string{"LayerScale", "openclip"}},
		"two activations":          {mixed, SaveOptions{Layout: OpenCLIP}, []string{"gelu", "quick_gelu", "hf"}},
		"unknown layout":           {mixed, SaveOptions{Layout: "onnx"}, []string{"onnx", "hf", "openclip"}},
		"OpenAI's":                 {mixed, SaveOptions{Layout: OpenAI}, []string{"openai", "hf", "openclip"}},
		"integers":                 {mixed, SaveOptions{DType: torch.Int64}, []string{"int64", "bfloat16"}},
		"overflow":                 {huge, SaveOptions{DType: torch.Float16}, []string{"logit_scale", "float16"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := c.model.SaveWith(dir, c.o)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not say %q", err, want)
				}
			}
			if entries, _ := os.ReadDir(dir); len(entries) > 0 {
				t.Errorf("%d files were written", len(entries))
			}
		})
	}
}

// A checkpoint file by its names alone, as training writes it, and mistakes in it.
func TestCheckpointFile(t *testing.T) {
	c, err := ArchitectureConfig("ViT-S-32")
	if err != nil {
		t.Fatal(err)
	}
	c.Vision.Width, c.Vision.MLPWidth, c.Vision.Heads, c.Vision.Layers, c.Vision.ImageSize = 64, 256, 1, 2, 64
	c.Text.Width, c.Text.MLPWidth, c.Text.Heads, c.Text.Layers, c.EmbedDim, c.Text.ContextLength = 64, 256, 1, 1, 16, 8
	tokenizer := randomModel(t, "vit_gelu_eos").Tokenizer
	c.Text.VocabSize, c.Text.EOS = 100, 99
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	m.Init(3)
	weights, err := toOpenCLIP(nn.Export(m))
	if err != nil {
		t.Fatal(err)
	}
	write := func(t *testing.T, dir string, change func(checkpoint.Tensors)) string {
		t.Helper()
		if err := tokenizer.Save(dir); err != nil {
			t.Fatal(err)
		}
		tensors := maps.Clone(weights)
		change(tensors)
		path := filepath.Join(dir, "epoch_1.safetensors")
		if err := checkpoint.WriteSafetensors(path, tensors, nil); err != nil {
			t.Fatal(err)
		}
		return path
	}
	number := checkpoint.Tensor{DType: torch.Int64, Shape: []int{}, Data: make([]byte, 8)}
	for name, want := range map[string]struct {
		change     func(checkpoint.Tensors)
		activation nn.Activation
		layout     Layout
		force      bool
	}{
		"open_clip's": {func(checkpoint.Tensors) {}, nn.GELU, OpenCLIP, false},
		"forced":      {func(checkpoint.Tensors) {}, nn.QuickGELU, OpenCLIP, true},
		"OpenAI's": {func(t checkpoint.Tensors) {
			t["input_resolution"], t["context_length"], t["vocab_size"] = number, number, number
		}, nn.QuickGELU, OpenAI, false},
		"custom text": {func(t checkpoint.Tensors) {
			for _, name := range t.Names() {
				if !strings.HasPrefix(name, "visual.") && name != "logit_scale" {
					t["text."+name] = t[name]
					delete(t, name)
				}
			}
		}, nn.GELU, OpenCLIP, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := LoadWith(write(t, t.TempDir(), want.change), torch.CPU, LoadOptions{ForceQuickGELU: want.force})
			if err != nil {
				t.Fatal(err)
			}
			expect := c
			expect.setActivation(want.activation)
			if got.Config.Text != expect.Text || got.Config.Vision.Activation != want.activation || got.Source.Layout != want.layout || got.Source.Guessed == "" || strings.Contains(got.Source.Guessed, "preprocessing") != (want.layout == OpenCLIP) {
				t.Errorf("%+v\n%+v", got.Config, got.Source)
			}
			sameTensors(t, nn.Export(got), nn.Export(m))
		})
	}
	for name, c := range map[string]struct {
		change func(checkpoint.Tensors)
		o      LoadOptions
		want   []string
	}{
		"missing":              {func(t checkpoint.Tensors) { delete(t, "visual.transformer.resblocks.1.attn.in_proj_bias") }, LoadOptions{}, []string{"visual.transformer.resblocks.1.attn.in_proj_bias", "missing"}},
		"missing block":        {func(t checkpoint.Tensors) { delete(t, "transformer.resblocks.0.ln_1.weight") }, LoadOptions{}, []string{"tensor transformer.resblocks.0.ln_1.weight", "missing"}},
		"extra":                {func(t checkpoint.Tensors) { t["visual.head.weight"] = number }, LoadOptions{}, []string{"visual.head.weight", "not part"}},
		"wrong shape":          {func(t checkpoint.Tensors) { t["visual.ln_post.weight"] = number }, LoadOptions{}, []string{"visual.ln_post.weight", "[64]"}},
		"another architecture": {func(checkpoint.Tensors) {}, LoadOptions{Architecture: "ViT-B-32"}, []string{"151277313", "different models"}},
		"unknown architecture": {func(checkpoint.Tensors) {}, LoadOptions{Architecture: "ViT-Z"}, []string{"ViT-Z", "ViT-B-32"}},
		"Hugging Face's":       {func(t checkpoint.Tensors) { t["text_model.x"] = number }, LoadOptions{}, []string{hfConfigFile}},
		"NaN": {func(t checkpoint.Tensors) {
			data := bytes.Clone(t["ln_final.bias"].Data)
			copy(data[8:], []byte{0, 0, 0xc0, 0x7f})
			t["ln_final.bias"] = checkpoint.Tensor{DType: torch.Float32, Shape: []int{64}, Data: data}
		}, LoadOptions{}, []string{"ln_final.bias", "NaN"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, t.TempDir(), c.change)
			_, err := LoadWith(path, torch.CPU, c.o)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not say %q", err, want)
				}
			}
		})
	}
	t.Run("vocabulary", func(t *testing.T) {
		dir := t.TempDir()
		path := write(t, dir, func(checkpoint.Tensors) {})
		if err := os.Remove(filepath.Join(dir, "tokenizer.json")); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(path, torch.CPU); err == nil || !strings.Contains(err.Error(), "tokenizer.json") || !strings.Contains(err.Error(), "100") {
			t.Errorf("error %v", err)
		}
		// CLIP's is built in.
		w := maps.Clone(weights)
		w["token_embedding.weight"] = checkpoint.Tensor{DType: torch.Float32, Shape: []int{text.CLIPVocabSize, 64}, Data: make([]byte, text.CLIPVocabSize*64*4)}
		if err := checkpoint.WriteSafetensors(path, w, nil); err != nil {
			t.Fatal(err)
		}
		if got, err := Load(path, torch.CPU); err != nil || !text.IsCLIP(got.Tokenizer) || got.Tokenizer.ContextLength() != 8 {
			t.Errorf("%v", err)
		}
	})
	t.Run("a name beside a config", func(t *testing.T) {
		dir := t.TempDir()
		m.Tokenizer = tokenizer
		if err := m.SaveWith(dir, SaveOptions{Layout: OpenCLIP}); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadWith(dir, torch.CPU, LoadOptions{Architecture: "ViT-B-32"}); err == nil || !strings.Contains(err.Error(), openclipConfigFile) {
			t.Errorf("error %v", err)
		}
		if _, err := Load(filepath.Join(dir, openclipWeights), torch.CPU); err != nil { // the file of such a folder
			t.Error(err)
		}
	})
}
