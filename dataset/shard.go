package dataset

import "fmt"

// Shard gives the numbers of the samples that are one of parts processes' work:
// of n samples in batches, batches part, part+parts, part+2·parts, … A process
// that reads them in such batches has batches of the whole, whatever the number
// of processes.
func Shard(n, batch, part, parts int) ([]int, error) {
	if batch < 1 || parts < 1 || part < 0 || part >= parts {
		return nil, fmt.Errorf("part %d of %d in batches of %d samples", part, parts, batch)
	}
	var numbers []int
	for from := part * batch; from < n; from += parts * batch {
		for i := from; i < min(from+batch, n); i++ {
			numbers = append(numbers, i)
		}
	}
	return numbers, nil
}
