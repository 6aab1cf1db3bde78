package clip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func isModel(dir string) bool {
	f, err := find(dir)
	return err == nil && f.config != ""
}

func TestConvertKeepsWhatIsThere(t *testing.T) {
	m := randomModel(t, "vit_gelu_eos")
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	if err := m.SaveWith(at("in"), SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	write := func(name string) {
		if err := os.MkdirAll(filepath.Dir(at(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at(name), []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("full/notes.txt")
	write("file")
	if err := os.Mkdir(at("empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("in"), at("link")); err != nil {
		t.Fatal(err)
	}
	for out, want := range map[string]string{
		"full": "--force", "file": "is a file", "in": "where the source is", "link": "where the source is",
	} {
		if _, _, err := Convert(at("in"), at(out), ConvertOptions{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("into %s: error %v", out, err)
		}
	}
	if _, _, err := Convert(at("in/model.safetensors"), at("in"), ConvertOptions{Force: true}); err == nil || !strings.Contains(err.Error(), "where the source is") {
		t.Errorf("a file into its own folder: error %v", err)
	}
	for _, out := range []string{"new", "a/b/new", "empty"} {
		if _, _, err := Convert(at("in"), at(out), ConvertOptions{Save: SaveOptions{Layout: OpenCLIP}}); err != nil || !isModel(at(out)) {
			t.Errorf("into %s: %v", out, err)
		}
	}
	if info, err := os.Stat(at("new")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the new folder: %v, %v", info.Mode(), err)
	}
	// A model gives way to the next, other files don't.
	write("new/notes.txt")
	write("new/README.md")
	if _, _, err := Convert(at("in"), at("new"), ConvertOptions{}); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Errorf("over a model without asking: error %v", err)
	}
	if _, _, err := Convert(at("in"), at("new"), ConvertOptions{Force: true}); err != nil || !isFile(at("new/config.json")) || isFile(at("new/open_clip_config.json")) || !isFile(at("new/notes.txt")) {
		t.Errorf("over a model: %v", err)
	}
	if _, _, err := Convert(at("in"), at("full"), ConvertOptions{Force: true}); err != nil || !isModel(at("full")) || !isFile(at("full/notes.txt")) {
		t.Errorf("forced: %v", err)
	}
	// Nothing is left of what failed.
	if err := os.Truncate(at("in/model.safetensors"), 100); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Convert(at("in"), at("broken"), ConvertOptions{}); err == nil || !strings.Contains(err.Error(), "model.safetensors") {
		t.Errorf("error %v", err)
	}
	if _, _, err := Convert(at("none"), at("broken"), ConvertOptions{}); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("error %v", err)
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == "broken" || strings.HasPrefix(e.Name(), ".") {
			t.Errorf("%s is left", e.Name())
		}
	}
}
