package hub

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// weights are long enough to be sent in pieces.
var weights = strings.Repeat("0123456789abcdef", 1<<14)

func hfFiles() map[string]string {
	return map[string]string{
		"config.json": "{}", "preprocessor_config.json": "[]", "tokenizer.json": "tokens", "vocab.json": "v", "merges.txt": "m",
		"model.safetensors": weights, "pytorch_model.bin": "pickle", "tf_model.h5": "tf", "README.md": "# Model", "zeroshot.json": "{}", "onnx/model.onnx": "onnx",
		".gitattributes": "x",
	}
}

func TestResolveFetches(t *testing.T) {
	f := newFakeHub(t, hfFiles())
	dir, err := f.resolve("org/model", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(os.Getenv("HF_HOME"), "hub", "models--org--model", "snapshots", f.commit); dir != want {
		t.Errorf("got %s, want %s", dir, want)
	}
	got := readTree(t, dir)
	want := []string{"README.md", "config.json", "merges.txt", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "vocab.json", "zeroshot.json"}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("files %v, want %v", names, want)
	}
	for name, content := range got {
		if content != f.files[name] {
			t.Errorf("%s is another file", name)
		}
	}
	// As Python lays it out: relative links to blobs named by their ETags.
	link, err := os.Readlink(filepath.Join(dir, "model.safetensors"))
	if err != nil || !strings.HasPrefix(link, "../../blobs/") || !isSHA256.MatchString(filepath.Base(link)) {
		t.Errorf("link %s, %v", link, err)
	}
	ref, err := os.ReadFile(filepath.Join(dir, "..", "..", "refs", "main"))
	if err != nil || string(ref) != f.commit {
		t.Errorf("refs/main %q, %v", ref, err)
	}

	// Again: only what main is at is asked for; by commit or offline, nothing.
	f.requests = nil
	for _, again := range []string{"hf-hub:org/model", "org/model@" + f.commit} {
		if second, err := f.resolve(again, Options{}); err != nil || second != dir {
			t.Errorf("%s: %s, %v", again, second, err)
		}
	}
	if len(f.requests) != 1 {
		t.Errorf("%d requests: %v", len(f.requests), f.requests)
	}
	f.hub.Close()
	if second, err := f.resolve("org/model", Options{Offline: true}); err != nil || second != dir {
		t.Errorf("offline: %s, %v", second, err)
	}
	t.Setenv("HF_HUB_OFFLINE", "1")
	if second, err := f.resolve("org/model", Options{}); err != nil || second != dir {
		t.Errorf("offline: %s, %v", second, err)
	}
	t.Setenv("HF_HUB_OFFLINE", "0")
	if second, err := f.resolve("org/model", Options{}); err != nil || second != dir {
		t.Errorf("hub down: %s, %v", second, err)
	}
}

// What is there on this machine is taken, whatever it looks like.
func TestResolveLocal(t *testing.T) {
	f := newFakeHub(t, hfFiles())
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("org/model", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"org/model", ".", t.TempDir()} {
		if dir, err := f.resolve(path, Options{}); err != nil || dir != path {
			t.Errorf("%s: %s, %v", path, dir, err)
		}
	}
	if f.count("") != 0 {
		t.Error("the hub was asked")
	}
	if dir, err := f.resolve("hf-hub:org/model", Options{}); err != nil || !strings.Contains(dir, "snapshots") {
		t.Errorf("%s, %v", dir, err)
	}
}

