package clip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/checkpoint"
	"arf/torch"
)

// Any tensors in the place of a checkpoint file give an error, or a
// configuration whose model is not larger than the file.
func FuzzCheckpointFile(f *testing.F) {
	text := TextConfig{ContextLength: 2, VocabSize: 3, Width: 64, Layers: 1, MLPWidth: 1}
	for _, vision := range []VisionConfig{
		{ImageSize: 4, PatchSize: 2, Width: 64, Layers: 2, MLPWidth: 1},
		{ImageSize: 64, Width: 2, ResNetLayers: []int{1, 1, 1, 1}},
	} {
		weights := skeleton(Config{EmbedDim: 2, Vision: vision, Text: text})
		for name, t := range weights {
			t.DType, t.Data = torch.Uint8, make([]byte, torch.Elements(t.Shape))
			if weights[name] = t; strings.Contains(name, "in_proj") {
				delete(weights, name) // large, and only counted
			}
		}
		path := filepath.Join(f.TempDir(), "seed")
		if err := checkpoint.WriteSafetensors(path, weights, nil); err != nil {
			f.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if _, err := read(files{dir: f.TempDir(), weights: path}, LoadOptions{}); err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		p, err := read(files{dir: filepath.Dir(path), weights: path}, LoadOptions{})
		if err != nil || p.config.Check() != nil {
			return
		}
		if p.checkSize() == nil && p.config.Parameters() > len(data)+1<<21 {
			t.Errorf("a model of %d parameters from %d bytes", p.config.Parameters(), len(data))
		}
	})
}
