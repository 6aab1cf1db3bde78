package pipeline

import (
	"os"
	"path/filepath"
	"testing"
)

// A training goes aside and comes back, in a folder whose name looks like a
// pattern too; the one of the folder that the pattern matches stays.
func TestSetAside(t *testing.T) {
	for _, name := range []string{"exp", "exp[1]"} {
		root := t.TempDir()
		dir := filepath.Join(root, name, "seed-0")
		other := filepath.Join(root, "exp1", "before-seed-0-00")
		begin := func(hash, file string) {
			t.Helper()
			if err := restart(dir, hash, nil); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, "checkpoints", file), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(other, 0o755); err != nil {
			t.Fatal(err)
		}
		begin("aaaa", "step-1")
		for _, c := range []struct{ hash, file, aside string }{{"bbbb", "step-2", "before-seed-0-aaaa"}, {"cccc", "step-3", "before-seed-0-bbbb"}} {
			aside, err := setAside(dir, c.hash)
			if err != nil || filepath.Base(aside) != c.aside {
				t.Errorf("%s: %q is set aside, %v", name, aside, err)
			}
			begin(c.hash, c.file)
		}
		if _, err := setAside(dir, "bbbb"); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]bool{
			filepath.Join(dir, "checkpoints", "step-2"):                              true,
			filepath.Join(root, name, "before-seed-0-aaaa"):                          false, // the last one is kept
			filepath.Join(root, name, "before-seed-0-cccc", "checkpoints", "step-3"): true,
			other: true,
		} {
			if _, err := os.Stat(path); (err == nil) != want {
				t.Errorf("%s: there is %v, want %v", path, err == nil, want)
			}
		}
	}
}
