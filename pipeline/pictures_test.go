package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/anchor"
	"arf/config"
	"arf/dataset"
	"arf/internal/cliptest"
	"arf/remote"

	"github.com/goccy/go-yaml"
)

// A server that fails is asked for one picture, not for each.
func TestPicturesOfAServerThatFails(t *testing.T) {
	failing := &failing{}
	k := &keyed{Dataset: failing, number: map[string]int{"a": 0, "b": 1}}
	for _, key := range []string{"a", "b", "a"} {
		if _, err := picture(func() (*keyed, error) { return k, nil }, key); !errors.Is(err, remote.ErrUnavailable) {
			t.Errorf("%s: %v", key, err)
		}
	}
	if failing.asked != 1 {
		t.Errorf("it was asked %d times", failing.asked)
	}
}

// The page of a run shows the pictures of a joined pool, whose weights its saved
// config has as []; and says why there are none.
func TestPicturesOfASavedConfig(t *testing.T) {
	dir := t.TempDir()
	train := filepath.Join(dir, "train")
	write(t, filepath.Join(train, "red", "0.png"), cliptest.Picture(t, "red", cliptest.Shapes[0], 1))
	a, b := cliptest.Pairs(t, filepath.Join(dir, "a"), 2, 0), cliptest.Pairs(t, filepath.Join(dir, "b"), 2, 9)
	run := filepath.Join(dir, "run")
	cfg, err := config.Parse("run.yaml", fmt.Appendf(nil, "name: run\nmodel: clip\nmethods: [flyp+ita]\ndata:\n  finetune: {path: %q}\n  pool: {path: %q}\ntrain: {templates: [\"{}\"]}\n", train, a+"::"+b))
	if err != nil {
		t.Fatal(err)
	}
	saved, err := yaml.Marshal(cfg)
	if err != nil || !strings.Contains(string(saved), "weights: []") {
		t.Fatalf("%v\n%s", err, saved)
	}
	write(t, filepath.Join(run, "config.yaml"), saved)
	if err := os.Mkdir(filepath.Join(run, "anchors"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := anchor.WritePairs(filepath.Join(run, "anchors", "pairs.parquet"), []anchor.Pair{
		{QueryKey: "red/0.png", QueryClass: "red", Rank: 1, Row: 3, PairKey: b + "::0001.png", Text: "a pair"},
	}); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	page := func() string {
		t.Helper()
		path, err := Anchors(t.Context(), run, -1)
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if n := strings.Count(page(), "data:image/png"); n != 2 || log.Len() > 0 {
		t.Errorf("%d pictures, want 2; %s", n, log.String())
	}
	if err := os.Remove(a); err != nil {
		t.Fatal(err)
	}
	text := page()
	if n := strings.Count(text, "data:image/png"); n != 1 || !strings.Contains(text, "data.pool can&#39;t be read") || !strings.Contains(text, "pairs.csv") {
		t.Errorf("%d pictures, want the image's own; the page doesn't say why the other isn't there", n)
	}
	if n := strings.Count(log.String(), "data.pool"); n != 1 || !strings.Contains(log.String(), "no such file") {
		t.Errorf("want one warning of data.pool: %s", log.String())
	}
}

type failing struct{ asked int }

func (f *failing) Len() int { return 2 }
func (f *failing) Sample(int) (dataset.Sample, error) {
	f.asked++
	return dataset.Sample{}, remote.ErrUnavailable
}
