package finetune

import (
	"maps"
	"slices"

	"arf/dataset"
	"arf/dist"
)

// report fills in what a run met, in all processes: a sample may have been
// another's share in another epoch, and counts once.
func (f *feed) report(r *Result) error {
	type met struct {
		Samples, Rows     []int
		Truncated         []uint64
		OfSamples, OfRows []string
	}
	images := f.loader.Broken()
	all, err := dist.GatherOf(f.group, met{
		f.loader.BrokenNumbers(), slices.Sorted(maps.Keys(f.brokenRow)), slices.Sorted(maps.Keys(f.truncated.seen)), images.First, f.broken.First,
	})
	if err != nil {
		return err
	}
	samples, rows, truncated := map[int]bool{}, map[int]bool{}, map[uint64]bool{}
	for _, m := range all {
		for _, n := range m.Samples {
			samples[n] = true
		}
		for _, n := range m.Rows {
			rows[n] = true
		}
		for _, n := range m.Truncated {
			truncated[n] = true
		}
		join(&r.Broken, m.OfSamples)
		join(&r.BrokenPairs, m.OfRows)
	}
	r.Broken.Count, r.BrokenPairs.Count, r.Truncated = len(samples), len(rows), len(truncated)
	return nil
}

// join adds the messages that aren't there.
func join(p *dataset.Problems, messages []string) {
	for _, m := range messages {
		if !slices.Contains(p.First, m) {
			p.Join(dataset.Problems{First: []string{m}})
		}
	}
}
