package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
		finetune: sync.OnceValues(func() (*keyed, error) {
			return openPictures(ctx, "data.finetune", cfg.Data.Finetune, dataset.OpenContext)
		}),
		pool: sync.OnceValues(func() (*keyed, error) { return openPictures(ctx, "data.pool", cfg.Data.Pool, dataset.OpenPairs) }),
	}
}

// openPictures warns of a source that can't be opened: the page is written without
// its pictures, and the reader of the page isn't always the one who can mend that.
func openPictures(ctx context.Context, name string, s config.Source, how opener) (*keyed, error) {
	k, err := openKeyed(ctx, s, how)
	if err == nil {
		return k, nil
	}
	if ctx.Err() == nil { // else the command ends with why
		slog.Warn("the page lacks the pictures of a source that can't be read", "source", name, "error", err)
	}
	return nil, fmt.Errorf("%s can't be read: %w", name, err)
}

func openKeyed(ctx context.Context, s config.Source, how opener) (*keyed, error) {
	d, err := openBy(ctx, how, s, nil)
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
		if !errors.Is(err, context.Canceled) {
			slog.Warn("the page lacks pictures, as their server failed", "first", key, "error", err)
		}
	}
	return s.Image, err
}
