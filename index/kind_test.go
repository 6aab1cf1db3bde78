package index

import "testing"

// The kinds that autofaiss's get_optimal_index_keys_v2 gives first for the same
// numbers (2.18), where it doesn't map indexes to memory, but for those marked;
// see Kind for these and for "np".
func TestKind(t *testing.T) {
	const gb = 1_000_000_000
	for _, c := range []struct {
		n, dim int
		memory int64
		want   string
	}{
		{999, 512, gb, "Flat"},
		{9_999, 512, gb, "HNSW15"},
		{50_000, 512, gb, "HNSW32"},
		{199_999, 512, gb, "HNSW32"},
		{199_999, 512, 430_000_000, "HNSW12"},
		{200_000, 512, gb, "IVF2048,Flat"},        // autofaiss: HNSW32
		{999_999, 512, 16 * gb, "IVF4096,Flat"},   // HNSW32
		{1_000_000, 512, 16 * gb, "IVF4096,Flat"}, // HNSW32
		{999_999, 512, gb, "OPQ256_768,IVF4096_HNSW32,PQ256x8np"},
		{1_000_000, 512, gb, "OPQ256_768,IVF16384_HNSW32,PQ256x8np"},
		{3_000_000, 512, 16 * gb, "IVF8192,Flat"},       // HNSW32
		{3_000_000, 512, 6_500_000_000, "IVF8192,Flat"}, // HNSW14
		{100_000, 512, 208_000_000, "IVF1024,Flat"},
		{3_000_000, 512, 6_000_000_000, "OPQ256_768,IVF16384_HNSW32,PQ256x8np"},
		{3_000_000, 512, 300_000_000, "OPQ64_448,IVF16384_HNSW32,PQ64x8np"},
		{100_000, 512, 2_000_000, "OPQ8_56,IVF1024_HNSW32,PQ8x8np"},
		{50_000_000, 768, 6 * gb, "OPQ64_448,IVF65536_HNSW32,PQ64x8np"},
	} {
		if got := Kind(c.n, c.dim, c.memory); got != c.want {
			t.Errorf("%d vectors of %d in %d bytes: %s, want %s", c.n, c.dim, c.memory, got, c.want)
		}
	}
}
