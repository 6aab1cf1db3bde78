package dataset

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"arf/imaging"
)

// Options of a [Loader]. Only BatchSize and Preprocess are needed.
type Options struct {
	BatchSize  int
	Preprocess imaging.Preprocess
	// Border is how many pixels are cut off each side before anything else.
	Border int
	// Augment's zero value is evaluation's resize and crop.
	Augment imaging.Augment
	// Shuffle draws a new order of all samples each epoch, from Seed; of a [Mix]
	// the samples that its weights say.
	Shuffle bool
	Seed    uint64
	// DropLast leaves out an epoch's last batch if it isn't full.
	DropLast bool
	// Epochs after which the batches end; 0 is never. Those before StartStep
	// count.
	Epochs int
	// StartStep is the first step (batch number over all epochs) to give, for
	// going on with a run. Nothing of the steps before is read.
	StartStep int
	// Part of Parts is this process's share of every batch: the parts follow each
	// other in the batch's order and differ in size by at most one. BatchSize stays
	// that of all parts together. Parts 0 is 1. A part of which nothing can be read
	// is given as an empty batch, as the others may have some.
	Part, Parts int
	// Workers decode in parallel; 0 is one a CPU.
	Workers int
	// Prefetch is how many batches are made ahead; 0 is 2.
	Prefetch int
	// CacheBytes bounds the memory for decoded images that are kept for later
	// epochs; 0 keeps none. It pays for small images: at 64 pixels decoding
	// costs as much as augmenting.
	CacheBytes int64
	// Log gets the first broken samples as warnings; nil is slog.Default.
	Log *slog.Logger
}

// Batch is the samples of one step, in the order of the epoch. Broken samples
// are missing from it, so that it may be shorter than BatchSize.
type Batch struct {
	Pixels  []uint8  // [len(Samples), ImageSize, ImageSize, 3]
	Samples []Sample // without Image
	Index   []int    // the samples' numbers in the dataset
	Step    int      // from 0, over all epochs
	Epoch   int      // from 0

	pool *sync.Pool
}

// Release gives the memory of Pixels back for later batches. Calling it is
// optional; Pixels must not be used after.
func (b *Batch) Release() {
	if b.pool != nil {
		pixels := b.Pixels[:cap(b.Pixels)]
		b.Pixels = nil
		b.pool.Put(&pixels)
	}
}

// Loader makes batches of a dataset. The pixels of a sample depend only on the
// seed, the epoch and its number: not on workers, cache or where a run started.
type Loader struct {
	data  Dataset
	o     Options
	cache []atomic.Pointer[cached]
	left  atomic.Int64 // bytes that the cache may still take
	pool  sync.Pool

	mu       sync.Mutex
	broken   map[int]bool
	problems Problems
}

type cached struct {
	image  *imaging.Image
	sample Sample
}

// NewLoader checks the options.
func NewLoader(d Dataset, o Options) (*Loader, error) {
	var err error
	switch {
	case d.Len() == 0:
		err = errors.New("the dataset is empty")
	case o.BatchSize < 1:
		err = fmt.Errorf("batch size %d: must be at least 1", o.BatchSize)
	case o.DropLast && o.BatchSize > epochOf(d, o):
		err = fmt.Errorf("batch size %d is more than the %d samples of an epoch, and incomplete batches are dropped", o.BatchSize, epochOf(d, o))
	case o.Part < 0 || o.Part >= max(1, o.Parts):
		err = fmt.Errorf("part %d of %d", o.Part, o.Parts)
	case o.Workers < 0 || o.Prefetch < 0 || o.StartStep < 0 || o.Epochs < 0 || o.CacheBytes < 0:
		err = errors.New("workers, prefetch, start step, epochs and cache bytes can't be negative")
	default:
		err = errors.Join(o.Preprocess.Validate(), o.Augment.Validate())
	}
	if err != nil {
		return nil, fmt.Errorf("load batches: %w", err)
	}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Prefetch == 0 {
		o.Prefetch = 2
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	l := &Loader{data: d, o: o, broken: map[int]bool{}}
	if o.CacheBytes > 0 {
		l.cache = make([]atomic.Pointer[cached], d.Len())
		l.left.Store(o.CacheBytes)
	}
	return l, nil
}

// epochOf is how many samples an epoch has.
func epochOf(d Dataset, o Options) int {
	if o.Shuffle {
		return epochLen(d)
	}
	return d.Len()
}

// StepsPerEpoch is the number of batches of one epoch.
func (l *Loader) StepsPerEpoch() int {
	n := epochOf(l.data, l.o)
	if l.o.DropLast {
		return n / l.o.BatchSize
	}
	return (n + l.o.BatchSize - 1) / l.o.BatchSize
}

// Broken gives the samples that were skipped so far, each counted once.
func (l *Loader) Broken() Problems {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Problems{Count: l.problems.Count, First: slices.Clone(l.problems.First)}
}

// BrokenNumbers gives the numbers of the samples that were skipped so far.
func (l *Loader) BrokenNumbers() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.broken))
}