func TestResolveChooses(t *testing.T) {
	for name, c := range map[string]struct{ files, want []string }{
		"open_clip before Hugging Face": {
			[]string{"open_clip_config.json", "open_clip_model.safetensors", "config.json", "model.safetensors", "tokenizer.json"},
			[]string{"open_clip_config.json", "open_clip_model.safetensors", "tokenizer.json"},
		},
		"safetensors before pickles": {
			[]string{"open_clip_config.json", "open_clip_pytorch_model.bin", "config.json", "model.safetensors"},
			[]string{"config.json", "model.safetensors"},
		},
		"pickle":                     {[]string{"config.json", "pytorch_model.bin", "flax_model.msgpack"}, []string{"config.json", "pytorch_model.bin"}},
		"open_clip pickle":           {[]string{"open_clip_config.json", "open_clip_pytorch_model.bin"}, []string{"open_clip_config.json", "open_clip_pytorch_model.bin"}},
		"open_clip with other names": {[]string{"open_clip_config.json", "pytorch_model.bin"}, []string{"open_clip_config.json", "pytorch_model.bin"}},
		"sentencepiece":              {[]string{"config.json", "model.safetensors", "spiece.model"}, []string{"config.json", "model.safetensors", "spiece.model"}},
		"weights only":               {[]string{"model.safetensors"}, nil},
		"config only":                {[]string{"config.json", "open_clip_config.json"}, nil},
		"nothing":                    {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := choose(c.files)
			slices.Sort(got)
			if !slices.Equal(got, c.want) || (err != nil) != (c.want == nil) {
				t.Errorf("got %v, %v, want %v", got, err, c.want)
			}
		})
	}
}

func TestResolveShards(t *testing.T) {
	f := newFakeHub(t, map[string]string{
		"config.json": "{}", "a.safetensors": "a", "b.safetensors": "b", "c.safetensors": "not of the model",
		"model.safetensors.index.json": `{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}`,
	})
	dir, err := f.resolve("org/model", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(readTree(t, dir))); !slices.Equal(got, []string{"a.safetensors", "b.safetensors", "config.json", "model.safetensors.index.json"}) {
		t.Errorf("got %v", got)
	}
	if err := os.Remove(filepath.Join(dir, "b.safetensors")); err != nil {
		t.Fatal(err)
	}
	if _, err := f.resolve("org/model", Options{Offline: true}); err == nil || !strings.Contains(err.Error(), "in part only") {
		t.Errorf("offline without a shard: %v", err)
	}
	delete(f.files, "b.safetensors")
	if _, err := f.resolve("org/model", Options{}); err == nil || !strings.Contains(err.Error(), "shard b.safetensors is not in the repository") {
		t.Errorf("got %v", err)
	}
	f.files["model.safetensors.index.json"] = `{"weight_map": {"x": "../../../a.safetensors"}}`
	f.commit = strings.Repeat("d", 40)
	if _, err := f.resolve("org/model", Options{}); err == nil || !strings.Contains(err.Error(), "in the folder of the index") {
		t.Errorf("got %v", err)
	}
}

