package finetune

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"arf/clip"
	"arf/dataset"
	"arf/dist"
	"arf/imaging"
)

// feed makes the batches of the steps ahead of the engine: what a step draws is
// known from the seed and the step.
type feed struct {
	data       *prepared
	needs      Needs
	group      *dist.Group
	seed       uint64
	workers    int
	preprocess imaging.Preprocess
	augment    imaging.Augment
	loader     *dataset.Loader
	options    dataset.Options
	perEpoch   int // steps
	steps      int // of the run

	draw      *drawer
	texts     texts
	truncated *truncation

	out  chan *Batch
	free chan []uint8 // pixel buffers to use again
	done sync.WaitGroup
	err  error // why out was closed early

	mu        sync.Mutex
	broken    dataset.Problems // of the pool
	brokenRow map[int]bool
}

// newFeed lays out the run: epochs of all images in a new order each, without
// an epoch's last batch where it isn't full (as locuslab/FLYP), so that a term
// never has a handful of negatives. A set smaller than a batch makes one batch
// an epoch.
func newFeed(m *clip.Model, d *prepared, needs Needs, o Options) (*feed, error) {
	f := &feed{
		data: d, needs: needs, group: o.Group, seed: o.Seed, workers: o.Workers, preprocess: m.Preprocess, augment: o.Augment,
		draw: newDrawer(o.Seed), brokenRow: map[int]bool{},
		truncated: newTruncation(m.Tokenizer),
		options: dataset.Options{
			BatchSize: min(o.BatchSize, d.Finetune.Len()), Preprocess: m.Preprocess, Augment: o.Augment,
			Shuffle: true, Seed: o.Seed, DropLast: true, Workers: o.Workers, CacheBytes: o.CacheBytes,
		},
	}
	if f.workers == 0 {
		f.workers = runtime.GOMAXPROCS(0)
	}
	f.texts = texts{tokenizer: m.Tokenizer, truncated: f.truncated, number: map[string]int64{}}
	if n := o.Group.Size(); n > 1 {
		if f.options.Part, f.options.Parts = o.Group.Rank(), n; f.options.BatchSize < n {
			return nil, fmt.Errorf("a batch of %d images for %d processes; raise train.batch_size, or start fewer", f.options.BatchSize, n)
		}
	}
	var err error
	if f.loader, err = dataset.NewLoader(d.Finetune, f.options); err != nil {
		return nil, err
	}
	f.perEpoch = f.loader.StepsPerEpoch()
	f.steps = f.perEpoch * o.Epochs
	return f, nil
}

// start begins to make the batches from a step on, until ctx ends.
func (f *feed) start(ctx context.Context, step int) error {
	const ahead = 2
	f.options.StartStep = step
	var err error
	if f.loader, err = dataset.NewLoader(f.data.Finetune, f.options); err != nil {
		return err
	}
	f.out, f.free = make(chan *Batch, ahead), make(chan []uint8, ahead+2)
	f.done.Go(func() {
		defer close(f.out)
		f.err = f.run(ctx, step)
	})
	return nil
}

// wait returns when no goroutine of the feed is left; ctx of start has ended,
// or all steps were taken.
func (f *feed) wait() { f.done.Wait() }

// next is the batch of the following step. It's valid until recycled.
func (f *feed) next() (*Batch, error) {
	b, ok := <-f.out
	if !ok {
		return nil, f.err
	}
	return b, nil
}

// recycle takes the batch's pixels back.
func (f *feed) recycle(b *Batch) {
	pixels := b.Pixels
	b.Pixels = nil
	select {
	case f.free <- pixels:
	default:
	}
}

