package dataset

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/imaging"
)

// pairsTable writes a table of n pictures named by prefix.
func pairsTable(t testing.TB, prefix string, n int) string {
	t.Helper()
	files := map[string]string{}
	table := "filepath\ttitle\n"
	for i := range n {
		name := fmt.Sprintf("%s%d.png", prefix, i)
		files[name] = string(picture(t, i, 4))
		table += name + "\t" + name + "\n"
	}
	files["list.csv"] = table
	return filepath.Join(tree(t, files), "list.csv")
}

// epochKeys reads epochs of a shuffled dataset.
func epochKeys(t testing.TB, d Dataset, seed uint64, epochs, start int) [][]string {
	t.Helper()
	l, err := NewLoader(d, Options{BatchSize: 3, Shuffle: true, Seed: seed, Epochs: epochs, StartStep: start, Preprocess: imaging.CLIP(4)})
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]string, epochs)
	for b, err := range l.Batches(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range b.Samples {
			out[b.Epoch] = append(out[b.Epoch], s.Key)
		}
	}
	return out
}

func TestMix(t *testing.T) {
	a, b := pairsTable(t, "a", 4), pairsTable(t, "b", 10)
	d := open(t, Source{Path: a + "::" + b, Weights: []float64{2, 0.3}, RequireText: true})
	if d.Len() != 14 {
		t.Fatalf("%d samples", d.Len())
	}
	if s, err := d.Sample(5); err != nil || s.Key != b+"::b1.png" {
		t.Errorf("%+v, %v", s, err)
	}
	const epochs = 10
	drawn := epochKeys(t, d, 7, epochs, 0)
	counts := map[string]int{}
	for e, keys := range drawn {
		ofA, ofB := 0, map[string]bool{}
		for _, k := range keys {
			_, k, _ = strings.Cut(k, "::") // after the source
			counts[k]++
			if k[0] == 'a' {
				ofA++
			} else {
				ofB[k] = true
			}
		}
		if len(keys) != 11 || ofA != 8 || len(ofB) != 3 {
			t.Errorf("epoch %d: %q", e, keys)
		}
	}
	// Three tenths in ten epochs: each of part b three times.
	for i := range 10 {
		if n := counts[fmt.Sprintf("b%d.png", i)]; n != 3 {
			t.Errorf("b%d.png was drawn %d times: %v", i, n, counts)
		}
	}
	// Going on from a step gives the same epochs, another seed others.
	again := epochKeys(t, d, 7, epochs, 5*4)
	for e := 5; e < epochs; e++ {
		if !slices.Equal(again[e], drawn[e]) {
			t.Errorf("epoch %d: %q, before %q", e, again[e], drawn[e])
		}
	}
	if other := epochKeys(t, d, 8, 1, 0); slices.Equal(other[0], drawn[0]) {
		t.Error("another seed gives the same order")
	}
	// Without shuffling each sample comes once.
	if n := epochOf(d, Options{}); n != 14 {
		t.Errorf("an unshuffled epoch has %d samples", n)
	}
	// Equal parts need no weights.
	for _, none := range [][]float64{nil, {}} { // a saved config has []
		if d := open(t, Source{Path: a + "::" + b, Weights: none}); epochLen(d) != 14 {
			t.Errorf("%d", epochLen(d))
		}
	}
}

func TestMixErrors(t *testing.T) {
	a, b := pairsTable(t, "a", 4), pairsTable(t, "b", 10)
	folder := tree(t, map[string]string{"x/1.png": "", "y/1.png": ""})
	other := tree(t, map[string]string{"x/1.png": "", "z/1.png": ""})
	for name, c := range map[string]struct {
		source Source
		want   []string
	}{
		"one":      {Source{Path: a, Weights: []float64{1}}, []string{"weights", "::"}},
		"count":    {Source{Path: a + "::" + b, Weights: []float64{1}}, []string{"1 weights for 2 sources"}},
		"zero":     {Source{Path: a + "::" + b, Weights: []float64{1, 0}}, []string{"weight 0", "part 1"}},
		"negative": {Source{Path: a + "::" + b, Weights: []float64{-1, 1}}, []string{"weight -1"}},
		"nothing":  {Source{Path: a + "::" + b, Weights: []float64{0.01, 1}}, []string{"weight 0.01", "none of the 4"}},
		"missing":  {Source{Path: a + "::none.csv"}, []string{"none.csv"}},
		"shots":    {Source{Path: a + "::" + b, Weights: []float64{1, 2}, Shots: 1}, []string{"shots", "weights"}},
		"classes":  {Source{Path: folder + "::" + other}, []string{"classes"}},
	} {
		_, err := Open(c.source)
		wantError(t, name, err, c.want...)
	}
}

// Each process has whole batches of the whole, and together they have all.
func TestShard(t *testing.T) {
	for _, n := range []int{0, 1, 7, 24, 25} {
		for parts := 1; parts <= 5; parts++ {
			batch := map[int]int{} // by sample
			for part := range parts {
				numbers, err := Shard(n, 4, part, parts)
				if err != nil {
					t.Fatal(err)
				}
				for i, number := range numbers {
					if _, twice := batch[number]; twice || number/4%parts != part || number%4 != i%4 {
						t.Errorf("%d samples, part %d of %d: %v", n, part, parts, numbers)
					}
					batch[number] = i / 4
				}
			}
			if len(batch) != n {
				t.Errorf("%d parts have %d of %d samples", parts, len(batch), n)
			}
		}
	}
	for _, c := range [][3]int{{0, 0, 1}, {4, -1, 2}, {4, 2, 2}, {4, 0, 0}} {
		if _, err := Shard(9, c[0], c[1], c[2]); err == nil {
			t.Errorf("%v is no error", c)
		}
	}
}

func TestFewShot(t *testing.T) {
	files := map[string]string{}
	for i := range 9 {
		files[fmt.Sprintf("cat/%d.png", i)], files[fmt.Sprintf("dog/%d.png", i)] = "", ""
	}
	files["yak/0.png"] = ""
	root := tree(t, files)
	counts := func(keys []string) [3]int {
		var n [3]int
		for _, k := range keys {
			n[slices.Index([]byte("cdy"), k[0])]++
		}
		return n
	}
	first := keys(t, open(t, Source{Path: root, Shots: 4}))
	if counts(first) != [3]int{4, 4, 1} || !slices.IsSorted(first) {
		t.Errorf("%q", first)
	}
	if again := keys(t, open(t, Source{Path: root, Shots: 4})); !slices.Equal(first, again) {
		t.Errorf("%q, then %q", first, again)
	}
	other := keys(t, open(t, Source{Path: root, Shots: 4, ShotsSeed: 1}))
	if slices.Equal(first, other) || counts(other) != counts(first) {
		t.Errorf("seed 1: %q", other)
	}
	// A class's shots don't depend on the classes beside it.
	if half := keys(t, open(t, Source{Path: root, Shots: 4, Half: HalfBase})); !slices.Equal(half, first[:8]) {
		t.Errorf("%q, want %q", half, first[:8])
	}
	_, err := Open(Source{Path: pairsTable(t, "a", 2), Shots: 1})
	wantError(t, "no classes", err, "shots", "no classes")
	_, err = Open(Source{Path: root, Half: "old"})
	wantError(t, "half", err, `"old"`, "base", "new")
}
