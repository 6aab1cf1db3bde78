package captioner

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
)

// noise is the random stream of one caption. It depends on nothing but its
// arguments, so that a caption doesn't change with the batch that it's made in.
func noise(seed int64, key string, sample int) *rand.Rand {
	sum := sha256.Sum256(fmt.Appendf(nil, "caption %d %d %s", seed, sample, key))
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])))
}

// sampler has the memory of nucleus; it's for one goroutine.
type sampler struct {
	likely []likely
}

type likely struct {
	id int32
	p  float32
}

// nucleus draws a token by its probability (p needs no sum of 1) among the
// fewest tokens that have topP of it together (Holtzman et al. 2020); u is
// uniform in [0, 1).
func (s *sampler) nucleus(p []float32, topP, u float64) int32 {
	total, greatest := 0.0, float32(0)
	for _, v := range p {
		total += float64(v)
		greatest = max(greatest, v)
	}
	s.likely = s.likely[:0]
	if topP >= 1 {
		for id, v := range p {
			if v > 0 {
				s.likely = append(s.likely, likely{int32(id), v})
			}
		}
		return s.pick(total, u)
	}
	// Only the likeliest of n tokens can be inside with less than
	// (1−topP)/(n−1): before another one, less than topP is inside, so it and
	// the at most n−2 below it have more than 1−topP. So few are sorted.
	least := min(float32((1-topP)/float64(max(len(p)-1, 1))*total*(1-1e-5)), greatest)
	for id, v := range p {
		if v > 0 && v >= least {
			s.likely = append(s.likely, likely{int32(id), v})
		}
	}
	slices.SortFunc(s.likely, func(a, b likely) int { return cmp.Or(cmp.Compare(b.p, a.p), cmp.Compare(a.id, b.id)) })
	sum := 0.0
	for i, l := range s.likely { // to the precision of float32
		if sum += float64(l.p); sum >= topP*total*(1-1e-6) {
			s.likely = s.likely[:i+1]
			break
		}
	}
	return s.pick(sum, u)
}

// pick inverts the distribution function of s.likely, whose probabilities add up to total.
func (s *sampler) pick(total, u float64) int32 {
	rest := u * total
	for _, l := range s.likely {
		if rest -= float64(l.p); rest < 0 {
			return l.id
		}
	}
	return s.likely[len(s.likely)-1].id // rounding
}
