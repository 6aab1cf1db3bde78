package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// limited runs the program with files of at most so many bytes (a multiple of
// 512). A write beyond fails as on a full disk, and needs no privilege.
func limited(dir string, bytes int, args ...string) (string, error) {
	c := command(dir, args...)
	c.Path = "/bin/sh"
	c.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -f %d && exec "$0" "$@"`, bytes/512), program}, args...)
	out, err := c.CombinedOutput()
	return string(out), err
}

// Where the disk ends there is a message, nothing half written, and the same
// command finishes when there is space again.
func TestNoSpace(t *testing.T) {
	dir := small(t)
	embed := []string{"embed", "vit", "pool/{00000..00001}.tar", "--shard-size", "8", "--quiet", "--out"}
	mustRun(t, dir, append(embed, "indexed")...)
	arf := func(verb, name string) []string { return smallArgs(verb, name, "methods=[arf]") }
	for _, c := range []struct {
		name  string
		bytes int
		args  []string
		from  bool   // with captions and class-text pairs
		at    string // what is written
		wants []string
		done  string // what there is afterwards
	}{
		{"config", 512, arf("finetune", "config"), true, "runs/config", []string{"config"}, "train/arf/seed-0/.done"},
		{"captions", 8192, arf("caption", "captions"), false, "runs/captions", []string{"captions.jsonl"}, "anchors/captions/.done"},
		{"pairs", 5120, arf("retrieve", "pairs"), true, "runs/pairs", []string{"pairs.parquet"}, "anchors/pairs/.done"},
		{"checkpoint", 100 << 10, arf("finetune", "checkpoint"), true, "runs/checkpoint", []string{"checkpoint", "safetensors"}, "train/arf/seed-0/.done"},
		{"features", 512, append(embed, "features"), false, "features", []string{"img_emb_0.npy"}, "features.json"},
		{"metadata", 2048, append(embed, "metadata"), false, "metadata", []string{"metadata_0.parquet"}, "features.json"},
		{"FAISS", 2048, append(embed, "indexed", "--faiss"), false, "indexed", []string{"image.index"}, "image.index"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.from {
				runAs(t, dir, c.name)
			}
			out, err := limited(dir, c.bytes, c.args...)
			mustFail(t, strings.ToLower(out), err, append(c.wants, "file too large")...)
			nothingHalf(t, filepath.Join(dir, c.at))
			mustRun(t, dir, c.args...)
			nothingHalf(t, filepath.Join(dir, c.at))
			read(t, filepath.Join(dir, c.at, c.done))
		})
	}
}

// nothingHalf looks for files that a failed write left, and for models without
// the stamp of a finished step.
func nothingHalf(t *testing.T, run string) {
	t.Helper()
	temporary := regexp.MustCompile(`\.partial$|\.tmp|^\..*[0-9]{6,}$`)
	err := filepath.WalkDir(run, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if temporary.MatchString(d.Name()) {
			t.Errorf("%s is left", path)
		}
		if d.Name() == "model" && d.IsDir() {
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), ".done")); err != nil {
				t.Errorf("%s has no stamp", path)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A run folder that may not be written to.
func TestReadOnly(t *testing.T) {
	dir := small(t)
	for name, spoil := range map[string]string{"run folder": "runs/sealed", "output": "sealed"} {
		t.Run(name, func(t *testing.T) {
			sealed := filepath.Join(dir, spoil)
			mkdir(t, sealed)
			if err := os.Chmod(sealed, 0o555); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(sealed, 0o755) })
			args := smallArgs("finetune", "sealed", "methods=[flyp]", "output="+filepath.Dir(spoil))
			if name == "output" {
				args = smallArgs("finetune", "new", "methods=[flyp]", "output="+spoil)
			}
			c := command(dir, args...)
			if os.Getuid() == 0 { // permissions don't bind root until it gives that up
				path, err := exec.LookPath("setpriv")
				if err != nil {
					t.Fatalf("%v; it is in Debian's util-linux", err)
				}
				c.Path = path
				c.Args = append([]string{"setpriv", "--inh-caps=-dac_override,-dac_read_search", "--bounding-set=-dac_override,-dac_read_search", program}, args...)
			}
			out, err := c.CombinedOutput()
			mustFail(t, string(out), err, spoil, "permission denied")
		})
	}
}
