package dataset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"arf/imaging"
)

// memory is a dataset of pictures in memory. The listed ones are broken.
type memory struct {
	images [][]byte
	broken map[int]bool

	mu   sync.Mutex
	read []int // what was read
	wait time.Duration
}

func newMemory(t testing.TB, n, size int, broken ...int) *memory {
	m := &memory{broken: map[int]bool{}}
	for i := range n {
		m.images = append(m.images, picture(t, i, size))
	}
	for _, i := range broken {
		m.broken[i] = true
		if i%2 == 0 {
			m.images[i] = m.images[i][:40]
		}
	}
	return m
}

func (m *memory) Len() int { return len(m.images) }

func (m *memory) Sample(i int) (Sample, error) {
	m.mu.Lock()
	m.read = append(m.read, i)
	m.mu.Unlock()
	time.Sleep(m.wait)
	s := Sample{Key: fmt.Sprint("k", i), Text: fmt.Sprint("text ", i), Label: i}
	if m.broken[i] && i%2 == 1 {
		return s, errors.New("disk error")
	}
	s.Image = m.images[i]
	return s, nil
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func options(batch int) Options {
	return Options{
		BatchSize: batch, Preprocess: imaging.CLIP(12), Shuffle: true, Seed: 7, Workers: 3, Log: quiet,
		Augment: imaging.Augment{ScaleMin: 0.4, ScaleMax: 1, Flip: 0.5},
	}
}

// collect takes up to n batches.
func collect(t testing.TB, d Dataset, o Options, n int) []*Batch {
	t.Helper()
	l, err := NewLoader(d, o)
	if err != nil {
		t.Fatal(err)
	}
	var out []*Batch
	for b, err := range l.Batches(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Pixels) != len(b.Samples)*o.Preprocess.Bytes() || len(b.Samples) != len(b.Index) {
			t.Fatalf("step %d: %d bytes, %d samples, %d numbers", b.Step, len(b.Pixels), len(b.Samples), len(b.Index))
		}
		for i, s := range b.Samples {
			if s.Label != b.Index[i] || s.Image != nil {
				t.Fatalf("step %d: sample %d is number %d", b.Step, s.Label, b.Index[i])
			}
		}
		if out = append(out, b); len(out) == n {
			break
		}
	}
	return out
}

func same(t *testing.T, what string, got, want []*Batch) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d batches, want %d", what, len(got), len(want))
		return
	}
	for i := range want {
		g, w := got[i], want[i]
		if g.Step != w.Step || g.Epoch != w.Epoch || !slices.Equal(g.Index, w.Index) || !bytes.Equal(g.Pixels, w.Pixels) {
			t.Errorf("%s: step %d (epoch %d, %v), want step %d (epoch %d, %v); same pixels: %v", what,
				g.Step, g.Epoch, g.Index, w.Step, w.Epoch, w.Index, bytes.Equal(g.Pixels, w.Pixels))
			return
		}
	}
}

// TestLoaderDeterministic: neither workers, prefetch, cache nor broken
// neighbours change what a step holds.
func TestLoaderDeterministic(t *testing.T) {
	d := newMemory(t, 53, 16, 4, 11)
	want := collect(t, d, options(10), 18) // three epochs
	seen := map[int]int{}
	for _, b := range want {
		for _, i := range b.Index {
			seen[i]++
		}
	}
	for i := range 53 {
		if n := seen[i]; n != 3 && !d.broken[i] || n != 0 && d.broken[i] {
			t.Errorf("sample %d came %d times in three epochs", i, n)
		}
	}
	if slices.Equal(want[0].Index, want[6].Index) {
		t.Error("two epochs have the same order")
	}
	// A picture is augmented anew in each epoch.
	at := func(b *Batch, number int) []uint8 {
		i := slices.Index(b.Index, number)
		if i < 0 {
			return nil
		}
		return b.Pixels[i*12*12*3:][:12*12*3]
	}
	number := want[0].Index[0]
	for _, b := range want[6:12] {
		if p := at(b, number); p != nil && bytes.Equal(p, at(want[0], number)) {
			t.Error("the same augmentation in two epochs")
		}
	}
	for name, change := range map[string]func(*Options){
		"one worker":   func(o *Options) { o.Workers = 1 },
		"many workers": func(o *Options) { o.Workers, o.Prefetch = 16, 9 },
		"cache":        func(o *Options) { o.CacheBytes = 1 << 20 },
		"small cache":  func(o *Options) { o.CacheBytes = 10 * (16*16*3 + 256) },
	} {
		o := options(10)
		change(&o)
		same(t, name, collect(t, d, o, 18), want)
	}
	o := options(10)
	o.Seed++
	if slices.Equal(collect(t, d, o, 1)[0].Index, want[0].Index) {
		t.Error("another seed gives the same order")
	}
}

