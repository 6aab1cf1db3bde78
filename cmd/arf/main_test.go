package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// stamps are photographs and drawings with captions, from Debian's package
// tuxpaint-stamps-default.
const stamps = "/usr/share/tuxpaint/stamps"

// scratch is a folder that ends with the tests.
var program, repository, scratch string

// TestMain builds the program once.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "arf")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if repository, err = filepath.Abs("../.."); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		program = filepath.Join(dir, "arf")
		if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s%v\n", out, err)
			return 1
		}
		for name, library := range map[string]string{"ARF_ENGINE": "libarf_torch.so", "ARF_FAISS": "libarf_faiss.so"} {
			if os.Getenv(name) == "" {
				os.Setenv(name, filepath.Join(repository, "build", library))
			}
		}
		scratch = filepath.Join(dir, "small")
		return m.Run()
	}())
}

// arf runs the program in a folder and returns what it printed.
func arf(dir string, args ...string) (string, error) {
	out, err := command(dir, args...).CombinedOutput()
	return string(out), err
}

func command(dir string, args ...string) *exec.Cmd {
	c := exec.Command(program, args...)
	c.Dir = dir
	return c
}

// pictures lists up to n pictures with captions below a folder of the stamps.
func pictures(t *testing.T, folder string, n int) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(filepath.Join(stamps, folder), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".png") && len(found) < n {
			if _, err := os.Stat(strings.TrimSuffix(path, ".png") + ".txt"); err == nil {
				found = append(found, path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v; install tuxpaint-stamps-default (make setup does for tests)", err)
	}
	if len(found) == 0 {
		t.Fatalf("no captioned pictures in %s", folder)
	}
	return found
}

// caption is the English line of a stamp's text.
func caption(t *testing.T, picture string) string {
	t.Helper()
	data, err := os.ReadFile(strings.TrimSuffix(picture, ".png") + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(line)
}