func (f *feed) run(ctx context.Context, step int) error {
	for loaded, err := range f.loader.Batches(ctx) {
		if err != nil {
			return fmt.Errorf("finetune images: %w", err)
		}
		// The loader leaves out a step whose images are all broken; it then gets
		// the next one's, also after a resume.
		for ; step <= loaded.Step; step++ {
			b, err := f.batch(ctx, loaded, step)
			if err != nil {
				return err
			}
			select {
			case f.out <- b:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if step+1 == f.steps {
				return nil
			}
		}
		loaded.Release()
	}
	return context.Cause(ctx)
}

// batch adds texts and pairs to a step's images.
func (f *feed) batch(ctx context.Context, loaded *dataset.Batch, step int) (*Batch, error) {
	n, size := len(loaded.Index), f.preprocess.Bytes()
	b := &Batch{Step: step, Samples: loaded.Index, Labels: make([]int64, n)}
	var pairs []drawnPair
	if f.needs.Pairs {
		pairs = f.drawPairs(loaded.Index, step)
	}
	b.Pixels = f.buffer((n + len(pairs)) * size)
	copy(b.Pixels, loaded.Pixels)
	if err := f.readPairs(ctx, pairs, b.Pixels[n*size:], step); err != nil {
		return nil, err
	}
	f.texts.reset()
	for i, sample := range loaded.Index {
		if f.data.labels[sample] < 0 {
			return nil, fmt.Errorf("finetune image %s could not be read when the run began, and now it can; start again", loaded.Samples[i].Key)
		}
		b.Labels[i] = int64(f.data.labels[sample])
		if f.needs.Prompts {
			b.Prompts = append(b.Prompts, f.texts.add(f.draw.prompt(f.data, step, sample)))
		}
		if f.needs.Captions {
			b.Captions = append(b.Captions, f.texts.add(f.draw.caption(f.data, step, sample)))
		}
	}
	b.drawn = len(pairs)
	for i := range pairs {
		p := &pairs[i]
		if p.err != nil {
			b.unread = cmp.Or(b.unread, p.err)
			continue
		}
		k := len(b.Rows)
		if k != i {
			copy(b.Pixels[(n+k)*size:], p.pixels)
		}
		b.Rows = append(b.Rows, int64(p.row))
		b.PairTexts = append(b.PairTexts, f.texts.add(f.draw.wording(p.texts, step, p.sample)))
	}
	if len(pairs) > 0 && len(b.Rows) == 0 && f.options.Parts < 2 { // else the others may have some
		return nil, fmt.Errorf("step %d: none of its %d pairs could be read from the pool: %w", step+1, len(pairs), pairs[0].err)
	}
	b.Pixels = b.Pixels[:(n+len(b.Rows))*size]
	b.Tokens = f.texts.tokens
	return b, nil
}

func (f *feed) buffer(size int) []uint8 {
	select {
	case p := <-f.free:
		if cap(p) >= size {
			return p[:size]
		}
	default:
	}
	return make([]uint8, size)
}

// drawnPair is the pair of the pool that one image brings into a step.
type drawnPair struct {
	sample int // the image's number
	first  int // place of the drawn one among the image's pairs
	row    int
	texts  []string
	pixels []uint8
	err    error
}

func (f *feed) drawPairs(samples []int, step int) []drawnPair {
	pairs := make([]drawnPair, 0, len(samples))
	for _, sample := range samples {
		if k := len(f.data.pairs[sample]); k > 0 {
			pairs = append(pairs, drawnPair{sample: sample, first: f.draw.pair(k, step, sample)})
		}
	}
	return pairs
}

// readPairs decodes the drawn pairs in parallel into dst.
func (f *feed) readPairs(ctx context.Context, pairs []drawnPair, dst []uint8, step int) error {
	size := f.preprocess.Bytes()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(f.workers, len(pairs)) {
		wg.Go(func() {
			draw := newDrawer(f.seed)
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(pairs) {
					return
				}
				pairs[i].pixels = dst[i*size : (i+1)*size]
				if f.readPair(&pairs[i], draw, step); dataset.Gone(pairs[i].err) {
					stop(pairs[i].err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// readPair takes the image's next pair where the drawn one is broken; p.err is
// set if all are.
func (f *feed) readPair(p *drawnPair, draw *drawer, step int) {
	all := f.data.pairs[p.sample]
	for i := range all {
		p.row = all[(p.first+i)%len(all)].Row
		if p.err = f.readRow(p, draw.at(drawCrop, step, p.sample)); p.err == nil || dataset.Gone(p.err) {
			return
		}
	}
}

func (f *feed) readRow(p *drawnPair, rng *rand.Rand) error {
	s, err := f.data.Pool.Sample(p.row)
	if err == nil {
		if p.texts = written(s.Texts); len(p.texts) == 0 && strings.TrimSpace(s.Text) != "" {
			p.texts = []string{s.Text}
		}
		if len(p.texts) == 0 {
			err = dataset.ErrNoText
		}
	}
	var image *imaging.Image
	if err == nil {
		image, err = f.preprocess.Decode(s.Image)
	}
	if err == nil {
		err = f.preprocess.TrainInto(p.pixels, image, f.augment, rng)
	}
	if err != nil {
		err = fmt.Errorf("pair %d of the pool (%s): %w", p.row, s.Key, err)
		if !dataset.Gone(err) {
			f.broke(p.row, err)
		}
	}
	return err
}

// broke counts a broken pair once and logs the first ones.
func (f *feed) broke(row int, err error) {
	const kept = 20
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.brokenRow[row] {
		return
	}
	f.brokenRow[row] = true
	if f.broken.Count++; f.broken.Count <= kept {
		f.broken.First = append(f.broken.First, err.Error())
		slog.Warn("skipped a broken pair", "error", err)
	}
}
