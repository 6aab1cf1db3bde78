package clip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	for _, c := range []struct {
		files   string // in the folder
		layout  Layout
		weights string
		err     []string
	}{
		{files: "config.json model.safetensors", layout: HuggingFace, weights: "model.safetensors"},
		{files: "config.json pytorch_model.bin model.safetensors", layout: HuggingFace, weights: "model.safetensors"},
		{files: "config.json model.safetensors.index.json", layout: HuggingFace, weights: "model.safetensors.index.json"},
		{files: "config.json pytorch_model.bin", layout: HuggingFace, weights: "pytorch_model.bin"},
		{files: "config.json pytorch_model.bin.index.json", layout: HuggingFace, weights: "pytorch_model.bin.index.json"},
		{files: "open_clip_config.json open_clip_model.safetensors", layout: OpenCLIP, weights: "open_clip_model.safetensors"},
		{files: "open_clip_config.json open_clip_pytorch_model.bin", layout: OpenCLIP, weights: "open_clip_pytorch_model.bin"},
		{files: "open_clip_config.json open_clip_pytorch_model.bin open_clip_model.safetensors", layout: OpenCLIP, weights: "open_clip_model.safetensors"},
		{files: "open_clip_config.json model.safetensors", layout: OpenCLIP, weights: "model.safetensors"},
		{files: "open_clip_config.json pytorch_model.bin", layout: OpenCLIP, weights: "pytorch_model.bin"},
		// Both layouts in one folder, as many on the hub.
		{files: "open_clip_config.json open_clip_pytorch_model.bin config.json model.safetensors", layout: OpenCLIP, weights: "open_clip_pytorch_model.bin"},
		{files: "open_clip_config.json config.json model.safetensors", layout: HuggingFace, weights: "model.safetensors"},
		{files: "config.json open_clip_model.safetensors", err: []string{"config.json is there", "no weights", "pytorch_model.bin"}},
		{files: "open_clip_config.json", err: []string{"no weights", "open_clip_pytorch_model.bin"}},
		{files: "model.safetensors", err: []string{"neither", hfConfigFile, openclipConfigFile}},
	} {
		t.Run(c.files, func(t *testing.T) {
			dir := t.TempDir()
			for name := range strings.FieldsSeq(c.files) {
				if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			f, err := find(dir)
			if c.err != nil {
				for _, want := range append(c.err, dir) {
					if err == nil || !strings.Contains(err.Error(), want) {
						t.Errorf("error %v does not say %q", err, want)
					}
				}
				return
			}
			if err != nil || f.layout != c.layout || f.weights != filepath.Join(dir, c.weights) {
				t.Errorf("%+v, %v", f, err)
			}
		})
	}
	if _, err := find(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("error %v", err)
	}
}

// What is read under any name counts in the hash.
func TestHashOfOtherLayouts(t *testing.T) {
	for _, names := range [][]string{
		{"config.json", "pytorch_model.bin"},
		{"open_clip_config.json", "open_clip_pytorch_model.bin"},
		{"config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"},
		{"epoch_32.pt"},
	} {
		dir := t.TempDir()
		put := func(name, content string) {
			if name == "model.safetensors.index.json" {
				content = `{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}, "x": "` + content + `"}`
			}
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range names {
			put(name, "1")
		}
		path := dir
		if len(names) == 1 {
			path = filepath.Join(dir, names[0])
		}
		first, err := Hash(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			put(name, "2")
			if h, err := Hash(path); err != nil || h == first {
				t.Errorf("%s changed: hash %s, %v", name, h, err)
			}
			put(name, "1")
		}
		if h, err := Hash(path); err != nil || h != first {
			t.Errorf("%v: the same files, another hash", names)
		}
	}
}
