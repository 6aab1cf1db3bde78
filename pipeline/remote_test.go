package pipeline

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"arf/anchor"
)

// A pool on a server gives the pairs that it gives from disk, is fetched once,
// and a run that the server's failure ended goes on when it is back.
func TestPoolOnAServer(t *testing.T) {
	dir := prepare(t)
	t.Setenv("ARF_CACHE", t.TempDir())
	pairs := func(sets ...string) ([]anchor.Pair, error) {
		t.Helper()
		cfg := load(t, dir, append([]string{"methods=[flyp+ita]"}, sets...)...)
		if err := cfg.CheckFiles(); err != nil {
			t.Fatal(err)
		}
		if err := Run(context.Background(), cfg, Pairs, Options{}); err != nil {
			return nil, err
		}
		return anchor.ReadPairs(filepath.Join(Dir(cfg), "anchors", "pairs.parquet"))
	}
	want, err := pairs()
	if err != nil {
		t.Fatal(err)
	}
	var gone atomic.Bool
	var calls atomic.Int32
	files := http.FileServer(http.Dir(dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if gone.Load() {
			http.Error(w, "closed", http.StatusGone) // for good, which isn't tried again
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	remote := []string{"name=remote", "data.pool.path=" + server.URL + "/pool.tar?signature=secret"}
	gone.Store(true)
	if _, err := pairs(remote...); err == nil || !strings.Contains(err.Error(), "data.pool") || !strings.Contains(err.Error(), "410") || strings.Contains(err.Error(), "secret") {
		t.Errorf("a server that refuses: %v", err)
	}
	gone.Store(false)
	got, err := pairs(remote...)
	if err != nil || len(got) == 0 || !slices.EqualFunc(got, want, func(a, b anchor.Pair) bool {
		return a.QueryKey == b.QueryKey && a.PairKey == b.PairKey && a.Score == b.Score && a.Text == b.Text
	}) {
		t.Errorf("%d pairs, want %d: %v", len(got), len(want), err)
	}
	if info, err := os.ReadFile(filepath.Join(dir, "runs", "remote", "run.json")); err != nil || !strings.Contains(string(info), "/pool.tar") || strings.Contains(string(info), "secret") {
		t.Errorf("run.json is shown and passed on: %v\n%s", err, info)
	}
	calls.Store(0)
	if _, err := pairs(remote...); err != nil || calls.Load() != 1 {
		t.Errorf("done again: %d calls, %v", calls.Load(), err)
	}
}
