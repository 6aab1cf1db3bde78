package text

import (
	"slices"
	"testing"
)

// Ids by openai/CLIP's SimpleTokenizer.
func TestBuiltInCLIP(t *testing.T) {
	tok, err := CLIP(77)
	if err != nil {
		t.Fatal(err)
	}
	if tok.VocabSize() != CLIPVocabSize || tok.BOS() != 49406 || tok.EOS() != 49407 || !IsCLIP(tok) {
		t.Errorf("%v, bos %d, eos %d", tok, tok.BOS(), tok.EOS())
	}
	for text, want := range map[string][]int32{
		"a photo of a cat":                  {320, 1125, 539, 320, 2368},
		"Two dogs' tails, café & 北京 🙂 3.14": {1237, 3255, 262, 16066, 267, 15304, 261, 161, 234, 245, 21078, 361, 14860, 274, 269, 272, 275},
		"supercalifragilistic":              {1642, 2857, 13093, 2076, 1561},
		"":                                  {},
	} {
		want = append(append([]int32{49406}, want...), 49407)
		if got := tok.Encode(text); !slices.Equal(got, want) {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	dir := t.TempDir()
	if err := tok.Save(dir); err != nil {
		t.Fatal(err)
	}
	again, err := Load(dir, 0)
	if err != nil || !IsCLIP(again) || again.ContextLength() != 77 {
		t.Errorf("%v, %v", again, err)
	}
	words, err := TrainWordPiece(slices.Values([]string{"a b"}), 50, 1, 8)
	if err != nil || IsCLIP(words) {
		t.Errorf("%v, %v", words, err)
	}
}