// A download that breaks off goes on, within a call and after a crash.
func TestResolveResumes(t *testing.T) {
	f := newFakeHub(t, hfFiles())
	f.broken["/blob/model.safetensors"] = 3
	var seen []int64
	dir, err := f.resolve("org/model", Options{Progress: func(file string, done, total int64) {
		if file == "model.safetensors" {
			seen = append(seen, done)
			if total != int64(len(weights)) {
				t.Errorf("total %d", total)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if readTree(t, dir)["model.safetensors"] != weights {
		t.Error("other bytes")
	}
	if n := f.count("GET /blob/model.safetensors bytes="); n != 3 {
		t.Errorf("%d requests went on: %v", n, f.requests)
	}
	if !slices.IsSorted(seen) || seen[len(seen)-1] != int64(len(weights)) {
		t.Errorf("progress %v", seen)
	}

	// Ctrl-C in the midst of it.
	blob, err := filepath.EvalSymlinks(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{blob, filepath.Join(dir, "model.safetensors")} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = resolve(ctx, "org/model", Options{Progress: func(file string, done, total int64) {
		if done > total/2 && file == "model.safetensors" {
			cancel()
		}
	}}, time.Millisecond)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	info, err := os.Stat(blob + ".incomplete")
	if err != nil || info.Size() == 0 || info.Size() == int64(len(weights)) {
		t.Fatalf("left %v, %v", info, err)
	}
	f.requests = nil
	if _, err := f.resolve("org/model", Options{}); err != nil {
		t.Fatal(err)
	}
	if readTree(t, dir)["model.safetensors"] != weights || f.count("bytes=") == 0 {
		t.Errorf("not gone on with: %v", f.requests)
	}

	// What an earlier program left can be wrong.
	for _, path := range []string{blob, filepath.Join(dir, "model.safetensors")} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for _, left := range []string{"other bytes", weights[:len(weights)-1] + "x", weights + "more"} {
		if err := os.WriteFile(blob+".incomplete", []byte(left), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := f.resolve("org/model", Options{}); err != nil {
			t.Fatal(err)
		}
		if readTree(t, dir)["model.safetensors"] != weights {
			t.Error("other bytes")
		}
		for _, path := range []string{blob, filepath.Join(dir, "model.safetensors")} {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Of several at once, one fetches.
func TestResolveTogether(t *testing.T) {
	f := newFakeHub(t, hfFiles())
	var all errgroup.Group
	for range 4 {
		all.Go(func() error {
			dir, err := f.resolve("org/model", Options{})
			if err == nil && readTree(t, dir)["model.safetensors"] != weights {
				err = errors.New("other bytes")
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
	if n := f.count("/blob/model.safetensors"); n != 1 {
		t.Errorf("fetched %d times", n)
	}
}

func TestResolveWithoutRanges(t *testing.T) {
	f := newFakeHub(t, hfFiles())
	f.noRange = true
	f.broken["/blob/model.safetensors"] = 2
	dir, err := f.resolve("org/model", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if readTree(t, dir)["model.safetensors"] != weights {
		t.Error("other bytes")
	}
}

func TestResolveRetries(t *testing.T) {
	f := newFakeHub(t, hfFiles())
	f.failing = 3
	if _, err := f.resolve("org/model", Options{}); err != nil {
		t.Fatal(err)
	}
	f = newFakeHub(t, hfFiles())
	f.failing = 1000
	if _, err := f.resolve("org/model", Options{}); err == nil || !strings.Contains(err.Error(), "the hub can't be reached: it answers 503") {
		t.Errorf("got %v", err)
	}
	if n := f.count(""); n != maxTries {
		t.Errorf("%d tries", n)
	}
	f = newFakeHub(t, hfFiles())
	f.corrupt = 1
	if _, err := f.resolve("org/model", Options{}); err == nil || !strings.Contains(err.Error(), "model.safetensors: what came is not the file") {
		t.Errorf("got %v", err)
	}
	if _, err := f.resolve("org/model", Options{}); err != nil {
		t.Error(err)
	}
}

func TestResolveToken(t *testing.T) {
	for name, set := range map[string]func(t *testing.T) Options{
		"option":      func(*testing.T) Options { return Options{Token: "secret"} },
		"environment": func(t *testing.T) Options { t.Setenv("HF_TOKEN", "secret"); return Options{} },
		"file": func(t *testing.T) Options {
			if err := os.MkdirAll(os.Getenv("HF_HOME"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(os.Getenv("HF_HOME"), "token"), []byte("secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			return Options{}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeHub(t, hfFiles())
			f.token = "secret"
			if _, err := f.resolve("org/model", set(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestResolveSpecial(t *testing.T) {
	f := newFakeHub(t, hfFiles())
	f.branch = "refs/pr/7" // its slashes are escaped
	dir, err := f.resolve("org/model@refs/pr/7", Options{Cache: filepath.Join(t.TempDir(), "cache")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "..", "..", "refs", "refs", "pr", "7")); err != nil {
		t.Error(err)
	}
	// Renamed: the old name's addresses send to the new ones.
	c, err := newClient(Options{}, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := c.metadata(t.Context(), reference{repo: "old/name"}, f.commit, "config.json"); err != nil || m.size != 2 || !isSHA1.MatchString(m.etag) {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := c.metadata(t.Context(), reference{repo: "old/name"}, f.commit, "model.safetensors"); err != nil || m.size != int64(len(weights)) || !isSHA256.MatchString(m.etag) {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestResolveCacheFolders(t *testing.T) {
	home := t.TempDir()
	for _, c := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"},
		{map[string]string{"HF_HOME": "~/b"}, home + "/b/hub"},
		{map[string]string{"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"},
		{nil, home + "/.cache/huggingface/hub"},
	} {
		for _, key := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"} {
			t.Setenv(key, c.env[key])
		}
		t.Setenv("HOME", home)
		client, err := newClient(Options{}, 0)
		if err != nil || client.cache != c.want {
			t.Errorf("%v: %s, %v, want %s", c.env, client.cache, err, c.want)
		}
	}
}

func TestResolveErrors(t *testing.T) {
	f := newFakeHub(t, hfFiles())
	for _, c := range []struct {
		ref   string
		o     Options
		setup func()
		want  string
	}{
		{ref: "no such folder", want: "no such file or folder, and it isn't the id"},
		{ref: "./checkpoints/clip", want: "no such file or folder, and it isn't the id"},
		{ref: "/checkpoints/clip", want: "no such file or folder, and it isn't the id"},
		{ref: "a/b/c", want: "no such file or folder, and it isn't the id"},
		{ref: "clip", want: "no such file or folder, and it isn't the id"},
		{ref: "", want: "no such file or folder, and it isn't the id"},
		{ref: "org/..", want: "it isn't the id"},
		{ref: "org/model@../../x", want: "it isn't the id"},
		{ref: "hf-hub:a b", want: "not the id of a model"},
		{ref: "hf-hub:../x", want: "not the id of a model"},
		{ref: "org/other", want: "no such file or folder here, and from the hub: no model org/other for everyone to read: check its name at " + f.hub.URL + "/org/other, and if it is private or gated, set HF_TOKEN"},
		{ref: "hf-hub:org/other", o: Options{Token: "mine"}, want: "model hf-hub:org/other: no model org/other that your token"},
		{ref: "org/model@v9", want: "has no revision v9"},
		{ref: "org/model", setup: func() { f.gated, f.token = true, "secret" }, want: "accept the licence: do so at " + f.hub.URL + "/org/model"},
		{ref: "org/model", o: Options{Token: "mine"}, want: "the account of your token has no access"},
		{ref: "org/model", setup: func() { f.gated = false }, want: "set HF_TOKEN"},
		{ref: "org/model", o: Options{Offline: true}, want: "org/model@main is not in the cache"},
		{ref: "org/model", o: Options{Endpoint: "hub"}, want: `HF_ENDPOINT "hub" is no address`},
		{ref: "org/model", setup: func() { f.token = ""; delete(f.files, "config.json") }, want: "it has no weights of a CLIP: want open_clip_config.json with"},
		{ref: "org/model", setup: func() { f.commit = "../../x" }, want: "check HF_ENDPOINT"},
		{ref: "org/model", o: Options{Endpoint: "http://127.0.0.1:1"}, want: "the hub can't be reached"},
	} {
		if c.setup != nil {
			c.setup()
		}
		if dir, err := f.resolve(c.ref, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %s, %v, want an error about %q", c.ref, dir, err, c.want)
		}
	}
}

// A hub that sends names can't make files elsewhere.
func TestResolveHostileNames(t *testing.T) {
	if got, err := choose([]string{"../config.json", "/config.json", "sub/model.safetensors", "config.json", "model.safetensors"}); err != nil || !slices.Equal(got, []string{"config.json", "model.safetensors"}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, tag := range []string{"", "..", "../x", "a/b", ".x", strings.Repeat("a", 200)} {
		if etag.MatchString(tag) {
			t.Errorf("ETag %q", tag)
		}
	}
}

// A connection that is silent is given up, and the download goes on by another.
func TestDownloadStalls(t *testing.T) {
	f := newFakeHub(t, hfFiles())
	f.silent = map[string]int{"/blob/model.safetensors": 1}
	c, err := newClient(Options{}, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	c.stall = 50 * time.Millisecond
	dir, err := c.snapshot(t.Context(), reference{repo: "org/model", revision: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if readTree(t, dir)["model.safetensors"] != weights || f.count("/blob/model.safetensors bytes=") != 1 {
		t.Errorf("requests %v", f.requests)
	}
}
