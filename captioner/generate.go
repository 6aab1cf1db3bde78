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
	Text string `json:"text"` // never empty
	// LogProb is the model's log-probability of the tokens, natural
	// logarithm, the end mark included if it was reached: at temperature 1 and
	// over the whole vocabulary, however the caption was drawn.
	LogProb float64 `json:"log_prob"`
}

// GenerateOptions say how captions are drawn. The zero value gives one greedy
// caption an image.
type GenerateOptions struct {
	N           int     // captions an image; 0 means 1
	Temperature float64 // divides the logits; 0 = greedy, the likeliest token each time (all N captions are equal)
	TopP        float64 // nucleus: the fewest tokens with this probability together, in (0, 1]; 0 means 1
	MaxLength   int     // most tokens of a caption, without its end mark; 0 or too many = what the model has room for
	Seed        int64
}

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
	}
	return nil
}

// rowsAtOnce bounds the captions that are decoded together, and with them the memory.
const rowsAtOnce = 512

// Caption writes o.N captions for each image of pixels [B, H, W, 3], which are
// preprocessed as m.Preprocess says; B is len(keys). The captions of an image
// depend on its pixels, its key and the seed, not on the other images.
func (m *Model) Caption(ctx context.Context, pixels []uint8, keys []string, o GenerateOptions) (captions [][]Caption, err error) {
	defer torch.Catch(&err)
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("caption: %w", err)
	}
	size := m.CLIP.Preprocess.Bytes()
	if len(pixels) != size*len(keys) {
		return nil, fmt.Errorf("caption: %d bytes of pixels for %d images, want %d a image of %d×%d RGB", len(pixels), len(keys), size, m.CLIP.Preprocess.ImageSize, m.CLIP.Preprocess.ImageSize)
	}
	o.N, o.MaxLength = max(o.N, 1), m.maxLength(o.MaxLength)
	if o.TopP == 0 {
		o.TopP = 1
	}
	m.CLIP.SetTraining(false)
	images := max(1, rowsAtOnce/o.N)
	for from := 0; from < len(keys); from += images {
		to := min(from+images, len(keys))
		some, err := m.captionSome(ctx, pixels[from*size:to*size], keys[from:to], o)
		if err != nil {
			return nil, fmt.Errorf("caption: %w", err)
		}
		captions = append(captions, some...)
	}
	return captions, nil
}

// maxLength is how many tokens fit beside bos and eos, at most n if n isn't 0.
func (m *Model) maxLength(n int) int {
	room := m.Decoder.Config.ContextLength - 2
	if n == 0 {
		return room
	}
	return min(n, room)
}

// row is a caption in the making.
type row struct {
	image, sample int
	rng           *rand.Rand
	tokens        []int32
	logProb       float64
	next          int32
}

func (m *Model) captionSome(ctx context.Context, pixels []uint8, keys []string, o GenerateOptions) ([][]Caption, error) {
	samples := o.N
	if o.Temperature == 0 {
		samples = 1
	}
	out := make([][]Caption, len(keys))
	var alive []*row
	for i, key := range keys {
		out[i] = make([]Caption, o.N)
		for s := range samples {
			alive = append(alive, &row{image: i, sample: s, rng: noise(o.Seed, key, s)})
		}
	}
	c := newCache(len(m.Decoder.Blocks))
	defer c.free()
	hidden := m.begin(c, pixels, len(keys))
	defer func() { hidden.Free() }()
	// Cached row of each caption: at first, an image's captions share one.
	from := make([]int64, len(alive))
	for r, a := range alive {
		from[r] = int64(a.image)
	}
	for length := 0; ; length++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		torch.Scope(func() {
			torch.NoGrad(func() {
				if length == 0 && samples > 1 {
					index := torch.From(m.Decoder.device(), from, len(from))
					c.rows(index)
					replace(&hidden, hidden.IndexSelect(0, index))
				}
				m.choose(alive, hidden, length == 0, o)
			})
		})
		still := from[:0]
		kept := alive[:0]
		for r, a := range alive {
			if a.next != m.Tokenizer.EOS() {
				a.tokens = append(a.tokens, a.next)
			}
			if a.next == m.Tokenizer.EOS() || len(a.tokens) == o.MaxLength {
				out[a.image][a.sample] = Caption{Text: tidy(m.Tokenizer.Decode(a.tokens)), LogProb: a.logProb}
				continue
			}
			still, kept = append(still, int64(r)), append(kept, a)
		}
		dropped := len(kept) < len(alive)
		from, alive = still, kept
		if len(alive) == 0 {
			break
		}
		torch.Scope(func() {
			torch.NoGrad(func() {
				d := m.Decoder.device()
				if dropped {
					c.rows(torch.From(d, from, len(from)))
				}
				ids := make([]int64, len(alive))
				for r, a := range alive {
					ids[r] = int64(a.next)
				}
				x := m.Decoder.Embed(torch.From(d, ids, len(ids), 1), length+1)
				replace(&hidden, m.Decoder.extend(c, x, nil).Select(1, 0))
			})
		})
	}
	for i := range out {
		for s := samples; s < o.N; s++ {
			out[i][s] = out[i][0]
		}
	}
	return out, nil
}

// begin decodes the prefixes and bos, and gives the hidden states [B, width]
// that the first token is read from.
func (m *Model) begin(c *cache, pixels []uint8, images int) (hidden *torch.Tensor) {
	torch.Scope(func() {
		torch.NoGrad(func() {
			prefix := m.Decoder.EncodePrefix(look(m.CLIP, m.CLIP.Pixels(pixels, images)))
			bos := make([]int64, images)
			for i := range bos {
				bos[i] = int64(m.Tokenizer.BOS())
			}
			d := m.Decoder.device()
			x := torch.Cat(1, prefix, m.Decoder.Embed(torch.From(d, bos, images, 1), 0))
			p := prefix.Dim(1)
			hidden = m.Decoder.extend(c, x, prefixMask(d, p, 1)).Select(1, p).Contiguous().Keep()
		})
	})
	return hidden
}

// choose draws the next token of each row from hidden states [R, width] and
// adds its log-probability.
func (m *Model) choose(rows []*row, hidden *torch.Tensor, first bool, o GenerateOptions) {
	logits := m.Decoder.Logits(hidden)
	ban := m.banned
	if first {
		ban = m.bannedFirst
	}
	allowed := logits.Add(ban)
	var next []int64
	if o.Temperature == 0 {
		next = torch.To[int64](allowed.ArgMax(-1))
	} else {
		// On the host, since the device's generators can't be seeded a row.
		p := torch.To[float32](allowed.Scale(1 / o.Temperature).Softmax(-1))
		next = draw(rows, p, len(p)/len(rows), o.TopP)
	}
	index := torch.From(hidden.Device(), next, len(rows), 1)
	logProbs := torch.To[float32](logits.LogSoftmax(-1).Gather(-1, index))
	for r, a := range rows {
		a.next = int32(next[r])
		a.logProb += float64(logProbs[r])
	}
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
