package captioner

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"

	"arf/torch"
)

var negativeInfinity = float32(math.Inf(-1))

// Caption is one caption of an image.
type Caption struct {
	// Text is "" where the captioner has nothing to say; that of the small
	// decoder never is.
	Text string `json:"text"`
	// LogProb is the model's log-probability of the tokens, natural
	// logarithm, the end mark included if it was reached: at temperature 1 and
	// over the whole vocabulary, however the caption was drawn.
	LogProb float64 `json:"log_prob"`
	// NoLogProb tells that the captioner gives none.
	NoLogProb bool `json:"-"`
	// Usage of a captioner that is metered.
	Usage Usage `json:"-"`
	// Refusal is why an endpoint captions this image not, in the server's words.
	Refusal string `json:"-"`
}

// GenerateOptions say how captions are drawn. The zero value gives one greedy
// caption an image.
type GenerateOptions struct {
	N           int     // captions an image; 0 means 1
	Temperature float64 // divides the logits; 0 = greedy, the likeliest token each time (all N captions are equal)
	TopP        float64 // nucleus: the fewest tokens with this probability together, in (0, 1]; 0 means 1
	MaxLength   int     // most tokens of a caption, without its end mark and the prompt; 0 or too many = what the model has room for
	Seed        int64
	// Beams above 1 search for the likeliest captions (beam search) in place of
	// drawing them: the N best of so many, N ≤ Beams, at temperature 0.
	Beams int `json:",omitempty"`
	// Prompt is what each caption begins with; of an endpoint, the instruction.
	Prompt string `json:",omitempty"`
}

// maxBeams bounds a search's memory.
const maxBeams = 64

func (o GenerateOptions) check() error {
	switch {
	case o.N < 0:
		return fmt.Errorf("captions an image %d: want 1 or more", o.N)
	case !(o.Temperature >= 0) || math.IsInf(o.Temperature, 0):
		return fmt.Errorf("temperature %g: want 0 (greedy) or a positive number", o.Temperature)
	case !(o.TopP >= 0 && o.TopP <= 1):
		return fmt.Errorf("top_p %g: want a number in (0, 1]", o.TopP)
	case o.MaxLength < 0:
		return fmt.Errorf("max_length %d: want 1 or more tokens, or 0 for the most possible", o.MaxLength)
	case o.Beams < 0 || o.Beams > maxBeams:
		return fmt.Errorf("beams %d: want 1 to %d", o.Beams, maxBeams)
	case o.Beams > 1 && o.Temperature > 0:
		return fmt.Errorf("beams %d with temperature %g: beam search draws nothing; set temperature to 0, or beams to 1", o.Beams, o.Temperature)
	case o.Beams > 1 && o.N > o.Beams:
		return fmt.Errorf("captions an image %d of %d beams: want at most as many", o.N, o.Beams)
	}
	return nil
}

// row is a caption in the making.
type row struct {
	image, sample int
	rng           *rand.Rand
	tokens        []int32
	logProb       float64
	next          int32
}

// sample draws o.N captions for each image, or takes the likeliest token each time.
func (d *draft) sample(ctx context.Context, pixels []uint8, keys []string) ([][]found, error) {
	samples := d.o.N
	if d.o.Temperature == 0 {
		samples = 1
	}
	out := make([][]found, len(keys))
	var alive []*row
	var from []int64 // decoded row of each caption: at first, an image's captions share one
	for i, key := range keys {
		out[i] = make([]found, d.o.N)
		for s := range samples {
			alive = append(alive, &row{image: i, sample: s, rng: noise(d.o.Seed, key, s)})
			from = append(from, int64(i))
		}
	}
	c := d.start(pixels, len(keys))
	defer c.free()
	for first := true; ; first = false {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		step(func() {
			if first && samples > 1 {
				c.keep(from)
			}
			d.choose(alive, c.logits(), first)
		})
		still := from[:0]
		kept := alive[:0]
		for r, a := range alive {
			ended := int64(a.next) == d.eos
			if !ended {
				a.tokens = append(a.tokens, a.next)
			}
			if ended || len(a.tokens) == d.o.MaxLength {
				out[a.image][a.sample] = found{a.tokens, a.logProb}
				continue
			}
			still, kept = append(still, int64(r)), append(kept, a)
		}
		dropped := len(kept) < len(alive)
		from, alive = still, kept
		if len(alive) == 0 {
			break
		}
		step(func() {
			if dropped {
				c.keep(from)
			}
			next := make([]int64, len(alive))
			for r, a := range alive {
				next[r] = int64(a.next)
			}
			c.extend(next)
		})
	}
	for i := range out {
		for s := samples; s < d.o.N; s++ {
			out[i][s] = out[i][0]
		}
	}
	return out, nil
}

