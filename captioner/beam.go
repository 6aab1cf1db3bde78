package captioner

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"arf/torch"
)

// beams are the unfinished captions of one image, and its best finished ones.
type beams struct {
	image    int
	open     []beam // in falling order of score
	finished []hypothesis
	worst    float64 // score of the finished ones
}

type beam struct {
	tokens []int32
	score  float32 // sum of log-probabilities
	from   int64   // row that it goes on from
}

type hypothesis struct {
	found
	score float64 // logProb by length, which the best is chosen by
}

// search finds the captions of the highest log-probability a token, end mark
// included, that beam search finds: each step goes on with the d.o.Beams
// likeliest of all continuations (Sutskever et al. 2014, §3.2). When to stop and
// what counts as a token is as in transformers 4.46 (generation/beam_search.py,
// early_stopping false, length_penalty 1).
func (d *draft) search(ctx context.Context, pixels []uint8, keys []string) ([][]found, error) {
	width := d.o.Beams
	out := make([][]found, len(keys))
	alive := make([]*beams, len(keys))
	rows := make([]int64, 0, len(keys)*width)
	for i := range keys {
		alive[i] = &beams{image: i, worst: math.Inf(1), open: make([]beam, width)}
		for b := range width {
			rows = append(rows, int64(i))
			if b > 0 { // all begin alike, so that only the first counts
				alive[i].open[b].score = -1e9
			}
		}
	}
	c := d.start(pixels, len(keys))
	defer c.free()
	step(func() { c.keep(rows) })
	for length := 1; ; length++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var scores []float32
		var places []int64
		vocabulary := int64(0)
		step(func() { scores, places, vocabulary = d.continuations(alive, c.logits(), length == 1) })
		var still []*beams
		rows = rows[:0]
		var next []int64
		for i, b := range alive {
			n := 2 * width
			ended, err := b.advance(scores[i*n:(i+1)*n], places[i*n:(i+1)*n], vocabulary, d.eos, length)
			if err != nil {
				return nil, err
			}
			if !ended && length == d.o.MaxLength {
				for _, u := range b.open {
					b.finish(u.tokens, u.score, length, width)
				}
			}
			if ended || length == d.o.MaxLength {
				out[b.image] = d.best(b)
				continue
			}
			still = append(still, b)
			for _, u := range b.open {
				rows = append(rows, int64(i*width)+u.from)
				next = append(next, int64(u.tokens[len(u.tokens)-1]))
			}
		}
		if alive = still; len(alive) == 0 {
			return out, nil
		}
		step(func() {
			c.keep(rows)
			c.extend(next)
		})
	}
}

// continuations gives each image's 2·beams likeliest ones, one more than can end:
// their scores in falling order, and their places, beam·vocabulary + token.
func (d *draft) continuations(alive []*beams, logits *torch.Tensor, first bool) (scores []float32, places []int64, vocabulary int64) {
	var before []float32
	for _, b := range alive {
		for _, u := range b.open {
			before = append(before, u.score)
		}
	}
	all := d.allowed(logits.LogSoftmax(-1), first).Add(torch.From(d.device, before, len(before), 1))
	v, at := all.Reshape(len(alive), -1).TopK(2 * d.o.Beams)
	return torch.To[float32](v), torch.To[int64](at), int64(logits.Dim(1))
}

// advance takes the continuations of an image into account; true is the end.
func (b *beams) advance(scores []float32, places []int64, vocabulary, eos int64, length int) (ended bool, err error) {
	width := len(b.open)
	next := make([]beam, 0, width)
	for rank := range scores {
		if len(next) == width {
			break
		}
		from, token := places[rank]/vocabulary, places[rank]%vocabulary
		tokens := b.open[from].tokens
		switch {
		case math.IsInf(float64(scores[rank]), 0) || math.IsNaN(float64(scores[rank])):
			return false, fmt.Errorf("a continuation has the log-probability %g; the model's weights are damaged, or it has fewer words than %d beams need", scores[rank], width)
		case token != eos:
			next = append(next, beam{tokens: append(slices.Clip(tokens), int32(token)), score: scores[rank], from: from})
		case rank < width:
			b.finish(tokens, scores[rank], length, width)
		}
	}
	b.open = next
	// No unfinished one gets better by going on, or so it's guessed.
	return len(b.finished) == width && b.worst >= float64(scores[0])/float64(length), nil
}

// finish keeps a caption of so many tokens, with its end mark, if it's among the best.
func (b *beams) finish(tokens []int32, logProb float32, length, width int) {
	h := hypothesis{found: found{tokens, float64(logProb)}, score: float64(logProb) / float64(length)}
	if len(b.finished) == width && h.score <= b.worst {
		return
	}
	if b.finished = append(b.finished, h); len(b.finished) > width {
		worst := 0
		for i, f := range b.finished {
			if f.score < b.finished[worst].score {
				worst = i
			}
		}
		b.finished = slices.Delete(b.finished, worst, worst+1)
	}
	b.worst = math.Inf(1)
	for _, f := range b.finished {
		b.worst = min(b.worst, f.score)
	}
}

// best gives the d.o.N best.
func (d *draft) best(b *beams) []found {
	slices.SortStableFunc(b.finished, func(x, y hypothesis) int { return cmp.Compare(y.score, x.score) })
	best := make([]found, d.o.N)
	for i := range best {
		best[i] = b.finished[i].found
	}
	return best
}
