package anchor

import (
	"context"
	"slices"
	"strings"

	"arf/captioner"
	"arf/imaging"
)

// PairCaptioner says of an image what the texts of its retrieved pairs say:
// retrieval captioning. It makes nothing up and needs no captioner, and knows
// only what the pool says.
type PairCaptioner struct {
	texts map[string][]string // different ones, but for case, of each image's key, nearest first
}

// NewPairCaptioner takes the texts from a list of pairs, which should have more
// of them for each image than captions are wanted, as texts repeat.
func NewPairCaptioner(pairs []Pair) *PairCaptioner {
	c := &PairCaptioner{texts: map[string][]string{}}
	for _, p := range pairs {
		if !slices.ContainsFunc(c.texts[p.QueryKey], func(t string) bool { return strings.EqualFold(t, p.Text) }) {
			c.texts[p.QueryKey] = append(c.texts[p.QueryKey], p.Text)
		}
	}
	return c
}

// Preprocess is zero: it needs no pixels.
func (c *PairCaptioner) Preprocess() imaging.Preprocess { return imaging.Preprocess{} }

// Caption gives the o.N nearest texts of each image, fewer where there are fewer;
// the rest of o says nothing to it. Texts have no log-probability.
func (c *PairCaptioner) Caption(_ context.Context, images captioner.Images, o captioner.GenerateOptions) ([][]captioner.Caption, error) {
	out := make([][]captioner.Caption, len(images.Keys))
	for i, key := range images.Keys {
		texts := c.texts[key]
		for _, text := range texts[:min(len(texts), max(o.N, 1))] {
			out[i] = append(out[i], captioner.Caption{Text: text, NoLogProb: true})
		}
	}
	return out, nil
}
