package finetune

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// summary is all of a batch that training can see.
func summary(b *Batch) string {
	return fmt.Sprint(b.Step, b.Samples, b.Labels, b.Rows, b.Tokens, b.Prompts, b.Captions, b.PairTexts, " ") + string(b.Pixels)
}

func batches(t *testing.T, data Data, o Options, from, n int) []string {
	t.Helper()
	task := startTask(t, tiny(t), data, o, from)
	var all []string
	for range n {
		b, err := task.feed.next()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, summary(b))
		task.feed.recycle(b)
	}
	return all
}

func TestBatchesAreAFunctionOfSeedAndStep(t *testing.T) {
	data, o := pictures(18, 3), quick(ARF)
	whole := batches(t, data, o, 0, 12)
	o.Workers = 5
	for _, from := range []int{1, 4, 7} {
		for i, got := range batches(t, data, o, from, 12-from) {
			if got != whole[from+i] {
				t.Fatalf("from step %d: batch %d differs", from, from+i)
			}
		}
	}
	o.Seed++
	if batches(t, data, o, 0, 1)[0] == whole[0] {
		t.Error("another seed gives the same batch")
	}
}

func TestAnEpochTakesEveryImageOnce(t *testing.T) {
	data, o := pictures(16, 3), quick(ARF)
	task := startTask(t, tiny(t), data, o, 0)
	for epoch := range 3 {
		var seen []int
		for range 4 {
			b, err := task.feed.next()
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, b.Samples...)
		}
		slices.Sort(seen)
		if len(slices.Compact(seen)) != 16 {
			t.Errorf("epoch %d has %v", epoch, seen)
		}
	}
	if b, err := task.feed.next(); b != nil || err != nil {
		t.Errorf("after the last step: %v, %v", b, err)
	}
}

func TestASetSmallerThanABatchIsOneBatch(t *testing.T) {
	o := quick(ARF)
	o.BatchSize = 512
	planned := 0
	o.Planned = func(steps int) { planned = steps }
	result := mustRun(t, tiny(t), pictures(5, 2), o)
	if result.Steps != 3 || result.StepsPerEpoch != 1 || planned != 3 {
		t.Errorf("planned %d, result %+v", planned, result)
	}
	o.Method, o.Epochs = FLYP, 2
	if result = mustRun(t, tiny(t), pictures(1, 0), o); result.Steps != 2 {
		t.Errorf("one image: %+v", result)
	}
}

func TestDrawsAreEvenAndIndependent(t *testing.T) {
	d := newDrawer(3)
	const n, k = 20000, 5
	var single [k]float64
	var both, steps [k][k]float64
	for i := range n {
		step, sample := i/100, i%100
		caption, pair := d.at(drawCaption, step, sample).IntN(k), d.at(drawPair, step, sample).IntN(k)
		single[caption]++
		both[caption][pair]++
		steps[caption][d.at(drawCaption, step+1, sample).IntN(k)]++
	}
	// Three standard deviations of a binomial count.
	check := func(name string, count, p float64) {
		if deviation := math.Abs(count-n*p) / math.Sqrt(n*p*(1-p)); deviation > 4 {
			t.Errorf("%s: %.0f of %d, %.1f deviations off", name, count, n, deviation)
		}
	}
	for i := range k {
		check(fmt.Sprint("caption ", i), single[i], 1.0/k)
		for j := range k {
			check(fmt.Sprint("caption and pair ", i, j), both[i][j], 1.0/k/k)
			check(fmt.Sprint("step and next ", i, j), steps[i][j], 1.0/k/k)
		}
	}
}

func TestBatchHoldsWhatItSays(t *testing.T) {
	data, o := pictures(16, 3), quick(ARF)
	o.Augment.ScaleMin, o.Augment.ScaleMax, o.Augment.Flip = 0, 0, 0
	task := startTask(t, tiny(t), data, o, 0)
	m := task.model
	size := m.Preprocess.Bytes()
	read := func(row int64, b *Batch) string { return m.Tokenizer.Decode(b.Tokens[row]) }
	set, pool := data.Finetune.(*memory).samples, data.Pool.(*memory).samples
	for range 12 {
		b, err := task.feed.next()
		if err != nil {
			t.Fatal(err)
		}
		for i, sample := range b.Samples {
			s := set[sample]
			if b.Labels[i] != int64(s.Label) {
				t.Errorf("%s has the label %d", s.Key, b.Labels[i])
			}
			if p := read(b.Prompts[i], b); !strings.Contains(p, s.Class) {
				t.Errorf("%s has the prompt %q", s.Key, p)
			}
			if c := read(b.Captions[i], b); !slices.Contains(data.Captions[s.Key], c) {
				t.Errorf("%s has the caption %q", s.Key, c)
			}
			if !slices.Contains(data.Pairs[s.Key], PairRef{Row: int(b.Rows[i])}) {
				t.Errorf("%s has the pair %d", s.Key, b.Rows[i])
			}
			p := pool[b.Rows[i]]
			if w := read(b.PairTexts[i], b); !slices.Contains(p.Texts, w) {
				t.Errorf("pair %d has the text %q", b.Rows[i], w)
			}
			for at, encoded := range map[int][]byte{i: s.Image, len(b.Samples) + i: p.Image} {
				if want, _ := m.Preprocess.Eval(encoded); !bytes.Equal(b.Pixels[at*size:(at+1)*size], want) {
					t.Errorf("picture %d of step %d is another one", at, b.Step)
				}
			}
		}
		for i, a := range b.Tokens {
			for j := range i {
				if slices.Equal(a, b.Tokens[j]) {
					t.Errorf("texts %d and %d of step %d are equal", j, i, b.Step)
				}
			}
		}
		task.feed.recycle(b)
	}
}

