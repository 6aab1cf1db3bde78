package captioner

import (
	"os"
	"path/filepath"
	"testing"

	"arf/torch"
)

func TestHashCoversEveryFile(t *testing.T) {
	dir := t.TempDir()
	if err := newModel(t, false).Save(dir, torch.Float16, nil); err != nil {
		t.Fatal(err)
	}
	hash := func() string {
		t.Helper()
		h, err := Hash(dir)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	first := hash()
	if hash() != first {
		t.Error("the same folder has another hash")
	}
	for _, name := range []string{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"} {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := append([]byte{}, data...)
		changed[len(changed)/2] ^= 1
		if err := os.WriteFile(path, changed, 0o644); err != nil {
			t.Fatal(err)
		}
		if hash() == first {
			t.Errorf("a change of %s leaves the hash as it was", name)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Hash(t.TempDir()); err == nil {
		t.Error("an empty folder has a hash")
	}
}

// The shipped captioner belongs to the shipped CLIP.
func TestShippedModelsFit(t *testing.T) {
	if _, err := LoadModel("../models/icon-captioner", torch.CPU); err != nil {
		t.Error(err)
	}
}
