package anchor

import (
	"path/filepath"
	"slices"
	"testing"
)

// Random pairs are drawn from all that may be used and from nothing else, the
// same ones each time, and score as the nearest ones do.
func TestRandomPairs(t *testing.T) {
	w := newWorld(t)
	o := open()
	o.Query = Queries["random"]
	pairs, s := w.retrieve(t, o)
	if s.Pairs != 5*s.Queries || s.Short != 0 {
		t.Fatalf("%d pairs for %d images, %d have too few", s.Pairs, s.Queries, s.Short)
	}
	for _, p := range pairs {
		if p.Row == plantedLeak || p.Row == plantedOwn || p.Row == plantedTextless || p.Row == plantedCopy {
			t.Errorf("row %d may not be used", p.Row)
		}
	}
	if s.Distinct < s.Eligible/2 {
		t.Errorf("only %d of %d eligible pairs were drawn in %d draws", s.Distinct, s.Eligible, s.Pairs)
	}
	for key, own := range byQuery(pairs) {
		seen := map[int64]bool{}
		for _, p := range own {
			if seen[p.Row] {
				t.Errorf("%s has row %d twice", key, p.Row)
			}
			seen[p.Row] = true
		}
	}
	again, _ := w.retrieve(t, o)
	if !slices.EqualFunc(pairs, again, func(a, b Pair) bool { return a.QueryKey == b.QueryKey && a.Row == b.Row && a.Score == b.Score }) {
		t.Error("drawn again, they differ")
	}
	want := w.scores(t, Query{Image: 1})
	for i, p := range pairs {
		if got := want[i/5][p.Row]; got-p.Score > 1e-5 || p.Score-got > 1e-5 {
			t.Fatalf("pair of %s and row %d scores %v, want %v", p.QueryKey, p.Row, p.Score, got)
		}
	}
}

// Matched random pairs name the classes that the retrieved ones name, image by
// image.
func TestRandomPairsOfTheSameClasses(t *testing.T) {
	w := newWorld(t)
	retrieved, _ := w.retrieve(t, open())
	in, o := w.input(), open()
	in.Like, o.Query = retrieved, Queries["random"]
	path := filepath.Join(t.TempDir(), "pairs.parquet")
	if _, err := Retrieve(t.Context(), path, in, o); err != nil {
		t.Fatal(err)
	}
	matched, err := ReadPairs(path)
	if err != nil {
		t.Fatal(err)
	}
	class := func(p Pair) string {
		for _, name := range []string{"disc", "bar", "ring"} {
			if mentions(words(p.Text), words(name)) {
				return name
			}
		}
		return ""
	}
	if len(matched) != len(retrieved) {
		t.Fatalf("%d pairs for %d retrieved ones", len(matched), len(retrieved))
	}
	same := 0
	for i := range matched {
		if matched[i].QueryKey != retrieved[i].QueryKey || class(matched[i]) != class(retrieved[i]) {
			t.Errorf("pair %d of %s is of class %q, the retrieved one of %s %q", i, matched[i].QueryKey, class(matched[i]), retrieved[i].QueryKey, class(retrieved[i]))
		}
		if matched[i].Row == retrieved[i].Row {
			same++
		}
	}
	if same > len(matched)/2 {
		t.Errorf("%d of %d are the retrieved ones themselves", same, len(matched))
	}
	o.Query = Query{Image: 1}
	if _, err := Retrieve(t.Context(), path, in, o); err == nil {
		t.Error("Like without a random query is taken")
	}
}
