package clip

import (
	"os"
	"path/filepath"
	"testing"

	"arf/torch"
)

// Every file that says what the model computes counts, and its place doesn't.
func TestHashIsOfTheFolder(t *testing.T) {
	for _, name := range []string{"vit_gelu_eos", "resnet"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := randomModel(t, name).Save(dir, torch.Float32, nil); err != nil {
				t.Fatal(err)
			}
			hash := func(dir string) string {
				t.Helper()
				h, err := Hash(dir)
				if err != nil {
					t.Fatal(err)
				}
				return h
			}
			first := hash(dir)
			elsewhere := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(elsewhere, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if hash(elsewhere) != first {
				t.Error("a copy has another hash")
			}
			files, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(files) < 4 {
				t.Fatalf("only %d files", len(files))
			}
			for _, f := range files {
				path := filepath.Join(elsewhere, f.Name())
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				changed := append([]byte{}, data...)
				changed[len(changed)/2] ^= 1
				for what, put := range map[string]func() error{
					"changed": func() error { return os.WriteFile(path, changed, 0o644) },
					"missing": func() error { return os.Remove(path) },
				} {
					if err := put(); err != nil {
						t.Fatal(err)
					}
					if hash(elsewhere) == first {
						t.Errorf("%s %s: the same hash", f.Name(), what)
					}
					if err := os.WriteFile(path, data, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := os.WriteFile(filepath.Join(elsewhere, "README.md"), []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
			if hash(elsewhere) != first {
				t.Error("a README changes the hash")
			}
		})
	}
}
