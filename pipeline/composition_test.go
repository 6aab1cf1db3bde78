package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/anchor"
	"arf/internal/cliptest"
)

func TestComparePairs(t *testing.T) {
	dir := t.TempDir()
	pool := cliptest.Pairs(t, filepath.Join(dir, "pool"), 4, 0)
	table, err := os.ReadFile(pool)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(table)), "\n")
	for i, style := range []string{"style", "photo", "photo", "photo", "sketch"} {
		lines[i] += "," + style
	}
	write(t, pool, []byte(strings.Join(lines, "\n")+"\n"))
	run := filepath.Join(dir, "run [1]") // no glob
	write(t, filepath.Join(run, "config.yaml"), fmt.Appendf(nil, "name: run\nmodel: clip\nmethods: [flyp+ita]\ndata:\n  finetune: {path: train}\n  pool: {path: %q}\ntrain: {templates: [\"{}\"]}\n", pool))
	if err := os.Mkdir(filepath.Join(run, "anchors"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := ComparePairs(t.Context(), "", run); err == nil || !strings.Contains(err.Error(), "arf retrieve") {
		t.Errorf("without pairs: %v", err)
	}
	if err := anchor.WritePairs(filepath.Join(run, "anchors", "pairs.parquet"), []anchor.Pair{
		{QueryKey: "a", QueryClass: "dog", Rank: 1, Row: 3, PairKey: "0003.png", Text: "Two dogs"},
		{QueryKey: "a", QueryClass: "dog", Rank: 2, Row: 0, PairKey: "0000.png", Text: "a cat"},
		{QueryKey: "b", QueryClass: "cat", Rank: 1, Row: 3, PairKey: "0003.png", Text: "two dogs"},
		{QueryKey: "b", QueryClass: "cat", Rank: 2, Row: 3, PairKey: "0003.png", Text: "two dogs"},
	}); err != nil {
		t.Fatal(err)
	}
	got, err := ComparePairs(t.Context(), "style", run)
	want := fmt.Sprintf(`| pairs of | pairs | different | different texts | name the class | photo | sketch |
|---|---|---|---|---|---|---|
| pool %s | | 4 | | | 75.0%% | 25.0%% |
| %s pairs | 4 | 2 | 2 | 25%% | 25.0%% | 75.0%% |
`, pool, run)
	if err != nil || got != want {
		t.Errorf("got %v\n%swant\n%s", err, got, want)
	}
	if _, err := ComparePairs(t.Context(), "colour", run); err == nil || !strings.Contains(err.Error(), "style") {
		t.Errorf("unknown property: %v", err)
	}
	// Another order of the pool: the pairs' rows are other pictures.
	lines[1], lines[4] = lines[4], lines[1]
	write(t, pool, []byte(strings.Join(lines, "\n")+"\n"))
	if _, err := ComparePairs(t.Context(), "style", run); err == nil || !strings.Contains(err.Error(), "run arf retrieve again") {
		t.Errorf("a changed pool: %v", err)
	}
	if _, err := ComparePairs(t.Context(), "", dir); err == nil || !strings.Contains(err.Error(), "no run folder") {
		t.Errorf("no run folder: %v", err)
	}
}
