package clip

import (
	"maps"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"arf/checkpoint"
	"arf/nn"
	"arf/torch"
)

// skeleton has the shapes, without data, that inferConfig looks at.
func skeleton(c Config) checkpoint.Tensors {
	tensors := checkpoint.Tensors{}
	add := func(name string, shape ...int) {
		tensors[name] = checkpoint.Tensor{DType: torch.Float32, Shape: shape}
	}
	v, t := c.Vision, c.Text
	block := func(name string, width, hidden int, layerScale float64) {
		add(name+".mlp.c_fc.weight", hidden, width)
		add(name+".attn.in_proj_weight", 3*width, width)
		if layerScale > 0 {
			add(name+".ls_1.gamma", width)
		}
	}
	add("ln_final.weight", t.Width)
	add("token_embedding.weight", t.VocabSize, t.Width)
	add("text_projection", t.Width, c.EmbedDim)
	add("positional_embedding", t.ContextLength, t.Width)
	for i := range t.Layers {
		block("transformer.resblocks."+itoa(i), t.Width, t.MLPWidth, t.LayerScale)
	}
	if v.IsResNet() {
		for stage, blocks := range v.ResNetLayers {
			for i := range blocks {
				add("visual.layer"+itoa(stage+1)+"."+itoa(i)+".conv1.weight", v.Width<<stage, v.Width, 1, 1)
			}
		}
		grid := v.ImageSize / 32
		add("visual.attnpool.positional_embedding", 1+grid*grid, 32*v.Width)
		return tensors
	}
	grid := v.ImageSize / v.PatchSize
	add("visual.conv1.weight", v.Width, 3, v.PatchSize, v.PatchSize)
	add("visual.positional_embedding", 1+grid*grid, v.Width)
	if !v.NoPreNorm {
		add("visual.ln_pre.weight", v.Width)
	}
	for i := range v.Layers {
		block("visual.transformer.resblocks."+itoa(i), v.Width, v.MLPWidth, v.LayerScale)
	}
	return tensors
}

func itoa(i int) string { return strconv.Itoa(i) }

// The sizes of each published model are found in its shapes, and its heads by
// recognising it.
func TestInferPublished(t *testing.T) {
	for _, name := range Architectures() {
		want, err := ArchitectureConfig(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, openAI := range []bool{false, true} {
			got, guessed, err := inferConfig(skeleton(want), openAI, false)
			if want.Vision.NoPreNorm {
				if err == nil || !strings.Contains(err.Error(), "ln_pre") {
					t.Errorf("%s: error %v", name, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			expect := want
			if openAI {
				expect.setActivation(nn.QuickGELU)
			}
			if !reflect.DeepEqual(got, expect) {
				t.Errorf("%s: inferred\n%+v, want\n%+v", name, got, expect)
			}
			if !strings.Contains(guessed, name) || strings.Contains(guessed, "activation") == openAI {
				t.Errorf("%s, OpenAI %v: told %q", name, openAI, guessed)
			}
		}
	}
}

// Sizes that nobody published get heads of width 64, as in OpenAI's build_model.
func TestInferHeads(t *testing.T) {
	c, err := ArchitectureConfig("ViT-B-32")
	if err != nil {
		t.Fatal(err)
	}
	c.Vision.Width, c.Vision.MLPWidth = 640, 1000
	got, guessed, err := inferConfig(skeleton(c), false, true)
	if err != nil || got.Vision.Heads != 10 || got.Text.Heads != 8 || got.Vision.MLPWidth != 1000 || got.Text.Activation != nn.QuickGELU {
		t.Errorf("%+v, %v", got, err)
	}
	if !strings.Contains(guessed, "width 64") {
		t.Errorf("told %q", guessed)
	}
	c.Vision.Width = 650
	if _, _, err := inferConfig(skeleton(c), false, false); err == nil || !strings.Contains(err.Error(), "650") || !strings.Contains(err.Error(), openclipConfigFile) {
		t.Errorf("error %v", err)
	}
}

func TestInferNamesWhatIsMissing(t *testing.T) {
	for _, name := range []string{"ViT-B-32", "RN50"} {
		c, err := ArchitectureConfig(name)
		if err != nil {
			t.Fatal(err)
		}
		for missing := range skeleton(c) {
			if strings.Contains(missing, "in_proj") || strings.Contains(missing, "resblocks") && !strings.Contains(missing, "s.0.") || strings.Contains(missing, "visual.layer") {
				continue // what is counted only
			}
			tensors := skeleton(c)
			delete(tensors, missing)
			if _, _, err := inferConfig(tensors, false, false); err == nil || !strings.Contains(err.Error(), missing) {
				t.Errorf("%s without %s: error %v", name, missing, err)
			}
			tensors = maps.Clone(skeleton(c))
			tensors[missing] = checkpoint.Tensor{DType: torch.Float32, Shape: []int{7, 7, 7, 7, 7}}
			if _, _, err := inferConfig(tensors, false, false); err == nil && missing != "visual.ln_pre.weight" {
				t.Errorf("%s with a five-dimensional %s: no error", name, missing)
			}
		}
	}
	c, _ := ArchitectureConfig("ViT-B-32")
	tensors := skeleton(c)
	tensors["visual.positional_embedding"] = checkpoint.Tensor{DType: torch.Float32, Shape: []int{1 + 48, 768}}
	if _, _, err := inferConfig(tensors, false, false); err == nil || !strings.Contains(err.Error(), "49 positions") {
		// 48 is no square
		t.Errorf("error %v", err)
	}
}
