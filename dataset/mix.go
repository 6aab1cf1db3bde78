package dataset

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// maxDraws bounds the samples of one epoch.
const maxDraws = 1 << 31

// Mix joins datasets as [Concat] does, so that each sample has one number, and
// has a shuffling [Loader] draw part k's samples weights[k] times an epoch
// (open_clip's --train-data-upsampling-factors): the whole part as often as the
// weight's integer says, and of the fraction's share others each epoch, until
// all had their turn. Readers that don't shuffle get every sample once.
func Mix(parts []Dataset, weights []float64) (Dataset, error) {
	if len(weights) != len(parts) {
		return nil, fmt.Errorf("mix datasets: %d weights for %d parts", len(weights), len(parts))
	}
	joined, err := Concat(parts...)
	if err != nil {
		return nil, err
	}
	m := mixture{concat: joined.(concat), weights: weights}
	total := 0.0
	for k, w := range weights {
		if !(w > 0) || w > 1e6 {
			return nil, fmt.Errorf("mix datasets: weight %g of part %d: must be above 0 and at most a million", w, k)
		}
		if draws := math.Round(w * float64(parts[k].Len())); draws < 1 {
			return nil, fmt.Errorf("mix datasets: weight %g leaves none of the %d samples of part %d", w, parts[k].Len(), k)
		}
		total += w * float64(parts[k].Len())
	}
	if total > maxDraws {
		return nil, fmt.Errorf("mix datasets: the weights make an epoch of %.0f samples; lower them", total)
	}
	return m, nil
}

type mixture struct {
	concat
	weights []float64
}

// sampler is a dataset that says which samples an epoch has.
type sampler interface {
	// epochLen is how many numbers draw gives.
	epochLen() int
	draw(seed, epoch uint64) []int
}

func (m mixture) epochLen() int {
	n := 0
	for k, p := range m.parts {
		n += m.draws(k, p)
	}
	return n
}

func (m mixture) draws(k int, p Dataset) int {
	return int(math.Round(m.weights[k] * float64(p.Len())))
}

// draw gives the numbers of an epoch's samples, not yet shuffled.
func (m mixture) draw(seed, epoch uint64) []int {
	numbers := make([]int, 0, m.epochLen())
	first := 0
	for k, p := range m.parts {
		n := p.Len()
		if n == 0 { // a shard's
			continue
		}
		draws := m.draws(k, p)
		for range draws / n {
			for i := range n {
				numbers = append(numbers, first+i)
			}
		}
		if rest := draws % n; rest > 0 {
			// Windows of one endless list of permutations: after n/rest epochs
			// every sample had its turn.
			from := epoch * uint64(rest)
			for left := uint64(rest); left > 0; {
				round, at := from/uint64(n), from%uint64(n)
				order := rand.New(rand.NewPCG(seed^uint64(k+1)*0x9E3779B97F4A7C15, round)).Perm(n)
				take := min(left, uint64(n)-at)
				for _, i := range order[at : at+take] {
					numbers = append(numbers, first+i)
				}
				from, left = from+take, left-take
			}
		}
		first += n
	}
	return numbers
}

// epochLen is how many samples an epoch of d has.
func epochLen(d Dataset) int {
	if s, ok := d.(sampler); ok {
		return s.epochLen()
	}
	return d.Len()
}

// drawn gives the numbers of an epoch's samples, nil for each sample once.
func drawn(d Dataset, seed, epoch uint64) []int {
	if s, ok := d.(sampler); ok {
		return s.draw(seed, epoch)
	}
	return nil
}

// shuffled gives the numbers of an epoch's samples in random order.
func shuffled(d Dataset, seed, epoch uint64) []int {
	rng := rand.New(rand.NewPCG(seed, epoch))
	numbers := drawn(d, seed, epoch)
	if numbers == nil {
		return rng.Perm(d.Len())
	}
	rng.Shuffle(len(numbers), func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
	return numbers
}
