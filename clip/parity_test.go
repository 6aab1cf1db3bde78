package clip

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"arf/checkpoint"
	"arf/nn"
	"arf/text"
	"arf/torch"
)

// parityCases are the folders of testdata/parity, each with a small model as a
// library wrote it and what the library computes with it
// (scripts/golden/features.py).
func parityCases(t *testing.T) []string {
	t.Helper()
	golden, err := filepath.Glob("testdata/parity/*/golden.safetensors")
	if err != nil || len(golden) < 9 {
		t.Fatalf("only %d models in testdata/parity (%v)", len(golden), err)
	}
	dirs := make([]string, len(golden))
	for i, g := range golden {
		dirs[i] = filepath.Dir(g)
	}
	return dirs
}

// modelPath is what Load takes: the folder, or the checkpoint file in it.
func modelPath(dir string) string {
	if files, _ := filepath.Glob(filepath.Join(dir, "*.pt")); len(files) == 1 {
		return files[0]
	}
	return dir
}

// hash32 gives uniform 32-bit numbers: a counter of the stream seed through
// murmur3's finalizer.
func hash32(i, seed uint32) uint32 {
	x := i*0x9E3779B9 + seed
	x = (x ^ x>>16) * 0x85EBCA6B
	x = (x ^ x>>13) * 0xC2B2AE35
	return x ^ x>>16
}

// hashPixels are the images of the golden features.
func hashPixels(m *Model, batch int) *torch.Tensor {
	rgb := make([]uint8, batch*m.Preprocess.Bytes())
	for i := range rgb {
		rgb[i] = uint8(hash32(uint32(i), 1) >> 24)
	}
	return m.Pixels(rgb, batch)
}

// TestParityFeatures: features, logits, loss and ten gradients of every layout
// against the library that wrote the model, in float32.
func TestParityFeatures(t *testing.T) {
	for _, dir := range parityCases(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			golden, metadata, err := checkpoint.ReadSafetensors(filepath.Join(dir, "golden.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			var about struct{ Layout, EOS string }
			if err := json.Unmarshal([]byte(metadata["golden"]), &about); err != nil {
				t.Fatal(err)
			}
			eos, err := strconv.Atoi(about.EOS)
			if err != nil {
				t.Fatal(err)
			}
			m, err := Load(modelPath(dir), torch.CPU)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(m.Source.Layout); got != about.Layout {
				t.Errorf("layout %s, want %s", got, about.Layout)
			}
			trainable := m.Trainable()
			for _, p := range trainable {
				p.Tensor.SetRequiresGrad(true)
			}
			torch.Scope(func() {
				ids := goldenIDs(golden["ids"], eos)
				images, texts := m.EncodeImage(hashPixels(m, len(ids))), m.EncodeText(ids)
				loss := m.ContrastiveLoss(images, texts, nil, nil)
				for what, got := range map[string]*torch.Tensor{"images": images, "texts": texts, "logits": m.Logits(images, texts), "loss": loss} {
					e := relativeError(got, golden[what])
					if !(e <= 1e-5) {
						t.Errorf("%s: relative error %.2g", what, e)
					}
					t.Logf("error %s %.2g", what, e)
				}
				loss.Backward()
				gradients := checkpoint.Tensors{}
				for _, p := range trainable {
					gradients[p.Name] = checkpoint.FromTorch(p.Tensor.Grad())
				}
				if m.Source.Layout != HuggingFace {
					if gradients, err = toOpenCLIP(gradients); err != nil {
						t.Fatal(err)
					}
				}
				compared := 0
				for name, want := range golden {
					name, ok := strings.CutPrefix(name, "gradient.")
					if !ok {
						continue
					}
					compared++
					got, ok := gradients[name]
					if !ok {
						t.Errorf("no gradient of %s", name)
						continue
					}
					e := relativeError(got.ToTorch(torch.CPU), want)
					if !(e <= 1e-4) {
						t.Errorf("gradient of %s: relative error %.2g", name, e)
					}
					t.Logf("error gradient %.2g %s", e, name)
				}
				if compared != 10 {
					t.Errorf("%d gradients compared", compared)
				}
			})
		})
	}
}

