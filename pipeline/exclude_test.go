package pipeline

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/anchor"
	"arf/internal/cliptest"
)

// What a CSV says of its pairs decides which are left out, and a correction of it
// reaches the pairs.
func TestExcludeByAColumnOfACSV(t *testing.T) {
	dir := prepare(t)
	path := cliptest.Pairs(t, filepath.Join(dir, "pool"), 20, 300)
	table, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(table)), "\n")
	mark := func(nsfw int) {
		marked := []string{lines[0] + ",NSFW,LICENSE,url"}
		for i, line := range lines[1:] {
			value := ",UNLIKELY"
			if i == nsfw {
				value = ",NSFW"
			}
			marked = append(marked, fmt.Sprintf("%s%s,license %d,https://example.org/%d", line, value, i, i))
		}
		write(t, path, []byte(strings.Join(marked, "\n")+"\n"))
	}
	retrieved := func() map[int64]bool {
		cfg := load(t, dir, "methods=[flyp+ita]", "data.pool.path="+path, "anchors.pairs.exclude=[NSFW=NSFW]", "anchors.pairs.k=20",
			"anchors.pairs.leak_guard.near_duplicate_cosine=0")
		if err := Run(context.Background(), cfg, Pairs, Options{}); err != nil {
			t.Fatal(err)
		}
		pairs, err := anchor.ReadPairs(filepath.Join(dir, "runs", "run", "anchors", "pairs.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		rows := map[int64]bool{}
		for _, p := range pairs {
			rows[p.Row] = true
			if p.License != fmt.Sprintf("license %d", p.Row) || p.URL != fmt.Sprintf("https://example.org/%d", p.Row) {
				t.Errorf("row %d is said to be under %q, from %q", p.Row, p.License, p.URL)
			}
		}
		return rows
	}
	for _, nsfw := range []int{3, 7} {
		mark(nsfw)
		if rows := retrieved(); len(rows) != 19 || rows[int64(nsfw)] {
			t.Errorf("with pair %d left out: %v", nsfw, rows)
		}
	}
}
