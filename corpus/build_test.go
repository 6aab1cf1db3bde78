package corpus

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// smallSets has every role in it.
var smallSets = []string{
	"bytesize", "codex", "prime", // pretrain
	"geo", "vs", "lineicons", "guidance", "streamline-cyber-color", // pool
	"fa-solid", "fa6-solid", "fa7-solid", "bxs", "vaadin", "fontisto", // finetune
	"zondicons",                                                                            // validation
	"picon", "whh", "el", "uim", "flat-color-icons", "feather", "pixelarticons", "fxemoji", // test
}

func buildSmall(t *testing.T, ctx context.Context, out, cache string, progress func(string, int, int)) (*Manifest, error) {
	t.Helper()
	return Build(ctx, Options{Out: out, PackageDir: packageDir(t), CacheDir: cache, Sets: smallSets, Progress: progress})
}

// tree is the content of every file under dir, as hashes.
func tree(t *testing.T, dir string) map[string][32]byte {
	t.Helper()
	files := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		files[rel] = sha256.Sum256(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func same(t *testing.T, what string, a, b map[string][32]byte) {
	t.Helper()
	if len(a) != len(b) {
		t.Errorf("%s: %d and %d files", what, len(a), len(b))
	}
	for name, sum := range a {
		if b[name] != sum {
			t.Errorf("%s: %s differs", what, name)
		}
	}
}

func TestBuild(t *testing.T) {
	packageDir(t)
	needNode(t)
	dir := t.TempDir()
	out, cache := filepath.Join(dir, "icons"), filepath.Join(dir, "cache")
	m, err := buildSmall(t, t.Context(), out, cache, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := tree(t, out)

	t.Run("complete", func(t *testing.T) { checkCorpus(t, out, m) })

	t.Run("done already", func(t *testing.T) {
		again, err := buildSmall(t, t.Context(), out, cache, func(stage string, _, _ int) {
			t.Errorf("a finished corpus is worked on: %s", stage)
		})
		if err != nil || again.Inputs != m.Inputs {
			t.Errorf("second build: %v", err)
		}
	})

	// Another folder, another cache, stopped twice: the same bytes.
	t.Run("resumed", func(t *testing.T) {
		other := filepath.Join(dir, "resumed")
		for _, stop := range []string{"draw", "write"} {
			ctx, cancel := context.WithCancel(t.Context())
			seen := 0
			_, err := buildSmall(t, ctx, other, "", func(stage string, done, _ int) {
				if stage == stop {
					if seen++; seen == 4 {
						cancel()
					}
				}
			})
			cancel()
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("stopped at %s: error %v", stop, err)
			}
			if _, err := LoadManifest(other); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("stopped at %s, and there's a manifest: %v", stop, err)
			}
		}
		written, err := os.Stat(filepath.Join(other, "pretrain", "00000.tar"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := buildSmall(t, t.Context(), other, "", nil); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(other + ".cache"); !errors.Is(err, os.ErrNotExist) {
			t.Error("the default cache is left behind")
		}
		again, err := os.Stat(filepath.Join(other, "pretrain", "00000.tar"))
		if err != nil || !again.ModTime().Equal(written.ModTime()) {
			t.Errorf("a finished role was written again (%v)", err)
		}
		same(t, "resumed corpus", first, tree(t, other))
	})

	t.Run("torn cache", func(t *testing.T) {
		blobs, _ := filepath.Glob(filepath.Join(cache, "geo-*.png"))
		if len(blobs) != 1 {
			t.Fatalf("cache of geo: %q", blobs)
		}
		if err := os.Truncate(blobs[0], 100); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(out, "pool")); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(filepath.Join(out, "manifest.json")); err != nil {
			t.Fatal(err)
		}
		if _, err := buildSmall(t, t.Context(), out, cache, nil); err != nil {
			t.Fatal(err)
		}
		same(t, "corpus with a mended cache", first, tree(t, out))
	})
}

// checkCorpus compares the manifest with what lies on disk, and the roles with each other.
func checkCorpus(t *testing.T, dir string, m *Manifest) {
	r, err := loadRules()
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := LoadManifest(dir)
	if err != nil || loaded.Inputs != m.Inputs {
		t.Fatalf("LoadManifest: %v", err)
	}
	licences := map[string]string{}
	data, err := os.ReadFile(filepath.Join(dir, "licenses.csv"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		licences[row[0]] = row[3]
	}
	for _, style := range []Style{StyleLine, StyleColor} {
		if part := m.Parts["validation-shift/"+string(style)]; part.Images < minStyle || part.Images != part.Styles[style] {
			t.Errorf("validation shift in %s: %+v", style, part)
		}
	}
	pictures := map[string][][]byte{} // by folder
	sets := map[string]map[string]bool{}
	for folder, part := range m.Parts {
		sets[folder] = map[string]bool{}
		count := 0
		seePicture := func(key, path string, data []byte) {
			count++
			if licences[path] == "" {
				t.Errorf("%s has no licence", path)
			}
			img, err := png.Decode(bytes.NewReader(data))
			if err != nil || img.Bounds().Dx() != Size || img.Bounds().Dy() != Size {
				t.Fatalf("%s: %v", path, err)
			}
			set, _, ok := strings.Cut(key, "--")
			if !ok || r.families[set] == nil {
				t.Errorf("%s: set %q", path, set)
			}
			sets[folder][set] = true
			rgba, ok := img.(*image.RGBA) // how image/png decodes RGB
			if !ok {
				t.Fatalf("%s is a %T", path, img)
			}
			rgb := make([]byte, 0, Size*Size*3)
			for i := 0; i < len(rgba.Pix); i += 4 {
				rgb = append(rgb, rgba.Pix[i:i+3]...)
			}
			pictures[folder] = append(pictures[folder], rgb)
			if folder == "pool" && !r.families[set].ValidationShift {
				pictures["rest of the pool"] = append(pictures["rest of the pool"], rgb)
			}
		}
		if shards, _ := filepath.Glob(filepath.Join(dir, folder, "*.tar")); len(shards) > 0 {
			for _, shard := range shards {
				readShard(t, shard, func(key string, files map[string][]byte) {
					seePicture(key, folder+"/"+filepath.Base(shard)+"/"+key+".png", files["png"])
					var meta pairMeta
					if err := json.Unmarshal(files["json"], &meta); err != nil {
						t.Fatal(err)
					}
					if len(meta.Texts) == 0 || meta.Texts[0] != string(files["txt"]) || meta.Set == "" || meta.License == "" || meta.Style == "" {
						t.Errorf("%s: %+v with text %q", key, meta, files["txt"])
					}
					if (folder == "pretrain-heldout") != (meta.Heldout != "") {
						t.Errorf("%s in %s is held out as %q", key, folder, meta.Heldout)
					}
				})
			}
		} else {
			images, _ := filepath.Glob(filepath.Join(dir, folder, "*", "*.png"))
			for _, name := range images {
				data, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				rel, _ := filepath.Rel(dir, name)
				seePicture(strings.TrimSuffix(filepath.Base(name), ".png"), filepath.ToSlash(rel), data)
			}
		}
		if count != part.Images || count == 0 || part.SHA256 == "" {
			t.Errorf("%s: %d images, the manifest says %+v", folder, count, part)
		}
	}
	finetune, zeroShot, err := ClassNames(dir)
	if err != nil || len(finetune) < 10 || len(zeroShot) < 10 {
		t.Fatalf("%d and %d classes: %v", len(finetune), len(zeroShot), err)
	}
	for _, folder := range []string{"finetune", "id"} {
		for _, class := range finetune {
			if images, _ := filepath.Glob(filepath.Join(dir, folder, class, "*.png")); len(images) < 2 {
				t.Errorf("%s/%s has %d images", folder, class, len(images))
			}
		}
	}
	for _, class := range zeroShot {
		if _, err := os.Stat(filepath.Join(dir, "finetune", class)); err == nil {
			t.Errorf("zero-shot class %s is a finetune class", class)
		}
	}

	// Disjoint by family, and no test or finetuning picture near one of the corpora.
	group := func(folder string) string {
		switch {
		case folder == "pretrain" || folder == "pretrain-heldout":
			return "pretrain"
		case strings.HasPrefix(folder, "validation-shift/"):
			return "pool"
		case folder == "pool" || folder == "finetune" || folder == "validation":
			return folder
		}
		return "test"
	}
	owner := map[string]string{}
	for folder, in := range sets {
		for set := range in {
			family := r.families[set].Name
			if strings.HasPrefix(folder, "validation-shift/") && !r.families[set].ValidationShift {
				t.Errorf("%s: set %s isn't one for it", folder, set)
			}
			if other, ok := owner[family]; ok && other != group(folder) {
				t.Errorf("family %s is in %s and in %s", family, other, folder)
			}
			owner[family] = group(folder)
		}
	}
	prints := func(folder string) []*icon {
		var icons []*icon
		for _, rgb := range pictures[folder] {
			icons = append(icons, printed(rgb))
		}
		return icons
	}
	pairs := append(prints("pretrain"), prints("pool")...)
	own := append(prints("finetune"), prints("validation")...)
	var tests []*icon
	for folder := range m.Parts {
		if group(folder) == "test" {
			tests = append(tests, prints(folder)...)
		}
	}
	for folder := range m.Parts {
		others, what := pairs, "the corpora"
		if strings.HasPrefix(folder, "validation-shift/") {
			others, what = slices.Concat(prints("pretrain"), prints("rest of the pool"), own, tests), "the other pairs, the finetuning images or the tests"
		} else if group(folder) == "test" {
			others, what = append(slices.Clip(pairs), own...), "the corpora or the finetuning images"
		} else if group(folder) != "finetune" && group(folder) != "validation" {
			continue
		}
		alike, err := nearDuplicates(t.Context(), prints(folder), others, nearAlike, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, is := range alike {
			if is {
				t.Errorf("picture %d of %s looks like one of %s", i, folder, what)
			}
		}
	}
}

func readShard(t *testing.T, name string, each func(key string, files map[string][]byte)) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := tar.NewReader(f)
	var key string
	files := map[string][]byte{}
	for {
		h, err := r.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		k, ext := "", ""
		if err == nil {
			k, ext, _ = strings.Cut(h.Name, ".")
			if !h.ModTime.IsZero() && h.ModTime.Unix() != 0 {
				t.Errorf("%s has the time %v", h.Name, h.ModTime)
			}
		}
		if k != key {
			if len(files) > 0 {
				each(key, files)
			}
			key, files = k, map[string][]byte{}
		}
		if err != nil {
			return
		}
		if files[ext], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	if _, err := Build(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "Options.Out") {
		t.Errorf("no folder: %v", err)
	}
	empty := t.TempDir()
	if _, err := Build(t.Context(), Options{Out: empty, PackageDir: empty}); !errors.Is(err, ErrNoPackage) {
		t.Errorf("no package: %v", err)
	}
	if err := os.WriteFile(filepath.Join(empty, "package.json"), []byte(`{"name":"@iconify/json","version":"1.0.0"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(t.Context(), Options{Out: empty, PackageDir: empty}); err == nil || !strings.Contains(err.Error(), "npm ci") {
		t.Errorf("another version: %v", err)
	}
	t.Setenv("ARF_ICONIFY", filepath.Join(empty, "missing"))
	if _, err := FindPackage(); !errors.Is(err, ErrNoPackage) {
		t.Errorf("wrong ARF_ICONIFY: %v", err)
	}
	if _, err := LoadManifest(empty); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "arf data icons") {
		t.Errorf("no corpus: %v", err)
	}
	if _, _, err := ClassNames(empty); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no classes: %v", err)
	}
	if err := os.WriteFile(filepath.Join(empty, "manifest.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadManifest(empty); err == nil || !strings.Contains(err.Error(), "manifest.json") {
		t.Errorf("torn manifest: %v", err)
	}
}
