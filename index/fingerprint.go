package index

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"runtime"
	"slices"
	"strconv"

	"arf/dataset"

	"golang.org/x/sync/errgroup"
)

// Fingerprint identifies the content of a dataset: keys, images, texts, classes
// and metadata in their order. It reads every image once. A sample that can't be
// read counts as its error.
func Fingerprint(ctx context.Context, data dataset.Dataset) (string, error) {
	sums := make([][sha256.Size]byte, data.Len())
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	const block = 256
	for from := 0; from < len(sums); from += block {
		group.Go(func() error {
			for i := from; i < min(from+block, len(sums)); i++ {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				s, err := data.Sample(i)
				if dataset.Gone(err) {
					return err
				}
				sums[i] = sampleSum(s, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", fmt.Errorf("hash of the data: %w", err)
	}
	h := sha256.New()
	for i := range sums {
		h.Write(sums[i][:])
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func sampleSum(s dataset.Sample, err error) (sum [sha256.Size]byte) {
	h := sha256.New()
	field(h, s.Key, s.Text, s.Class, s.Meta["set"], s.Meta["license"], s.Meta["url"])
	field(h, s.Texts...)
	field(h, strconv.Itoa(s.Label))
	var more []string // pairs are left out by these
	for _, name := range slices.Sorted(maps.Keys(s.Meta)) {
		if name != "set" && name != "license" && name != "url" {
			more = append(more, name, s.Meta[name])
		}
	}
	if len(more) > 0 {
		field(h, more...)
	}
	if err != nil {
		field(h, err.Error())
	}
	h.Write(s.Image)
	h.Sum(sum[:0])
	return sum
}

// field writes texts so that no two lists of them look the same.
func field(h hash.Hash, texts ...string) {
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(texts))))
	for _, t := range texts {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(t))))
		h.Write([]byte(t))
	}
}
