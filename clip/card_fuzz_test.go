package clip

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzLicense: a model card's front matter, which strangers write, crashes nothing.
func FuzzLicense(f *testing.F) {
	f.Add([]byte("---\nlicense: mit\ntags: [a]\n---\n# Model"))
	f.Add([]byte("---\na: &a [x]\nb: &b [*a, *a]\nlicense: *b\n---\n"))
	f.Add([]byte("---\nlicense: ["))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, cardFile), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if license := License(dir); len(license) > len(data) {
			t.Errorf("%d bytes of a license in %d", len(license), len(data))
		}
	})
}
