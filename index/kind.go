package index

import (
	"fmt"
	"math"
)

// Bounds of autofaiss (Criteo; external/optimize.py, get_optimal_index_keys_v2), but for graphBelow.
const (
	flatBelow     = 1000    // vectors; searching all is faster
	hnsw15Below   = 10_000  // too few to quantise
	graphBelow    = 200_000 // building one takes 8 ms a vector of 512 numbers on one core, inverted lists 0.2
	leastM        = 8       // links a vector; fewer don't find much
	mostM         = 32
	idBytes       = 8  // of a vector in an inverted list
	pointsCluster = 39 // training vectors a cluster, FAISS's least without a warning
)

// Kind chooses a FAISS index, by its description in FAISS's words, for n
// vectors of dim numbers that may take memory bytes, as autofaiss does: all
// vectors (Flat) if there are few, a graph (HNSW) if it fits, inverted lists
// (IVF), and quantised ones (OPQ, PQ) where the vectors themselves don't fit.
// autofaiss takes a graph for any number that fits, and no plain lists above a
// million: it builds indexes that serve for long, a run builds its own. To
// quantised ones "np" is added, which leaves out a training (polysemous codes, minutes)
// that neither autofaiss's searches nor ours make use of.
func Kind(n, dim int, memory int64) string {
	switch {
	case n < flatBelow:
		return "Flat"
	case n < hnsw15Below:
		return "HNSW15"
	}
	// A graph takes 4·(dim + 2·M) bytes a vector.
	if m := int(math.Floor((float64(memory)/(4*float64(n)) - float64(dim)) / 2)); m >= leastM && n < graphBelow {
		return fmt.Sprintf("HNSW%d", min(m, mostM))
	}
	lists := fourRoots(n)
	if bytes := int64(n)*int64(4*dim+idBytes) + int64(lists)*int64(4*dim); bytes <= memory {
		return fmt.Sprintf("IVF%d,Flat", lists)
	}
	lists = clusters(n)
	// The least compression that fits.
	quantizer := fmt.Sprintf("IVF%d", lists)
	if lists >= 1000 {
		quantizer += "_HNSW32"
	}
	kind := ""
	for _, pq := range []int{256, 128, 64, 48, 32, 24, 16, 8, 4} {
		if pq >= dim {
			continue
		}
		// A rotation to a multiple of pq that loses nothing of short vectors.
		y := (min(dim/pq, 6) + 1) * pq
		kind = fmt.Sprintf("OPQ%d_%d,%s,PQ%dx8np", pq, y, quantizer, pq)
		if int64(n)*int64(pq+idBytes) <= memory {
			break
		}
	}
	if kind == "" { // up to 4 numbers a vector
		return fmt.Sprintf("IVF%d,Flat", lists)
	}
	return kind
}

// clusters is the number of quantised inverted lists for n vectors.
func clusters(n int) int {
	switch {
	case n < 1_000_000:
		return fourRoots(n)
	case n < 10_000_000:
		return 1 << 14
	case n < 300_000_000:
		return 1 << 16
	}
	return 1 << 17
}

// fourRoots is 4·√n, rounded to a power of two.
func fourRoots(n int) int { return 1 << int(math.Round(math.Log2(4*math.Sqrt(float64(n))))) }