// choose draws the next token of each row from logits [R, vocabulary] and adds
// its log-probability.
func (d *draft) choose(rows []*row, logits *torch.Tensor, first bool) {
	allowed := d.allowed(logits, first)
	var next []int64
	if d.o.Temperature == 0 {
		next = torch.To[int64](allowed.ArgMax(-1))
	} else {
		// On the host, since the device's generators can't be seeded a row.
		p := torch.To[float32](allowed.Scale(1 / d.o.Temperature).Softmax(-1))
		next = draw(rows, p, len(p)/len(rows), d.o.TopP)
	}
	index := torch.From(d.device, next, len(rows), 1)
	logProbs := torch.To[float32](logits.LogSoftmax(-1).Gather(-1, index))
	for r, a := range rows {
		a.next = int32(next[r])
		a.logProb += float64(logProbs[r])
	}
}

// allowed gives −Inf to what can't come next; first is the place after the prompt.
func (l *language) allowed(scores *torch.Tensor, first bool) *torch.Tensor {
	ban := l.banned
	if first {
		ban = l.bannedFirst
	}
	if ban == nil {
		return scores
	}
	return scores.Add(ban)
}

// draw samples a token for each row from its probabilities p [rows, vocabulary].
func draw(rows []*row, p []float32, vocabulary int, topP float64) []int64 {
	next := make([]int64, len(rows))
	workers := min(runtime.GOMAXPROCS(0), len(rows))
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			var s sampler
			for r := w; r < len(rows); r += workers {
				next[r] = int64(s.nucleus(p[r*vocabulary:(r+1)*vocabulary], topP, rows[r].rng.Float64()))
			}
		})
	}
	wg.Wait()
	return next
}

var errNoText = errors.New("a text without words")

// LogProb gives the log-probabilities of texts [B] as captions of pixels
// [B, H, W, 3], as in Caption: of the tokens and the end mark.
func (m *Model) LogProb(pixels []uint8, texts []string) (logProbs []float64, err error) {
	defer torch.Catch(&err)
	size := m.CLIP.Preprocess.Bytes()
	if len(pixels) != size*len(texts) {
		return nil, fmt.Errorf("score captions: %d bytes of pixels for %d texts, want %d each", len(pixels), len(texts), size)
	}
	ids := make([][]int32, len(texts))
	for i, s := range texts {
		if ids[i] = m.Tokenizer.Encode(s); len(ids[i]) < 3 {
			return nil, fmt.Errorf("score caption %d %q: %w", i, s, errNoText)
		}
	}
	m.CLIP.SetTraining(false)
	torch.Scope(func() {
		torch.NoGrad(func() {
			t := m.Decoder.targets(ids)
			logits := m.Decoder.Logits(m.Decoder.hiddenAt(look(m.CLIP, m.CLIP.Pixels(pixels, len(texts))), t, nil))
			each := torch.To[float32](logits.LogSoftmax(-1).Gather(-1, t.next.Unsqueeze(1)))
			logProbs = make([]float64, len(texts))
			for i, lp := range each {
				logProbs[t.row[i]] += float64(lp)
			}
		})
	})
	return logProbs, nil
}