func TestBrokenPairsAreReplacedAndCounted(t *testing.T) {
	data, o := pictures(16, 3), quick(ARF)
	pool := data.Pool.(*memory)
	broken := map[int]bool{}
	for i := range pool.samples {
		switch i % 12 {
		case 0:
			pool.samples[i].Image = nil
		case 1:
			pool.samples[i].Image = []byte("no picture")
		case 5:
			pool.samples[i].Text, pool.samples[i].Texts = "", nil
		default:
			continue
		}
		broken[i] = true
	}
	// One image has broken pairs only.
	data.Pairs["circle/0.png"] = []PairRef{{Row: 0}, {Row: 1}}
	task := startTask(t, tiny(t), data, o, 0)
	without := 0
	for range 12 {
		b, err := task.feed.next()
		if err != nil {
			t.Fatal(err)
		}
		want := len(b.Samples)
		if slices.Contains(b.Samples, 0) {
			want--
			without++
		}
		if len(b.Rows) != want || len(b.PairTexts) != want {
			t.Errorf("step %d has %d pairs, want %d", b.Step, len(b.Rows), want)
		}
		for i, row := range b.Rows {
			if broken[int(row)] {
				t.Errorf("step %d has the broken pair %d", b.Step, row)
			}
			// Pixels moved up with their row.
			size := task.model.Preprocess.Bytes()
			at := len(b.Samples) + i
			if slices.Max(b.Pixels[at*size:(at+1)*size]) == 0 {
				t.Errorf("pair %d of step %d has no pixels", i, b.Step)
			}
		}
	}
	if without != 3 {
		t.Errorf("the image without usable pairs came %d times", without)
	}
	result := mustRun(t, tiny(t), data, o)
	if got := result.BrokenPairs; got.Count == 0 || got.Count > len(broken) || len(got.First) != got.Count || !strings.Contains(got.First[0], "pool-") {
		t.Errorf("broken pairs: %+v", got)
	}
	for i := range pool.samples {
		pool.samples[i].Image = nil
	}
	if _, err := Run(context.Background(), tiny(t), data, o); err == nil || !strings.Contains(err.Error(), "none of its 4 pairs") {
		t.Errorf("all broken: %v", err)
	}
}

func TestBrokenImagesAreSkippedAndCounted(t *testing.T) {
	data, o := pictures(16, 3), quick(ARF)
	set := data.Finetune.(*memory)
	// Those of the second step of the first epoch and two others.
	order := batchSamples(t, data, o)
	for _, i := range append(slices.Clone(order[1]), order[2][0], order[3][1]) {
		set.samples[i].Image = []byte("no picture")
	}
	result := mustRun(t, tiny(t), data, o)
	if result.Broken.Count != 6 || result.Steps != 12 {
		t.Errorf("result %+v", result)
	}
	whole := batches(t, data, o, 0, 12)
	if !strings.HasPrefix(whole[1], "1 ") || strings.Contains(whole[1], fmt.Sprint(order[1])) {
		t.Error("the step whose images are broken has them")
	}
	for from := 1; from < 4; from++ {
		for i, got := range batches(t, data, o, from, 3) {
			if got != whole[from+i] {
				t.Errorf("from step %d: batch %d differs", from, from+i)
			}
		}
	}
}

func batchSamples(t *testing.T, data Data, o Options) [][]int {
	t.Helper()
	task := startTask(t, tiny(t), data, o, 0)
	var all [][]int
	for range 4 {
		b, err := task.feed.next()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b.Samples)
	}
	return all
}

func TestLongTextsAreCutAndCounted(t *testing.T) {
	data, o := pictures(16, 3), quick(FLYPTCA)
	long := "a red circle in a blue square in a green triangle of a photo"
	fits := "a red circle in a blue square in a shape" // 10 words, with both ends 12
	for key := range data.Captions {
		data.Captions[key] = []string{long, fits}
	}
	result := mustRun(t, tiny(t), data, o)
	if result.Truncated != 1 {
		t.Errorf("%d texts counted as cut, want 1", result.Truncated)
	}
	tok := tokenizer(t)
	ids := tok.Encode(long)
	if len(ids) != tok.ContextLength() || ids[len(ids)-1] != tok.EOS() {
		t.Errorf("cut to %v", ids)
	}
}

func TestTruncationIsToldFromAnExactFit(t *testing.T) {
	tok := tokenizer(t)
	for s, want := range map[string]bool{
		"a red circle": false,
		"a red circle in a blue square in a shape":  false,
		"a red circle in a blue square in a shape.": true,
		strings.Repeat("circle ", 11):               true,
		strings.Repeat("circle ", 10):               false,
	} {
		c := newTruncation(tok)
		c.look(s, len(tok.Encode(s)))
		if got := len(c.seen) == 1; got != want {
			t.Errorf("%q: cut %v, want %v", s, got, want)
		}
	}
}
