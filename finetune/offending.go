package finetune

import (
	"arf/dataset"
	"arf/train"
)

// SaveBatch writes the last step's images and texts; a text is what its tokens
// say: of a finetune image its prompt and its caption.
func (t *task) SaveBatch(dir string) error {
	b := t.last
	if b == nil {
		return nil
	}
	spoken := func(texts []int64, i int) []string {
		if texts == nil {
			return nil
		}
		return []string{t.model.Tokenizer.Decode(b.Tokens[texts[i]])}
	}
	out := train.SavedBatch{Step: b.Step + 1}
	for i, sample := range b.Samples {
		out.Samples = append(out.Samples, train.SavedItem{
			Key: keyOf(t.data.Finetune, sample), Number: sample, Label: &b.Labels[i],
			Texts: append(spoken(b.Prompts, i), spoken(b.Captions, i)...),
		})
	}
	for i, row := range b.Rows {
		out.Pairs = append(out.Pairs, train.SavedItem{Key: keyOf(t.data.Pool, int(row)), Number: int(row), Texts: spoken(b.PairTexts, i)})
	}
	return out.Write(dir, b.Pixels, t.model.Preprocess.ImageSize)
}

func keyOf(d dataset.Dataset, i int) string {
	s, _ := dataset.Describe(d, i) // the key is there in any case
	return s.Key
}