// pending is a batch in the making.
type pending struct {
	batch  *Batch
	failed []bool
	todo   atomic.Int32
	done   chan struct{}
}

// chunk is a worker's share of a batch: small enough that a batch is spread
// over all workers.
type chunk struct {
	of       *pending
	from, to int
}

const chunkSize = 16

// Batches gives the steps in order from StartStep. It ends after Epochs, with
// ctx's error when ctx ends, or with an error when an epoch has no readable
// sample at all or the server of a sample is gone. A step whose samples are all broken is left out. Leaving the
// loop stops the workers before the next statement.
func (l *Loader) Batches(ctx context.Context) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		ordered := make(chan *pending, l.o.Prefetch)
		chunks := make(chan chunk)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel(nil)
		wg.Go(func() {
			defer close(ordered)
			defer close(chunks)
			l.dispatch(ctx, ordered, chunks)
		})
		for range l.o.Workers {
			wg.Go(func() { l.work(ctx, cancel, chunks) })
		}
		empty := 0 // steps without a readable sample, in a row
		for p := range ordered {
			select {
			case <-p.done:
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				break
			}
			b := l.finish(p)
			if len(b.Samples) == 0 && l.o.Parts < 2 {
				if empty++; empty == l.StepsPerEpoch() {
					yield(nil, l.allBroken())
					return
				}
				continue
			}
			empty = 0
			if !yield(b, nil) {
				return
			}
		}
		if ctx.Err() != nil {
			yield(nil, context.Cause(ctx))
		}
	}
}

// ErrAllBroken is wrapped by a Loader's error about data of which nothing can be read.
var ErrAllBroken = errors.New("no sample of a whole epoch could be read")

func (l *Loader) allBroken() error {
	return fmt.Errorf("load batches: %w; the first: %s", ErrAllBroken, l.Broken().First[0])
}

// dispatch lays out batches in order and hands their chunks to the workers.
func (l *Loader) dispatch(ctx context.Context, ordered chan<- *pending, chunks chan<- chunk) {
	steps := l.StepsPerEpoch()
	var order []int
	orderOf := -1
	for step := l.o.StartStep; l.o.Epochs == 0 || step < l.o.Epochs*steps; step++ {
		epoch := step / steps
		if epoch != orderOf {
			order, orderOf = l.order(epoch), epoch
		}
		from := step % steps * l.o.BatchSize
		index := order[from:min(from+l.o.BatchSize, len(order))]
		if n := len(index); l.o.Parts > 1 {
			index = index[n*l.o.Part/l.o.Parts : n*(l.o.Part+1)/l.o.Parts]
		}
		index = slices.Clone(index)
		p := &pending{
			batch: &Batch{
				Pixels: l.pixels(len(index)), Samples: make([]Sample, len(index)), Index: index,
				Step: step, Epoch: epoch, pool: &l.pool,
			},
			failed: make([]bool, len(index)),
			done:   make(chan struct{}),
		}
		p.todo.Store(int32((len(index) + chunkSize - 1) / chunkSize))
		if len(index) == 0 {
			close(p.done)
		}
		select {
		case ordered <- p:
		case <-ctx.Done():
			return
		}
		for from := 0; from < len(index); from += chunkSize {
			select {
			case chunks <- chunk{p, from, min(from+chunkSize, len(index))}:
			case <-ctx.Done():
				return
			}
		}
	}
}

