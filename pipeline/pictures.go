package pipeline

import (
	"context"
	"fmt"
	"sync"

	"arf/config"
	"arf/dataset"
)

// pictures finds the gallery's images by their keys. The sources are opened
// when the first one is asked for.
type pictures struct {
	finetune, pool func() (*keyed, error)
}

// keyed is a dataset and the numbers of its keys.
type keyed struct {
	dataset.Dataset
	number map[string]int
	gone   error // of a server that failed: the others aren't asked for, which would take as long each
}

// newPictures ends its waiting for servers with ctx. It isn't safe for concurrent use.
func newPictures(ctx context.Context, cfg *config.Config) *pictures {
	return &pictures{
		finetune: sync.OnceValues(func() (*keyed, error) { return openKeyed(ctx, cfg.Data.Finetune) }),
		pool:     sync.OnceValues(func() (*keyed, error) { return openKeyed(ctx, cfg.Data.Pool) }),
	}
}

func openKeyed(ctx context.Context, s config.Source) (*keyed, error) {
	d, err := open(ctx, s, nil)
	if err != nil {
		return nil, err
	}
	k := &keyed{Dataset: d, number: make(map[string]int, d.Len())}
	for i := range d.Len() {
		if sample, err := dataset.Describe(d, i); err == nil {
			k.number[sample.Key] = i
		}
	}
	return k, nil
}

// FinetuneImage gives the encoded image of a key of captions.jsonl.
func (p *pictures) FinetuneImage(key string) ([]byte, error) { return picture(p.finetune, key) }

// PoolImage gives the encoded image of a pair_key of pairs.parquet.
func (p *pictures) PoolImage(key string) ([]byte, error) { return picture(p.pool, key) }

func picture(open func() (*keyed, error), key string) ([]byte, error) {
	k, err := open()
	if err != nil {
		return nil, err
	}
	if k.gone != nil {
		return nil, k.gone
	}
	i, ok := k.number[key]
	if !ok {
		return nil, fmt.Errorf("image %s is not in the data any more", key)
	}
	s, err := k.Sample(i)
	if dataset.Gone(err) {
		k.gone = err
	}
	return s.Image, err
}
