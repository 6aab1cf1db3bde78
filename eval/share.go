package eval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"arf/clip"
	"arf/dataset"
	"arf/dist"
)

// shared is a set of n images, or texts, that processes encode together: batch i
// is the work of process i modulo their number. The batches are those of one
// process, and so are all features, to the bit.
type shared struct {
	group *dist.Group
	batch int
	own   []int   // numbers of what this process has encoded, ascending
	all   []int   // the same of all processes
	place [][]int // by rank: where in all its own are
}

// shareOf tells the processes which of their numbers are missing, as images that
// can't be decoded.
func shareOf(g *dist.Group, n, batch int, missing []int) (*shared, error) {
	lists, err := dist.GatherOf(g, missing)
	if err != nil {
		return nil, err
	}
	gone := make([]bool, n)
	for _, i := range slices.Concat(lists...) {
		gone[i] = true
	}
	s := &shared{group: g, batch: batch, place: make([][]int, g.Size())}
	for i := range n {
		if gone[i] {
			continue
		}
		rank := i / batch % g.Size()
		if rank == g.Rank() {
			s.own = append(s.own, i)
		}
		s.place[rank] = append(s.place[rank], len(s.all))
		s.all = append(s.all, i)
	}
	return s, nil
}

// join gives the rows of all processes, [len(all), dim].
func (s *shared) join(own []float32, dim int) ([]float32, error) {
	if s.group == nil {
		return own, nil
	}
	out := make([]float32, len(s.all)*dim)
	err := s.group.GatherRows(own, dim, func(rank, first int, rows []float32) {
		for i, to := range s.place[rank][first : first+len(rows)/dim] {
			copy(out[to*dim:(to+1)*dim], rows[i*dim:])
		}
	})
	return out, err
}

// mean is over all rows, of value(i) for row i of this process's own. Sums are of
// batches first, so that they round as in one process.
func (s *shared) mean(value func(i int) float64) (float64, error) {
	sums := map[int]float64{} // by batch
	for i, n := range s.own {
		sums[n/s.batch] += value(i)
	}
	parts, err := dist.GatherOf(s.group, sums)
	if err != nil {
		return 0, err
	}
	for _, part := range parts {
		maps.Copy(sums, part)
	}
	sum := 0.0
	for _, k := range slices.Sorted(maps.Keys(sums)) {
		sum += sums[k]
	}
	return sum / float64(len(s.all)), nil
}

// encodeImages computes this process's rows of a set, by model; batches are
// decoded once for all models.
func encodeImages(ctx context.Context, g *dist.Group, data dataset.Dataset, models []*clip.Model, o Options) (*shared, [][]float32, error) {
	numbers, err := dataset.Shard(data.Len(), o.BatchSize, g.Rank(), g.Size())
	if err != nil {
		return nil, nil, err
	}
	own := make([][]float32, len(models))
	var missing []int
	if len(numbers) > 0 {
		if missing, err = encodeShare(ctx, g, data, numbers, models, own, o); err != nil {
			return nil, nil, err
		}
	}
	s, err := shareOf(g, data.Len(), o.BatchSize, missing)
	if err == nil && len(s.all) == 0 {
		err = errors.New("none of its images could be decoded")
	}
	return s, own, err
}

// encodeShare fills own and gives the numbers of the images that can't be decoded.
func encodeShare(ctx context.Context, g *dist.Group, data dataset.Dataset, numbers []int, models []*clip.Model, own [][]float32, o Options) (missing []int, err error) {
	share, err := dataset.Subset(data, numbers)
	if err != nil {
		return nil, err
	}
	loader, err := dataset.NewLoader(share, dataset.Options{BatchSize: o.BatchSize, Preprocess: models[0].Preprocess, Epochs: 1, Workers: o.Workers, Log: o.Log})
	if err != nil {
		return nil, err
	}
	for k, m := range models {
		own[k] = make([]float32, 0, len(numbers)*m.Config.EmbedDim)
	}
	for batch, err := range loader.Batches(ctx) {
		if errors.Is(err, dataset.ErrAllBroken) && g.Size() > 1 {
			if err := unreadShare(share); err != nil {
				return nil, err
			}
			break // others may have some
		}
		if err != nil {
			return nil, err
		}
		for k, m := range models {
			f, err := m.ImageFeatures(ctx, batch.Pixels, len(batch.Samples), o.Precision)
			if err != nil {
				return nil, fmt.Errorf("images %s to %s: %w", batch.Samples[0].Key, batch.Samples[len(batch.Samples)-1].Key, err)
			}
			own[k] = append(own[k], f...)
		}
		if o.Progress != nil {
			o.Progress(numbers[batch.Index[len(batch.Index)-1]]+1, data.Len())
		}
		batch.Release()
	}
	for _, i := range loader.BrokenNumbers() {
		missing = append(missing, numbers[i])
	}
	return missing, nil
}

// unreadShare is the error of a process that can't even read the files of its
// share, as on a machine that hasn't got them: the others' images alone would
// give other numbers. Files that are no pictures are broken for all alike.
func unreadShare(share dataset.Dataset) error {
	var first error
	for i := range share.Len() {
		_, err := share.Sample(i)
		if err == nil {
			return nil
		}
		if first == nil {
			s, _ := dataset.Describe(share, i)
			first = fmt.Errorf("%s: %w", s.Key, err)
		}
	}
	return fmt.Errorf("none of this process's %d images can be read; are the data at the same path on all machines? The first: %w", share.Len(), first)
}

// encodeTexts computes this process's rows of texts.
func encodeTexts(ctx context.Context, g *dist.Group, model *clip.Model, texts []string, o Options) (*shared, []float32, error) {
	s, err := shareOf(g, len(texts), o.BatchSize, nil)
	if err != nil {
		return nil, nil, err
	}
	var own []float32
	for from := 0; from < len(s.own); from += o.BatchSize {
		var part []string
		for _, i := range s.own[from:min(from+o.BatchSize, len(s.own))] {
			part = append(part, texts[i])
		}
		f, err := model.TextFeatures(ctx, part, o.Precision)
		if err != nil {
			return nil, nil, fmt.Errorf("texts: %w", err)
		}
		own = append(own, f...)
	}
	return s, own, nil
}

// sameSet checks that all processes have the same images, by their keys, and
// texts, in one order, as their features are put together by number.
func sameSet(g *dist.Group, describe func(write func(format string, args ...any))) error {
	if g == nil {
		return nil
	}
	h := sha256.New()
	describe(func(format string, args ...any) { fmt.Fprintf(h, format, args...) })
	all, err := dist.GatherOf(g, hex.EncodeToString(h.Sum(nil)))
	if err != nil {
		return err
	}
	for rank, hash := range all {
		if hash != all[0] {
			return fmt.Errorf("rank %d has other images, texts or batch size than rank 0; give all machines the same", rank)
		}
	}
	return nil
}
