package captioner

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/torch"
)

func TestTowerOfAnotherCLIPIsRefused(t *testing.T) {
	m := newModel(t, false)
	root := t.TempDir()
	dir := filepath.Join(root, "models", "captioner")
	if err := m.Save(dir, torch.Float32, nil); err != nil {
		t.Fatal(err)
	}
	_, err := LoadModel(dir, torch.CPU)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(root, "models", "tower")) {
		t.Errorf("without the CLIP: %v", err)
	}
	// A tower rounded to float16 is the same tower, whatever the text tower.
	tower := filepath.Join(root, "models", "tower")
	torch.NoGrad(func() { m.CLIP.TextProjection.Weight.Fill_(0.5) })
	if err := m.CLIP.Save(tower, torch.Float16, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadModel(dir, torch.CPU); err != nil {
		t.Errorf("with the tower in float16: %v", err)
	}
	torch.NoGrad(func() {
		torch.Scope(func() {
			w := m.CLIP.ResNet.Conv1.Weight.Narrow(0, 0, 1)
			w.Copy_(w.Add(torch.Full(torch.CPU, 1e-2)))
		})
	})
	if err := m.CLIP.Save(tower, torch.Float32, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadModel(dir, torch.CPU); !errors.Is(err, ErrTower) || !strings.Contains(err.Error(), tower) {
		t.Errorf("with a changed tower: %v", err)
	}
	if _, err := LoadWith(dir, m.CLIP); !errors.Is(err, ErrTower) {
		t.Errorf("LoadWith a changed tower: %v", err)
	}
}

// A captioner folder is moved beside its CLIP: the recorded path is wrong, the
// folder's name is right.
func TestTowerIsFoundBesideTheCaptioner(t *testing.T) {
	m := newModel(t, false)
	m.Decoder.Config.Tower.Path = "../../elsewhere/run/tower"
	root := t.TempDir()
	dir := filepath.Join(root, "captioner")
	if err := m.Save(dir, torch.Float16, nil); err != nil {
		t.Fatal(err)
	}
	if err := m.CLIP.Save(filepath.Join(root, "tower"), torch.Float16, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadModel(dir, torch.CPU); err != nil {
		t.Error(err)
	}
}

func TestDamagedFoldersAreNamed(t *testing.T) {
	m := newModel(t, false)
	for name, c := range map[string]struct {
		file string
		edit func(string) string
		want string
	}{
		"no config":      {"config.json", nil, "config.json"},
		"not ours":       {"config.json", func(s string) string { return strings.Replace(s, modelType, "blip", 1) }, "model_type"},
		"unknown key":    {"config.json", func(s string) string { return strings.Replace(s, `"hidden_act"`, `"hidden_akt"`, 1) }, "hidden_akt"},
		"heads":          {"config.json", func(s string) string { return strings.Replace(s, `heads": 4`, `heads": 5`, 1) }, "num_attention_heads"},
		"negative width": {"config.json", func(s string) string { return strings.Replace(s, `hidden_size": 32`, `hidden_size": -32`, 1) }, "hidden_size"},
		"other width":    {"config.json", func(s string) string { return strings.Replace(s, `hidden_size": 32`, `hidden_size": 64`, 1) }, "shape"},
		"tower's shape":  {"config.json", func(s string) string { return strings.Replace(s, `num_tokens": 4`, `num_tokens": 9`, 1) }, "image_tower"},
		"no weights":     {"model.safetensors", nil, "model.safetensors"},
		"cut weights":    {"model.safetensors", func(s string) string { return s[:len(s)/2] }, "damaged"},
		"no tokenizer":   {"tokenizer.json", nil, "tokenizer"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := m.Save(dir, torch.Float16, nil); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, c.file)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if c.edit == nil {
				err = os.Remove(path)
			} else {
				if c.edit(string(data)) == string(data) {
					t.Fatal("nothing was edited")
				}
				err = os.WriteFile(path, []byte(c.edit(string(data))), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err = LoadWith(dir, m.CLIP); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v, want an error that names %s and the folder", err, c.want)
			}
		})
	}
}

func TestSigLIPIsRefused(t *testing.T) {
	m := newModel(t, false)
	dir := t.TempDir()
	if err := m.Save(dir, torch.Float16, nil); err != nil {
		t.Fatal(err)
	}
	m.CLIP.Config.SigLIP = true
	_, newErr := New(m.CLIP, m.Decoder.Config, "")
	_, loadErr := LoadWith(dir, m.CLIP)
	for _, err := range []error{newErr, loadErr} {
		if err == nil || !strings.Contains(err.Error(), "SigLIP") {
			t.Errorf("error %v", err)
		}
	}
}
