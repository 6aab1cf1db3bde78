package anchor

import "testing"

// Of four equal pictures, each with a better text than the one before, all are
// said to repeat the one that stays, and so it is where that went for another.
func TestKeptIsInThePool(t *testing.T) {
	r := &retrieval{pool: pool{dropped: make([]string, 5), duplicates: map[int]duplicate{}, clip: []float32{0.1, 0.2, 0.05, 0.3, 0.9}}}
	same, other := pixelHash{1}, pixelHash{2}
	r.pool.pixels = []pixelHash{same, same, same, same, other}
	r.pool.samePixels()
	check := func(kept int, similarity float64) {
		t.Helper()
		for _, d := range r.droppedExamples() {
			if d.row != 3 && (d.kept != kept || d.similarity != similarity) {
				t.Errorf("%d repeats %d with %v, want %d", d.row, d.kept, d.similarity, kept)
			}
		}
	}
	check(3, 1)
	r.pool.duplicate(3, duplicate{of: 4, cosine: 0.99}, DuplicateCosine)
	check(4, 0.99)
}