// TestParityRoundTrip: what was read and is written again in the same layout has
// the same bits, and so it has after a detour through the other layout.
func TestParityRoundTrip(t *testing.T) {
	for _, dir := range parityCases(t) {
		name := filepath.Base(dir)
		if strings.HasPrefix(name, "openai") {
			continue // read only
		}
		t.Run(name, func(t *testing.T) {
			m, err := Load(modelPath(dir), torch.CPU)
			if err != nil {
				t.Fatal(err)
			}
			want, _, err := checkpoint.Read(m.Source.Weights)
			if err != nil {
				t.Fatal(err)
			}
			detours := []Layout{m.Source.Layout}
			for _, other := range []Layout{HuggingFace, OpenCLIP} {
				if other != m.Source.Layout && (other != HuggingFace || m.Config.checkHF() == nil) && holds(m, other) {
					detours = append(detours, other)
				}
			}
			for _, through := range detours {
				first, second := t.TempDir(), t.TempDir()
				if err := m.SaveWith(first, SaveOptions{Layout: through, DType: m.Source.DType}); err != nil {
					t.Fatalf("%s: %v", through, err)
				}
				again, err := Load(first, torch.CPU)
				if err != nil {
					t.Fatal(err)
				}
				if err := again.SaveWith(second, SaveOptions{Layout: m.Source.Layout, DType: m.Source.DType}); err != nil {
					t.Fatal(err)
				}
				last, err := Load(second, torch.CPU)
				if err != nil {
					t.Fatal(err)
				}
				got, _, err := checkpoint.Read(last.Source.Weights)
				if err != nil {
					t.Fatal(err)
				}
				if a, b := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(a, b) {
					t.Errorf("through %s: tensors %v, want %v", through, a, b)
				}
				for name, w := range want {
					if g := got[name]; g.DType != w.DType || !slices.Equal(g.Shape, w.Shape) || string(g.Data) != string(w.Data) {
						t.Errorf("through %s: %s differs: %v %v, want %v %v", through, name, g.DType, g.Shape, w.DType, w.Shape)
					}
				}
			}
		})
	}
}

// holds tells whether a layout can say all of a model: open_clip knows one
// activation for both towers and no eos but the last.
func holds(m *Model, l Layout) bool {
	if l == HuggingFace {
		return true
	}
	_, err := m.Config.openclip(m.Preprocess, "")
	return err == nil
}

