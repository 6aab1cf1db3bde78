// Package captioner writes captions for images. Captioners are BLIP, read from
// Hugging Face's folders, and a small causal decoder of our own that looks
// through the frozen image tower of a CLIP model, with its training.
//
//	m, err := captioner.Load("models/icon-captioner", torch.CPU, torch.Float32)
//	captions, err := m.Caption(ctx, captioner.Images{Pixels: pixels, Keys: keys}, captioner.GenerateOptions{N: 5, Temperature: 1, TopP: 0.9})
//
// Training is `arf pretrain captioner --clip models/icon-clip --data … --out …`,
// [Train] here.
package captioner

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"arf/clip"
	"arf/imaging"
	"arf/nn"
	"arf/text"
	"arf/torch"
)

// Model is the small captioner with the CLIP whose image tower it looks through. It's
// for one goroutine at a time.
type Model struct {
	Decoder   *Decoder
	CLIP      *clip.Model // may be shared; its weights aren't changed
	Tokenizer text.Tokenizer

	language language
}

// New makes a captioner of zero weights for a CLIP's image tower, with the
// CLIP's tokenizer, on its device. Of c, the sizes of the decoder count; the
// fields that follow from the CLIP are filled in. towerPath is recorded for Load.
func New(m *clip.Model, c Config, towerPath string) (_ *Model, err error) {
	defer torch.Catch(&err)
	if err := checkTower(m.Config); err != nil {
		return nil, err
	}
	c.ModelType = modelType
	c.VocabSize, c.ContextLength = m.Tokenizer.VocabSize(), m.Tokenizer.ContextLength()
	c.Tower = TowerConfig{Path: towerPath}
	c.Tower.Tokens, c.Tower.TokenWidth, c.Tower.FeatureWidth = towerShape(m.Config)
	if c.Tower.SHA256, err = TowerHash(m); err != nil {
		return nil, err
	}
	d, err := NewDecoder(c)
	if err != nil {
		return nil, fmt.Errorf("captioner: %w", err)
	}
	return assemble(d, m, m.Tokenizer), nil
}

func assemble(d *Decoder, c *clip.Model, tokenizer text.Tokenizer) *Model {
	nn.Move(d, c.Device())
	m := &Model{Decoder: d, CLIP: c, Tokenizer: tokenizer}
	anywhere, first := bans(tokenizer)
	m.language = language{
		begin: m.begin, device: c.Device(), bytes: c.Preprocess.Bytes(), tokenizer: tokenizer,
		bos: int64(tokenizer.BOS()), eos: int64(tokenizer.EOS()), context: d.Config.ContextLength,
		rowsAtOnce: 512, imagesAtOnce: 512,
		banned:      torch.From(c.Device(), anywhere, len(anywhere)).Keep(),
		bannedFirst: torch.From(c.Device(), first, len(first)).Keep(),
	}
	return m
}

// bans gives 0 or −Inf by token id: for any place of a caption, and for its
// first, where the end mark and what has no letter or sign of its own would
// make an empty caption.
func bans(tokenizer text.Tokenizer) (anywhere, first []float32) {
	n := tokenizer.VocabSize()
	anywhere, first = make([]float32, n), make([]float32, n)
	for id := range int32(n) {
		token := tokenizer.Decode([]int32{id})
		if token == "" && id != tokenizer.EOS() {
			anywhere[id] = negativeInfinity
		}
		if tidy(token) == "" || strings.ContainsRune(token, utf8.RuneError) {
			first[id] = negativeInfinity
		}
	}
	return anywhere, first
}

// Preprocess is how images become Caption's pixels.
func (m *Model) Preprocess() imaging.Preprocess { return m.CLIP.Preprocess }

// Caption writes o.N captions for each image. The captions of an image depend on
// its pixels, its key and the seed, not on the other images.
func (m *Model) Caption(ctx context.Context, images Images, o GenerateOptions) ([][]Caption, error) {
	m.CLIP.SetTraining(false)
	return m.language.caption(ctx, images, o)
}

// tidy undoes the spaces that tokenizers put around punctuation, and takes off
// what a caption that was cut short ends in.
func tidy(s string) string {
	s = joinPunctuation.Replace(strings.TrimSpace(s))
	return strings.TrimSpace(strings.TrimRight(strings.TrimLeft(s, ",;:.!?-' "), ",;:-' "))
}

var joinPunctuation = strings.NewReplacer(
	" ,", ",", " .", ".", " ;", ";", " :", ":", " !", "!", " ?", "?", " ' ", "'", " - ", "-")
