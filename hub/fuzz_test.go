package hub

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/checkpoint"
)

// FuzzNames: neither an id nor the hub's list of files leads out of the cache.
func FuzzNames(f *testing.F) {
	f.Add("openai/clip-vit-base-patch16@main", "config.json\nmodel.safetensors\nREADME.md")
	f.Add("hf-hub:../a@../../b", "../config.json\nopen_clip_config.json\nopen_clip_model.safetensors.index.json")
	f.Fuzz(func(t *testing.T, ref, list string) {
		if r, ok := parse(ref); ok {
			c := &client{cache: "cache"}
			for _, path := range []string{c.repoDir(r), filepath.Join(c.repoDir(r), "refs", r.revision)} {
				if rel, err := filepath.Rel("cache", path); err != nil || !filepath.IsLocal(rel) || rel == "." {
					t.Errorf("%q lies in %s", ref, path)
				}
			}
		}
		names := strings.Split(list, "\n")
		files, err := choose(names)
		if err != nil {
			return
		}
		for _, name := range files {
			if !slices.Contains(names, name) || filepath.Base(name) != name {
				t.Errorf("%q of %q", name, names)
			}
		}
		if !slices.ContainsFunc(files, func(name string) bool {
			return slices.Contains(checkpoint.HuggingFaceNames, name) || slices.Contains(checkpoint.OpenCLIPNames, name) || slices.Contains(checkpoint.OpenCLIPOwnNames, name)
		}) {
			t.Errorf("no weights among %q", files)
		}
	})
}
