package clip

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"arf/checkpoint"
	"arf/nn"
	"arf/torch"
)

// goldenConfig is the configuration that scripts/golden/clip_small.py notes.
type goldenConfig struct {
	VocabSize     int           `json:"vocab_size"`
	ContextLength int           `json:"context_length"`
	TextWidth     int           `json:"text_width"`
	TextLayers    int           `json:"text_layers"`
	TextHeads     int           `json:"text_heads"`
	EmbedDim      int           `json:"embed_dim"`
	ImageSize     int           `json:"image_size"`
	PatchSize     int           `json:"patch_size"`
	Width         int           `json:"width"`
	Layers        int           `json:"layers"`
	Heads         int           `json:"heads"`
	ResNetLayers  []int         `json:"resnet_layers"`
	Act           nn.Activation `json:"act"`
	Argmax        bool          `json:"argmax"`
	EOS           int           `json:"eos"`
}

func (g goldenConfig) config() Config {
	return Config{
		EmbedDim: g.EmbedDim,
		Vision: VisionConfig{
			ImageSize: g.ImageSize, PatchSize: g.PatchSize, Width: g.Width, Layers: g.Layers, Heads: g.Heads,
			MLPWidth: 4 * g.Width, Activation: g.Act, Eps: 1e-5, ResNetLayers: g.ResNetLayers,
		},
		Text: TextConfig{
			ContextLength: g.ContextLength, VocabSize: g.VocabSize, Width: g.TextWidth, Layers: g.TextLayers, Heads: g.TextHeads,
			MLPWidth: 4 * g.TextWidth, Activation: g.Act, Eps: 1e-5, EOS: g.EOS, ArgmaxPooling: g.Argmax,
		},
	}
}

// readGolden makes the model of a golden file and returns the file's other tensors.
func readGolden(t testing.TB, name string) (*Model, checkpoint.Tensors) {
	t.Helper()
	tensors, metadata, err := checkpoint.ReadSafetensors("testdata/golden_" + name + ".safetensors")
	if err != nil {
		t.Fatal(err)
	}
	var g goldenConfig
	if err := json.Unmarshal([]byte(metadata["config"]), &g); err != nil {
		t.Fatal(err)
	}
	m, err := New(g.config())
	if err != nil {
		t.Fatal(err)
	}
	weights := checkpoint.Tensors{}
	for name, tensor := range tensors {
		if rest, ok := strings.CutPrefix(name, "weight."); ok {
			weights[rest] = tensor
		}
	}
	if err := nn.Import(m, weights); err != nil {
		t.Fatal(err)
	}
	return m, tensors
}

// relativeError is |got − want| / |want| in the Euclidean norm.
func relativeError(got *torch.Tensor, want checkpoint.Tensor) float64 {
	g, w := torch.To[float32](got), torch.To[float32](want.ToTorch(torch.CPU))
	if len(g) != len(w) {
		return math.Inf(1)
	}
	var difference, size float64
	for i := range g {
		difference += math.Pow(float64(g[i])-float64(w[i]), 2)
		size += math.Pow(float64(w[i]), 2)
	}
	return math.Sqrt(difference / size)
}

func goldenIDs(t checkpoint.Tensor, eos int) [][]int32 {
	ids := make([][]int32, t.Shape[0])
	all := torch.To[int64](t.ToTorch(torch.CPU))
	for i := range ids {
		for _, id := range all[i*t.Shape[1] : (i+1)*t.Shape[1]] {
			ids[i] = append(ids[i], int32(id))
			if int(id) == eos {
				break // what follows is padding
			}
		}
	}
	return ids
}

// Features, logits, loss and every gradient against PyTorch, in float32.
func TestGolden(t *testing.T) {
	for _, name := range []string{"vit_gelu_eos", "vit_quickgelu_argmax", "resnet"} {
		t.Run(name, func(t *testing.T) {
			m, golden := readGolden(t, name)
			for _, p := range m.Trainable() {
				p.Tensor.SetRequiresGrad(true)
			}
			torch.Scope(func() {
				rgb := golden["input.rgb"]
				images := m.EncodeImage(m.Pixels(rgb.Data, rgb.Shape[0]))
				texts := m.EncodeText(goldenIDs(golden["input.ids"], m.Config.Text.EOS))
				loss := m.ContrastiveLoss(images, texts, nil, nil)
				for what, got := range map[string]*torch.Tensor{
					"images": images, "texts": texts, "logits": m.Logits(images, texts), "loss": loss,
				} {
					if e := relativeError(got, golden["output."+what]); !(e <= 1e-5) {
						t.Errorf("%s: relative error %.2g", what, e)
					}
				}
				loss.Backward()
				for _, p := range m.Trainable() {
					want := golden["gradient."+p.Name]
					got := p.Tensor.Grad()
					if got == nil {
						t.Errorf("%s has no gradient", p.Name)
						continue
					}
					// Keys' biases shift all logits of a query alike: their gradient is rounding noise.
					if strings.HasSuffix(p.Name, "k_proj.bias") {
						continue
					}
					if e := relativeError(got, want); !(e <= 1e-4) {
						t.Errorf("gradient of %s: relative error %.2g", p.Name, e)
					}
				}
			})
		})
	}
}
