package anchor

import (
	"testing"

	"arf/index"
)

// Of four equal pictures, each with a better text than the one before, all are
// said to repeat the one that stays, and so it is where that went for another.
func TestKeptIsInThePool(t *testing.T) {
	r := &retrieval{pool: pool{dropped: make([]string, 5), duplicates: map[int]duplicate{}, clip: []float32{0.1, 0.2, 0.05, 0.3, 0.9}}}
	for _, key := range []string{"a", "b", "c", "d", "e"} {
		row := index.Row{Key: key, PixelHash: []byte("same")}
		if key == "e" {
			row.PixelHash = []byte("other")
		}
		r.pool.rows = append(r.pool.rows, row)
	}
	r.pool.samePixels()
	check := func(kept string, similarity float64) {
		t.Helper()
		for _, d := range r.droppedExamples() {
			if d.PairKey != "d" && (d.Kept != kept || d.Similarity != similarity) {
				t.Errorf("%s repeats %s with %v, want %s", d.PairKey, d.Kept, d.Similarity, kept)
			}
		}
	}
	check("d", 1)
	r.pool.duplicate(3, duplicate{of: 4, cosine: 0.99}, DuplicateCosine)
	check("e", 0.99)
}
