package captioner

import (
	"context"
	"fmt"
	"slices"

	"arf/text"
	"arf/torch"
)

// Images are what a captioner is to describe.
type Images struct {
	Keys []string // one an image; samples depend on them
	// Pixels are [len(Keys), size, size, 3] in RGB, preprocessed as the
	// captioner's Preprocess says.
	Pixels []uint8
	// File reads an image as it is stored, for captioners whose Preprocess is
	// zero; others may get nil. It's safe for concurrent use.
	File func(i int) ([]byte, error)
}

// decoding is captions in the making: rows of tokens, in the order of their
// images. It holds tensors outside of scopes.
type decoding interface {
	// logits are the scores of each row's next token, [rows, vocabulary].
	logits() *torch.Tensor
	// keep goes on with the given rows, which may repeat, in the order of their images.
	keep(rows []int64)
	// extend appends a token to each row.
	extend(tokens []int64)
	free()
}

// language is a model that continues texts about images.
type language struct {
	// begin reads the images, rows of preprocessed pixels, and the tokens that
	// all captions begin with; the result has a row an image.
	begin     func(pixels []uint8, images int, start []int64) decoding
	device    torch.Device
	bytes     int // of an image's pixels
	tokenizer text.Tokenizer
	bos, eos  int64
	context   int // most tokens of a text, with bos and eos
	// rowsAtOnce and imagesAtOnce bound what is decoded together, and with it the memory.
	rowsAtOnce, imagesAtOnce int
	// Scores that are added to those of the next token: −Inf for what can't be
	// part of a caption, and, at the first place, can't start one; nil for none.
	banned, bannedFirst *torch.Tensor
}

// draft is what is the same for all captions of a call.
type draft struct {
	*language
	o      GenerateOptions // without zero values that stand for others
	prompt []int32         // tokens
}

// found is a caption's tokens, without prompt and end mark, and their log-probability.
type found struct {
	tokens  []int32
	logProb float64
}

// caption is Caption of all local models.
func (l *language) caption(ctx context.Context, in Images, o GenerateOptions) (captions [][]Caption, err error) {
	defer torch.Catch(&err)
	all, prompt, err := l.generate(ctx, in, o)
	if err != nil {
		return nil, fmt.Errorf("caption: %w", err)
	}
	for _, list := range all {
		var of []Caption
		for _, f := range list {
			of = append(of, Caption{Text: tidy(l.tokenizer.Decode(slices.Concat(prompt, f.tokens))), LogProb: f.logProb})
		}
		captions = append(captions, of)
	}
	return captions, nil
}

// generate gives o.N captions for each image, and the tokens of the prompt.
func (l *language) generate(ctx context.Context, in Images, o GenerateOptions) (all [][]found, prompt []int32, err error) {
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	if len(in.Pixels) != l.bytes*len(in.Keys) {
		return nil, nil, fmt.Errorf("%d bytes of pixels for %d images, want %d an image", len(in.Pixels), len(in.Keys), l.bytes)
	}
	d := draft{language: l, o: o}
	d.o.N, d.o.Beams = max(o.N, 1), max(o.Beams, 1)
	if o.TopP == 0 {
		d.o.TopP = 1
	}
	if o.Prompt != "" {
		ids := l.tokenizer.Encode(o.Prompt)
		d.prompt = ids[1 : len(ids)-1]
	}
	room := l.context - 2 - len(d.prompt)
	if room < 1 {
		return nil, nil, fmt.Errorf("the prompt fills the %d tokens that a text may have; give a shorter one", l.context-2)
	}
	if d.o.MaxLength = min(o.MaxLength, room); o.MaxLength == 0 {
		d.o.MaxLength = room
	}
	some := d.sample
	if d.o.Beams > 1 {
		some = d.search
	}
	images := min(max(1, l.rowsAtOnce/max(d.o.N, d.o.Beams)), l.imagesAtOnce)
	for from := 0; from < len(in.Keys); from += images {
		to := min(from+images, len(in.Keys))
		part, err := some(ctx, in.Pixels[from*l.bytes:to*l.bytes], in.Keys[from:to])
		if err != nil {
			return nil, nil, err
		}
		all = append(all, part...)
	}
	return all, d.prompt, nil
}

// start reads the images and the prompt, without gradients.
func (d *draft) start(pixels []uint8, images int) (c decoding) {
	start := []int64{d.bos}
	for _, id := range d.prompt {
		start = append(start, int64(id))
	}
	step(func() { c = d.begin(pixels, images, start) })
	return c
}

// step runs fn without gradients and frees its tensors.
func step(fn func()) { torch.Scope(func() { torch.NoGrad(fn) }) }