// order is the samples' numbers in the order of an epoch.
func (l *Loader) order(epoch int) []int {
	if l.o.Shuffle {
		return shuffled(l.data, l.o.Seed, uint64(epoch))
	}
	order := make([]int, l.data.Len())
	for i := range order {
		order[i] = i
	}
	return order
}

func (l *Loader) pixels(samples int) []uint8 {
	size := samples * l.o.Preprocess.Bytes()
	if p, ok := l.pool.Get().(*[]uint8); ok && cap(*p) >= size {
		return (*p)[:size]
	}
	return make([]uint8, size)
}

// work decodes; a server that is gone stops the loader, since its samples aren't
// broken.
func (l *Loader) work(ctx context.Context, stop context.CancelCauseFunc, chunks <-chan chunk) {
	source := rand.NewPCG(0, 0)
	rng := rand.New(source)
	size := l.o.Preprocess.Bytes()
	for c := range chunks {
		b := c.of.batch
		for i := c.from; i < c.to && ctx.Err() == nil; i++ {
			// Odd multiplier: every (seed, epoch) has its own stream.
			source.Seed(l.o.Seed^(uint64(b.Epoch)+1)*0x9E3779B97F4A7C15, uint64(b.Index[i]))
			sample, err := l.load(b.Pixels[i*size:(i+1)*size], b.Index[i], rng)
			if Gone(err) {
				stop(fmt.Errorf("load batches: %w", err))
				break
			}
			if err != nil {
				c.of.failed[i] = true
				l.report(b.Index[i], sample.Key, err)
				continue
			}
			b.Samples[i] = sample
		}
		if c.of.todo.Add(-1) == 0 {
			close(c.of.done)
		}
	}
}

// load writes the pixels of a sample into dst.
func (l *Loader) load(dst []uint8, index int, rng *rand.Rand) (Sample, error) {
	if l.cache != nil {
		if c := l.cache[index].Load(); c != nil {
			return c.sample, l.o.Preprocess.TrainInto(dst, c.image, l.o.Augment, rng)
		}
	}
	sample, err := l.data.Sample(index)
	if err != nil {
		return sample, err
	}
	image, err := l.o.Preprocess.Decode(sample.Image)
	sample.Image = nil
	if err == nil {
		image, err = image.WithoutBorder(l.o.Border)
	}
	if err != nil {
		return sample, err
	}
	if l.cache != nil {
		l.keep(index, image, sample)
	}
	return sample, l.o.Preprocess.TrainInto(dst, image, l.o.Augment, rng)
}

func (l *Loader) keep(index int, image *imaging.Image, sample Sample) {
	const overhead = 256 // of the structs and the text's headers
	size := int64(image.Bytes() + overhead + len(sample.Key))
	for _, t := range sample.Texts {
		size += int64(len(t) + 16)
	}
	for k, v := range sample.Meta {
		size += int64(len(k) + len(v) + 48)
	}
	if l.left.Add(-size) < 0 {
		l.left.Add(size)
		return
	}
	l.cache[index].Store(&cached{image, sample})
}

func (l *Loader) report(index int, key string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken[index] {
		return
	}
	l.broken[index] = true
	before := len(l.problems.First)
	// By key: numbers are those of what the loader was given, such as a shard.
	key = cmp.Or(key, fmt.Sprintf("sample %d", index))
	l.problems.add("%s: %v", key, err)
	if len(l.problems.First) > before {
		l.o.Log.Warn("skipped a broken sample", "key", key, "error", err)
	}
}

// finish takes the broken samples out of a batch.
func (l *Loader) finish(p *pending) *Batch {
	b := p.batch
	size := l.o.Preprocess.Bytes()
	n := 0
	for i, failed := range p.failed {
		if failed {
			continue
		}
		if n != i {
			copy(b.Pixels[n*size:(n+1)*size], b.Pixels[i*size:(i+1)*size])
			b.Samples[n], b.Index[n] = b.Samples[i], b.Index[i]
		}
		n++
	}
	b.Pixels, b.Samples, b.Index = b.Pixels[:n*size], b.Samples[:n], b.Index[:n]
	return b
}
