package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestListFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "classes.txt")
	for text, want := range map[string][]string{
		"\uFEFFcat\r\n# mine\r\n\r\n dog \r\n": {"cat", "dog"},
		"n01440764\ttench\n":                   {"n01440764\ttench"},
		"# nothing\n":                          nil,
		"caf\xe9\n":                            nil,
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := List{Ref: path}.Read()
		if !slices.Equal(got, want) || (err != nil) != (want == nil) || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	if _, err := (List{Ref: filepath.Dir(path)}).Read(); err == nil || !strings.Contains(err.Error(), "text file") {
		t.Errorf("a folder: %v", err)
	}
}
