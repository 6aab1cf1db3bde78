package pretrain

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"arf/clip"
	"arf/dataset"
	"arf/text"
)

// NewModel makes the model that c describes, with zero weights, and its
// tokenizer, learned from all wordings of the pairs. The tokenizer is kept in
// dir, so that a resumed run doesn't learn it again.
func NewModel(c Config, pairs dataset.Dataset, dir string) (*clip.Model, error) {
	folder := filepath.Join(dir, "tokenizer")
	tokenizer, err := text.Load(folder, c.Tokenizer.ContextLength)
	if err != nil {
		if _, missing := os.Stat(folder); !errors.Is(missing, os.ErrNotExist) {
			return nil, err
		}
		if tokenizer, err = learnTokenizer(c, pairs); err != nil {
			return nil, err
		}
		if err := tokenizer.Save(folder); err != nil {
			return nil, err
		}
	}
	m, err := clip.New(c.clipConfig(tokenizer.VocabSize(), int(tokenizer.EOS()), int(tokenizer.Pad())))
	if err != nil {
		return nil, err
	}
	m.Tokenizer = tokenizer
	return m, nil
}

func learnTokenizer(c Config, pairs dataset.Dataset) (text.Tokenizer, error) {
	var failed error
	tokenizer, err := text.TrainWordPiece(func(yield func(string) bool) {
		for i := range pairs.Len() {
			s, err := pairs.Sample(i)
			if err != nil {
				failed = err
				continue // a broken sample; the loader counts and names them
			}
			for _, wording := range s.Texts {
				if !yield(wording) {
					return
				}
			}
		}
	}, c.Tokenizer.VocabSize, c.Tokenizer.MinCount, c.Tokenizer.ContextLength)
	if err != nil && failed != nil {
		err = fmt.Errorf("%w; broken sample: %w", err, failed)
	}
	return tokenizer, err
}
