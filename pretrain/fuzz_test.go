package pretrain

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzConfig: a config that is taken has what a run divides by and allocates.
func FuzzConfig(f *testing.F) {
	for _, name := range []string{"pretrain-icon-clip.yaml"} {
		data, err := os.ReadFile(filepath.Join("..", "configs", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("train: {batch_size: 2, steps: 1, lr: .nan}\n"))
	path := filepath.Join(f.TempDir(), "config.yaml")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := ReadConfig(path)
		if err != nil {
			return
		}
		if c.Train.BatchSize < 2 || c.Train.Steps < 1 || !(c.Train.LR > 0) || c.Data.Path == "" || c.Tokenizer.ContextLength < 3 {
			t.Errorf("took %q", content)
		}
	})
}