// TestLoaderResume: going on at a step is as if the run hadn't stopped, and
// reads nothing of what came before.
func TestLoaderResume(t *testing.T) {
	for _, dropLast := range []bool{false, true} {
		d := newMemory(t, 33, 16, 4)
		o := options(8)
		o.DropLast = dropLast
		all := collect(t, d, o, 14)
		for _, start := range []int{1, 4, 5, 9, 13} {
			o.StartStep = start
			d.read = nil
			same(t, fmt.Sprint("from step ", start), collect(t, d, o, 14-start), all[start:])
			o.Prefetch = 1
			d.read = nil
			collect(t, d, o, 1)
			if len(d.read) > 4*8 {
				t.Errorf("start at step %d: %d samples were read for one batch", start, len(d.read))
			}
		}
	}
}

func TestLoaderOrder(t *testing.T) {
	d := newMemory(t, 10, 12)
	o := Options{BatchSize: 4, Preprocess: imaging.CLIP(12), Epochs: 2, Log: quiet}
	var got []string
	for _, b := range collect(t, d, o, 0) {
		got = append(got, fmt.Sprint(b.Epoch, b.Step, b.Index))
	}
	want := []string{"0 0 [0 1 2 3]", "0 1 [4 5 6 7]", "0 2 [8 9]", "1 3 [0 1 2 3]", "1 4 [4 5 6 7]", "1 5 [8 9]"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	// The zero Augment is Eval.
	pix, err := o.Preprocess.Eval(d.images[3])
	if err != nil {
		t.Fatal(err)
	}
	if b := collect(t, d, o, 1)[0]; !bytes.Equal(b.Pixels[3*12*12*3:], pix) {
		t.Error("pixels aren't Eval's")
	}
	o.DropLast, o.StartStep = true, 1
	got = nil
	for _, b := range collect(t, d, o, 0) {
		got = append(got, fmt.Sprint(b.Epoch, b.Step, b.Index))
	}
	if want := []string{"0 1 [4 5 6 7]", "1 2 [0 1 2 3]", "1 3 [4 5 6 7]"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	o.StartStep = 4
	if n := len(collect(t, d, o, 0)); n != 0 {
		t.Errorf("%d batches after the last epoch", n)
	}
}

func TestLoaderBroken(t *testing.T) {
	var log bytes.Buffer
	d := newMemory(t, 60, 12, 4, 5, 6, 7, 20, 41)
	o := Options{BatchSize: 4, Preprocess: imaging.CLIP(12), Epochs: 3, Log: slog.New(slog.NewTextHandler(&log, nil))}
	l, err := NewLoader(d, o)
	if err != nil {
		t.Fatal(err)
	}
	var steps []int
	samples := 0
	for b, err := range l.Batches(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, b.Step)
		samples += len(b.Samples)
		b.Release()
	}
	if samples != 3*54 || slices.Contains(steps, 1) || len(steps) != 3*14 {
		t.Errorf("%d samples in steps %v", samples, steps)
	}
	p := l.Broken()
	slices.Sort(p.First)
	if p.Count != 6 || len(p.First) != 6 || !strings.Contains(p.First[0], "k20: ") || !strings.Contains(strings.Join(p.First, "\n"), "k41: disk error") {
		t.Errorf("%+v", p)
	}
	if n := strings.Count(log.String(), "skipped a broken sample"); n != 6 {
		t.Errorf("%d warnings, want 6:\n%s", n, log.String())
	}
	if !strings.Contains(log.String(), "key=k41") || strings.Contains(log.String(), "number") {
		t.Errorf("want keys, no shard's numbers:\n%s", log.String())
	}

	// Nothing can be read: an error, not an endless loop.
	for _, start := range []int{0, 2} {
		o := Options{BatchSize: 4, Preprocess: imaging.CLIP(12), Log: quiet, StartStep: start}
		l, err := NewLoader(newMemory(t, 10, 12, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9), o)
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for b, err := range l.Batches(context.Background()) {
			if count++; b != nil || count > 1 {
				t.Fatal("a batch of nothing")
			}
			wantError(t, "all broken", err, "no sample of a whole epoch", "the first: k")
		}
		if count != 1 {
			t.Errorf("%d results", count)
		}
	}
}

// TestLoaderManyBroken: the list of names is bounded, the count isn't.
func TestLoaderManyBroken(t *testing.T) {
	var broken []int
	for i := range 100 {
		broken = append(broken, i)
	}
	l, err := NewLoader(newMemory(t, 101, 12, broken...), Options{BatchSize: 16, Preprocess: imaging.CLIP(12), Epochs: 1, Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range l.Batches(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if p := l.Broken(); p.Count != 100 || len(p.First) != problemsKept {
		t.Errorf("%d counted, %d named", p.Count, len(p.First))
	}
}

// TestLoaderStops: on cancellation and on leaving the loop all goroutines end
// soon (TestMain looks for leaks).
func TestLoaderStops(t *testing.T) {
	d := newMemory(t, 2000, 12)
	d.wait = time.Millisecond
	for _, o := range []Options{options(4), options(1000)} {
		l, err := NewLoader(d, o)
		if err != nil {
			t.Fatal(err)
		}
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(30*time.Millisecond, func() { cancel(cause) })
		start := time.Now()
		var last error
		for _, err := range l.Batches(ctx) {
			last = err
		}
		if !errors.Is(last, cause) {
			t.Errorf("ended with %v, want the cause", last)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("batch size %d: stopping took %v", o.BatchSize, took)
		}
		d.mu.Lock()
		read := len(d.read)
		d.mu.Unlock()
		time.Sleep(20 * time.Millisecond)
		d.mu.Lock()
		if len(d.read) != read {
			t.Error("still reading after the loop")
		}
		d.mu.Unlock()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	l, err := NewLoader(d, options(4))
	if err != nil {
		t.Fatal(err)
	}
	for b, err := range l.Batches(ctx) {
		if b != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v", b, err)
		}
	}
}

// TestLoaderRelease: released memory isn't shared with a batch in use.
func TestLoaderRelease(t *testing.T) {
	d := newMemory(t, 40, 12)
	o := Options{BatchSize: 4, Preprocess: imaging.CLIP(12), Epochs: 5, Log: quiet}
	l, err := NewLoader(d, o)
	if err != nil {
		t.Fatal(err)
	}
	var held []*Batch
	for b, err := range l.Batches(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		if rand.IntN(2) == 0 {
			b.Release()
			continue
		}
		held = append(held, b)
	}
	for _, b := range held {
		for i, n := range b.Index {
			pix, err := o.Preprocess.Eval(d.images[n])
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b.Pixels[i*len(pix):][:len(pix)], pix) {
				t.Fatalf("step %d: sample %d was overwritten", b.Step, n)
			}
		}
	}
}

func TestNewLoaderErrors(t *testing.T) {
	d := newMemory(t, 3, 12)
	for name, change := range map[string]func(*Options){
		"batch size 0":      func(o *Options) { o.BatchSize = 0 },
		"batch size 4":      func(o *Options) { o.BatchSize, o.DropLast = 4, true },
		"negative":          func(o *Options) { o.StartStep = -1 },
		"image size 0":      func(o *Options) { o.Preprocess.ImageSize = 0 },
		"flip 3":            func(o *Options) { o.Augment.Flip = 3 },
		"scale 0.5 to 0.25": func(o *Options) { o.Augment.ScaleMin, o.Augment.ScaleMax = 0.5, 0.25 },
	} {
		o := options(2)
		change(&o)
		_, err := NewLoader(d, o)
		wantError(t, name, err, name)
	}
	_, err := NewLoader(newMemory(t, 0, 12), options(2))
	wantError(t, "empty", err, "empty")
}

func BenchmarkLoader(b *testing.B) {
	d := newMemory(b, 512, 64)
	for name, cache := range map[string]int64{"decode": 0, "cache": 1 << 30} {
		b.Run(name, func(b *testing.B) {
			o := options(128)
			o.Preprocess, o.Workers, o.CacheBytes = imaging.CLIP(64), 0, cache
			l, err := NewLoader(d, o)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			n := 0
			for batch, err := range l.Batches(context.Background()) {
				if err != nil {
					b.Fatal(err)
				}
				batch.Release()
				if n++; n > b.N {
					break
				}
			}
			b.ReportMetric(float64(b.N*128)/b.Elapsed().Seconds(), "images/s")
		})
	}
}
