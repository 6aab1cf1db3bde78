package hub

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"arf/clip"
)

// What is fetched is what clip.Load finds: each config with each of its weights.
func TestLoadFindsWhatIsFetched(t *testing.T) {
	for config, weights := range map[string][]string{
		huggingFace.config: slices.Concat(huggingFace.safetensors, huggingFace.pickles),
		openclip.config:    slices.Concat(openclip.safetensors, openclip.pickles, huggingFace.safetensors, huggingFace.pickles),
	} {
		for _, name := range weights {
			files, err := choose([]string{config, name})
			if err != nil {
				t.Errorf("%s with %s: %v", config, name, err)
			}
			dir := t.TempDir()
			for _, file := range files {
				if err := os.WriteFile(filepath.Join(dir, file), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if !clip.IsModel(dir) {
				t.Errorf("clip doesn't find %s with %s", config, name)
			}
		}
	}
}
