package captioner

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestNucleusOnAHandWorkedDistribution(t *testing.T) {
	// In falling order: 2 (0.5), 0 (0.3), 3 (0.15), 1 (0.05).
	p := []float32{0.3, 0.05, 0.5, 0.15}
	for _, c := range []struct {
		topP, u float64
		want    int32
	}{
		{0.8, 0, 2}, {0.8, 0.62, 2}, {0.8, 0.63, 0}, {0.8, 0.999999, 0}, // {2, 0}: 0.625 and 0.375
		{0.81, 0.52, 2}, {0.81, 0.53, 0}, {0.81, 0.84, 0}, {0.81, 0.85, 3}, {0.81, 0.999999, 3}, // a third is needed
		{0.5, 0.999999, 2}, {0.01, 0.999999, 2}, {0.51, 0.999999, 0},
		{1, 0.29, 0}, {1, 0.31, 1}, {1, 0.36, 2}, {1, 0.84, 2}, {1, 0.86, 3}, {1, 0.999999, 3}, // all, by id
	} {
		var s sampler
		if got := s.nucleus(p, c.topP, c.u); got != c.want {
			t.Errorf("top_p %g, u %g: token %d, want %d", c.topP, c.u, got, c.want)
		}
		// Scores may be unnormalised.
		double := []float32{0.6, 0.1, 1, 0.3}
		if got := s.nucleus(double, c.topP, c.u); got != c.want {
			t.Errorf("doubled, top_p %g, u %g: token %d, want %d", c.topP, c.u, got, c.want)
		}
	}
}

func TestNucleusOfEqualAndOfImpossibleTokens(t *testing.T) {
	var s sampler
	equal := []float32{0.25, 0.25, 0.25, 0.25}
	for _, c := range []struct {
		topP, u float64
		want    int32
	}{{0.01, 0.9, 0}, {0.25, 0.9, 0}, {0.3, 0.9, 1}, {0.75, 0.9, 2}, {1, 0.9, 3}} {
		if got := s.nucleus(equal, c.topP, c.u); got != c.want {
			t.Errorf("equal tokens, top_p %g: %d, want %d", c.topP, got, c.want)
		}
	}
	for _, topP := range []float64{0.3, 0.999, 1} {
		if got := s.nucleus([]float32{0, 0, 1, 0}, topP, 0.7); got != 2 {
			t.Errorf("top_p %g draws the impossible token %d", topP, got)
		}
	}
}

// The shortcut that leaves most tokens unsorted against sorting all of them,
// and the frequencies against the probabilities.
func TestNucleusFollowsTheDistribution(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	p := make([]float32, 1000)
	total := 0.0
	for i := range p {
		p[i] = float32(math.Exp(3 * rng.NormFloat64()))
		total += float64(p[i])
	}
	var s sampler
	for _, topP := range []float64{0.05, 0.5, 0.9, 0.99, 0.9999} {
		s.nucleus(p, topP, 0)
		inside, smallest := 0.0, float32(math.Inf(1))
		for _, l := range s.likely {
			inside += float64(l.p) / total
			smallest = min(smallest, l.p)
		}
		if inside < topP-1e-6 || inside-float64(smallest)/total >= topP {
			t.Errorf("top_p %g: %g inside, the least has %g", topP, inside, float64(smallest)/total)
		}
		for _, v := range p {
			if v > smallest {
				inside -= float64(v) / total
			}
		}
		if math.Abs(inside-float64(smallest)/total) > 1e-6 {
			t.Errorf("top_p %g: a token outside is likelier than one inside", topP)
		}
	}
	const draws = 20_000
	counts := map[int32]int{}
	for range draws {
		counts[s.nucleus(p[:8], 1, rng.Float64())]++
	}
	sum := 0.0
	for _, v := range p[:8] {
		sum += float64(v)
	}
	for i, v := range p[:8] {
		want := float64(v) / sum
		if got := float64(counts[int32(i)]) / draws; math.Abs(got-want) > 5*math.Sqrt(want/draws)+1e-3 {
			t.Errorf("token %d drawn in %g, its probability is %g", i, got, want)
		}
	}
}

func TestNoiseDependsOnAllItsArguments(t *testing.T) {
	seen := map[float64]bool{}
	for _, seed := range []int64{0, 1} {
		for _, key := range []string{"a", "b", ""} {
			for sample := range 3 {
				a, b := noise(seed, key, sample).Float64(), noise(seed, key, sample).Float64()
				if a != b || seen[a] {
					t.Errorf("seed %d, key %q, sample %d: %g then %g", seed, key, sample, a, b)
				}
				seen[a] = true
			}
		}
	}
}

func BenchmarkNucleus(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	p := make([]float32, 10_000)
	for i := range p {
		p[i] = float32(math.Exp(3 * rng.NormFloat64()))
	}
	var s sampler
	b.ReportAllocs()
	for b.Loop() {
		s.nucleus(p, 0.9, rng.Float64())
	}
}
