package atomicfile

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestNothingLiesElsewhere(t *testing.T) {
	temp, dir := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	path := filepath.Join(dir, "a.txt")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := filepath.Dir(f.Name()); got != dir { // as a killed process leaves it
		t.Errorf("it's written in %s, want %s", got, dir)
	}
	if err := f.Cleanup(); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestWhatAKilledProcessLeftIsRemoved(t *testing.T) {
	dir := t.TempDir()
	before := time.Now().Add(-2 * stale)
	for name, gone := range map[string]bool{".a.txt123": true, ".a.txt": false, ".a.txt12b": false, ".b.txt123": false, "a.txt123": false, ".a.txt124": false} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		if name != ".a.txt124" { // another process writes that one now
			if err := os.Chtimes(path, before, before); err != nil {
				t.Fatal(err)
			}
		}
		if err := Write(filepath.Join(dir, "a.txt"), []byte("new"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); os.IsNotExist(err) != gone {
			t.Errorf("%s: %v, gone should be %v", name, err, gone)
		}
	}
}

func TestClean(t *testing.T) {
	dir := t.TempDir()
	for name, gone := range map[string]bool{
		".run.json123": true, "eval/.a.json1": true, ".lock": false, "123": false, ".123": false, "run.json1": false, ".run.json": false, "seed-0": false, ".a1": false,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := Clean(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); os.IsNotExist(err) != gone {
			t.Errorf("%s: %v, gone should be %v", name, err, gone)
		}
	}
}
