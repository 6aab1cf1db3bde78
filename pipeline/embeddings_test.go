package pipeline

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/anchor"
	"arf/clip"
	"arf/dataset"
	"arf/index"
	"arf/internal/cliptest"
	"arf/internal/parquetfile"
	"arf/torch"
)

// A pool of features that are there gives the pairs that one of images gives,
// whether arf embed wrote them or another program, and features that don't fit
// are refused before anything is trained.
func TestPoolOfEmbeddings(t *testing.T) {
	dir := prepare(t)
	tar, features := filepath.Join(dir, "pool.tar"), filepath.Join(dir, "features")
	pool, err := dataset.Open(dataset.Source{Path: tar})
	if err != nil {
		t.Fatal(err)
	}
	embed := func(modelDir, out string) *index.Store {
		t.Helper()
		model, err := clip.Load(modelDir, torch.CPU)
		if err != nil {
			t.Fatal(err)
		}
		s, err := index.Embed(t.Context(), out, pool, anchor.Encoder{Model: model}, index.EmbedOptions{Texts: true, ShardRows: 15})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	embed(filepath.Join(dir, "clip"), features)
	var out bytes.Buffer
	retrieve := func(sets ...string) ([]anchor.Pair, error) {
		t.Helper()
		out.Reset()
		cfg := load(t, dir, append([]string{"methods=[flyp+ita]"}, sets...)...)
		if err := Run(context.Background(), cfg, Pairs, Options{Out: &out}); err != nil {
			return nil, err
		}
		return anchor.ReadPairs(filepath.Join(Dir(cfg), "anchors", "pairs.parquet"))
	}
	want, err := retrieve()
	if err != nil {
		t.Fatal(err)
	}
	same := func(name string, got []anchor.Pair, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range got {
			if i >= len(want) || got[i].PairKey != want[i].PairKey || got[i].Row != want[i].Row || got[i].Text != want[i].Text {
				t.Fatalf("%s: pair %d is %+v, want %+v", name, i, got[i], want[i])
			}
		}
		if len(got) != len(want) || len(got) == 0 {
			t.Errorf("%s: %d pairs, want %d", name, len(got), len(want))
		}
	}
	ready := []string{"data.pool.path=" + features, "data.pool.root=" + tar}
	before, _ := filepath.Glob(filepath.Join(dir, "runs/features/*"))
	got, err := retrieve(append(ready, "name=ready")...)
	same("of arf embed", got, err)
	if after, _ := filepath.Glob(filepath.Join(dir, "runs/features/*")); len(after) != len(before) {
		t.Errorf("features were computed: %v", after)
	}
	got, err = retrieve(append(ready, "name=faiss", "anchors.pairs.index=faiss")...)
	same("through FAISS", got, err)
	for _, want := range []string{"pairs: ", "name the class", "left out of the pool: ", "faiss: ", "built in ", "recall@", "searched in ", "of memory at most"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("a search through FAISS doesn't say %q: %s", want, &out)
		}
	}

	// What another program writes has fewer columns and no features.json.
	if err := os.Remove(filepath.Join(features, "features.json")); err != nil {
		t.Fatal(err)
	}
	type plain struct {
		Path    string `parquet:"image_path"`
		Caption string `parquet:"caption"`
	}
	files, err := filepath.Glob(filepath.Join(features, "metadata", "*.parquet"))
	if err != nil || len(files) != 3 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		rows, err := parquetfile.Read[plain](f)
		if err != nil {
			t.Fatal(err)
		}
		if err := parquetfile.Write(f, rows); err != nil {
			t.Fatal(err)
		}
	}
	got, err = retrieve(append(ready, "name=foreign")...)
	same("of another program", got, err)
	refuses := func(what string, sets ...string) {
		t.Helper()
		if _, err := retrieve(append(append(ready, "name=refused"), sets...)...); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want %q", err, what)
		}
	}
	refuses("near_duplicate_print", "anchors.pairs.leak_guard.near_duplicate_print=0.9")
	refuses("near_duplicate_cosine", "anchors.pairs.leak_guard.near_duplicate_cosine=0")
	refuses("root", "data.pool.root="+filepath.Join(dir, "drift-none.tar"))

	// Of another model.
	other := cliptest.Model(t, 2)
	if err := other.Save(filepath.Join(dir, "other-clip"), torch.Float32, nil); err != nil {
		t.Fatal(err)
	}
	ready[0] = "data.pool.path=" + filepath.Join(dir, "of-other")
	embed(filepath.Join(dir, "other-clip"), filepath.Join(dir, "of-other"))
	refuses("not this model's")
	// It's found before anything is captioned.
	cfg := load(t, dir, append(ready, "name=captions-first", "methods=[arf]")...)
	if err := Run(context.Background(), cfg, Pairs, Options{}); err == nil || !strings.Contains(err.Error(), "not this model's") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(Dir(cfg), "anchors", "captions.jsonl")); !os.IsNotExist(err) {
		t.Errorf("captions were made: %v", err)
	}
}