// TestParityFullSize: a ViT-B/32 whose weights both sides compute.
func TestParityFullSize(t *testing.T) {
	if testing.Short() {
		t.Skip("makes a model of 151 million weights")
	}
	golden, _, err := checkpoint.ReadSafetensors("testdata/parity/vit-b-32.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseHFConfig([]byte(`{"model_type": "clip"}`)) // transformers' defaults are ViT-B/32
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range nn.Params(m) {
		torch.Scope(func() {
			torch.NoGrad(func() { p.Tensor.Copy_(torch.From(torch.CPU, formula(p.Name, p.Tensor.Shape()), p.Tensor.Shape()...)) })
		})
	}
	torch.Scope(func() {
		torch.NoGrad(func() {
			ids := goldenIDs(golden["ids"], c.Text.EOS)
			images, texts := m.EncodeImage(hashPixels(m, len(ids))), m.EncodeText(ids)
			for what, got := range map[string]*torch.Tensor{"images": images, "texts": texts, "logits": m.Logits(images, texts)} {
				e := relativeError(got, golden[what])
				if !(e <= 1e-5) {
					t.Errorf("%s: relative error %.2g", what, e)
				}
				t.Logf("error %s %.2g", what, e)
			}
		})
	})
}

// formula is formula in scripts/golden/features.py: uniform numbers of a stream
// that the weight's name gives.
func formula(name string, shape []int) []float32 {
	seed := uint32(2166136261)
	for i := range len(name) { // FNV-1a
		seed = (seed ^ uint32(name[i])) * 16777619
	}
	out := make([]float32, torch.Elements(shape))
	if name == "logit_scale" {
		out[0] = 3
		return out
	}
	var scale, shift float32
	switch {
	case strings.HasSuffix(name, "bias"):
		scale = 0.05
	case strings.Contains(name, "norm"), strings.Contains(name, "layrnorm"):
		scale, shift = 0.25, 1
	case strings.Contains(name, "embedding") && !strings.Contains(name, "patch"):
		scale = 0.5
	default:
		scale = 1.75 / float32(math.Sqrt(float64(len(out)/shape[0])))
	}
	for i := range out {
		u := float32(int32(hash32(uint32(i), seed)>>8)-1<<23) / (1 << 23) // in [-1, 1)
		out[i] = float32(u*scale) + shift
	}
	return out
}

// The golden files must stay small enough for a repository.
func TestParityFilesAreSmall(t *testing.T) {
	total := int64(0)
	err := filepath.WalkDir("testdata", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	if err != nil || total > 6<<20 {
		t.Errorf("testdata has %d bytes (%v)", total, err)
	}
}

// TestTextsAreCleanedAsTheLayoutDoes: open_clip's and OpenAI's programs resolve
// HTML entities, Hugging Face's tokenizer doesn't.
func TestTextsAreCleanedAsTheLayoutDoes(t *testing.T) {
	tokenizer, err := text.CLIP(8)
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{
		EmbedDim: 2, Vision: VisionConfig{ImageSize: 4, PatchSize: 2, Width: 2, Layers: 1, Heads: 1, MLPWidth: 2, Activation: nn.GELU, Eps: 1e-5},
		Text: TextConfig{ContextLength: 8, VocabSize: text.CLIPVocabSize, Width: 2, Layers: 1, Heads: 1, MLPWidth: 2, Activation: nn.GELU, Eps: 1e-5, EOS: text.CLIPVocabSize - 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Tokenizer = tokenizer
	want := tokenizer.Encode("l'été")
	hashes := map[string]bool{}
	for layout, cleaned := range map[Layout]bool{HuggingFace: false, OpenCLIP: true} {
		dir := t.TempDir()
		if err := m.SaveWith(dir, SaveOptions{Layout: layout}); err != nil {
			t.Fatal(err)
		}
		again, err := Load(dir, torch.CPU)
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Tokenize([]string{"l&rsquo;&eacute;té"})[0]; slices.Equal(got, want) != cleaned {
			t.Errorf("%s: %v, the clean text is %v", layout, got, want)
		}
		hash, err := again.Hash()
		if err != nil {
			t.Fatal(err)
		}
		hashes[hash] = true
	}
	if len(hashes) != 2 { // features of texts are cached by it
		t.Error("the hash doesn't tell the layouts' texts apart")
	}
}

// TestParityEndToEnd: the shipped model on photographs and prompts, from files
// to logits, against open_clip.
func TestParityEndToEnd(t *testing.T) {
	golden, metadata, err := checkpoint.ReadSafetensors("testdata/parity/icon-clip.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	var about struct{ Photos, Prompts []string }
	if err := json.Unmarshal([]byte(metadata["golden"]), &about); err != nil {
		t.Fatal(err)
	}
	m, err := Load("../models/icon-clip", torch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	var pixels []uint8
	for _, name := range about.Photos {
		encoded, err := os.ReadFile(filepath.Join("../imaging/testdata/photos", name))
		if err != nil {
			t.Fatal(err)
		}
		p, err := m.Preprocess.Eval(encoded)
		if err != nil {
			t.Fatal(err)
		}
		pixels = append(pixels, p...)
	}
	torch.Scope(func() {
		torch.NoGrad(func() {
			logits := m.Logits(m.EncodeImage(m.Pixels(pixels, len(about.Photos))), m.EncodeText(m.Tokenize(about.Prompts)))
			if e := relativeError(logits, golden["logits"]); !(e <= 1e-5) {
				t.Errorf("logits: relative error %.2g", e)
			} else {
				t.Logf("error logits %.2g", e)
			}
		})
	})
}
