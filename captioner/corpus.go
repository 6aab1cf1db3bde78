package captioner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"arf/dataset"
)

// corpus is the training side of a dataset: features of its images, made once
// by the frozen tower, and what their captions are made of. Both are in memory:
// a view of an image takes 2 bytes a number of its map and feature.
type corpus struct {
	views   []*features
	sources []source // by sample of the dataset
	rows    []int    // samples that have both image and text
	hash    string   // of keys, texts and images' numbers
}

// readTexts reads the samples' wordings. It fails if none has a text.
func readTexts(ctx context.Context, data dataset.Dataset, w Wording) ([]source, string, error) {
	sum := sha256.New()
	sources := make([]source, data.Len())
	found := 0
	for i := range sources {
		if i%1024 == 0 && ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
		s, err := dataset.Describe(data, i)
		if err != nil || s.Text == "" {
			fmt.Fprintf(sum, "%d none\n", i)
			continue
		}
		texts := s.Texts
		if len(texts) == 0 {
			texts = []string{s.Text}
		}
		fmt.Fprintf(sum, "%q %q %q\n", s.Key, texts, s.Meta["style"])
		sources[i] = newSource(texts, s.Meta, w)
		found++
	}
	if found == 0 {
		return nil, "", errors.New("none of the samples has a text; a captioner is trained on images with captions")
	}
	return sources, hex.EncodeToString(sum.Sum(nil)), nil
}

// usable lists the samples that have text and whose image could be read.
func (c *corpus) usable() error {
	for i, s := range c.sources {
		if len(s.texts) > 0 && c.views[0].row[i] >= 0 {
			c.rows = append(c.rows, i)
		}
	}
	if len(c.rows) == 0 {
		return errors.New("no sample has both a text and a readable image")
	}
	return nil
}
