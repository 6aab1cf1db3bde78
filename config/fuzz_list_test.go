package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzList: a file of a list gives lines of text, or an error that names it.
func FuzzList(f *testing.F) {
	f.Add([]byte("\xef\xbb\xbfcat\r\n# a comment\n\n dog \n"))
	f.Add([]byte("\xff\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "list.txt")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		items, err := List{Ref: path}.Read()
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%v doesn't name the file", err)
			}
			return
		}
		for _, item := range items {
			if item == "" || item != strings.TrimSpace(item) || strings.Contains(item, "\n") || !utf8.ValidString(item) {
				t.Errorf("item %q", item)
			}
		}
	})
}
