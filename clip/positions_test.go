package clip

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"arf/checkpoint"
	"arf/nn"
	"arf/torch"
)

// Positions are interpolated as by open_clip's resize_pos_embed
// (scripts/golden/positions.py).
func TestPositionsAreOpenCLIPs(t *testing.T) {
	data, err := os.ReadFile("testdata/positions.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Cases []struct {
			From, To      int
			Before, After []float32
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil || len(golden.Cases) == 0 {
		t.Fatal("no cases", err)
	}
	torch.Scope(func() {
		for _, c := range golden.Cases {
			before := checkpoint.FromTorch(torch.From(torch.CPU, c.Before, 1+c.From*c.From, 3))
			got := interpolate(before, 1, c.From, c.To).ToTorch(torch.CPU)
			if !slices.Equal(got.Shape(), []int{1 + c.To*c.To, 3}) {
				t.Errorf("%d to %d: shape %v", c.From, c.To, got.Shape())
				continue
			}
			want := checkpoint.FromTorch(torch.From(torch.CPU, c.After, 1+c.To*c.To, 3))
			if e := relativeError(got, want); !(e <= 1e-6) {
				t.Errorf("%d to %d: relative error %.2g", c.From, c.To, e)
			}
		}
	})
}

func TestImageSize(t *testing.T) {
	m := randomModel(t, "vit_gelu_eos")
	v := m.Config.Vision
	for _, layout := range []Layout{HuggingFace, OpenCLIP} {
		dir := t.TempDir()
		if err := m.SaveWith(dir, SaveOptions{Layout: layout}); err != nil {
			t.Fatal(err)
		}
		grid := v.ImageSize/v.PatchSize + 3
		size := grid * v.PatchSize
		big, err := LoadWith(dir, torch.CPU, LoadOptions{ImageSize: size})
		if err != nil {
			t.Fatal(err)
		}
		if big.Config.Vision.ImageSize != size || big.Preprocess.ImageSize != size || big.ViT.Embeddings.Position.Weight.Dim(0) != 1+grid*grid {
			t.Errorf("%s: %+v, preprocessing at %d", layout, big.Config.Vision, big.Preprocess.ImageSize)
		}
		before, after := nn.Export(m)[positionsName], nn.Export(big)[positionsName]
		if !slices.Equal(before.Data[:4*v.Width], after.Data[:4*v.Width]) {
			t.Errorf("%s: the class token's position changed", layout)
		}
		again := t.TempDir() // what is written is a model of the new size
		if err := big.SaveWith(again, SaveOptions{Layout: layout}); err != nil {
			t.Fatal(err)
		}
		if loaded, err := Load(again, torch.CPU); err != nil || loaded.Config.Vision.ImageSize != size {
			t.Errorf("%s: %v", layout, err)
		}
		for size, want := range map[int]string{v.PatchSize - 1: "want", -1: "want", 1 << 15: "want"} {
			if _, err := LoadWith(dir, torch.CPU, LoadOptions{ImageSize: size}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("image size %d: error %v", size, err)
			}
		}
	}
	dir := t.TempDir()
	if err := randomModel(t, "resnet").Save(dir, torch.Float32, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadWith(dir, torch.CPU, LoadOptions{ImageSize: 96}); err == nil || !strings.Contains(err.Error(), "ModifiedResNet") {
		t.Errorf("a ResNet at another size: error %v", err)
	}
}
