package text

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// clipMerges is merges.txt of CLIP's tokenizer: the 48,894 merges that CLIP
// uses of openai/CLIP's bpe_simple_vocab_16e6.txt (MIT; clip_merges.LICENSE).
//
//go:embed clip_merges.txt.gz
var clipMerges []byte

// CLIPVocabSize is the number of tokens of CLIP's tokenizer.
const CLIPVocabSize = 49408

// CLIP is the tokenizer of OpenAI's CLIP, which nearly all CLIPs share, built
// in for checkpoints that come without one. contextLength is 77 in OpenAI's.
func CLIP(contextLength int) (Tokenizer, error) {
	r, err := gzip.NewReader(bytes.NewReader(clipMerges))
	if err != nil {
		return nil, fmt.Errorf("CLIP's merges: %w", err)
	}
	merges, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("CLIP's merges: %w", err)
	}
	vocab, err := clipVocab(merges)
	if err != nil {
		return nil, err
	}
	return fromFiles(map[string][]byte{vocabFile: vocab, mergesFile: merges}, contextLength)
}

// clipVocab numbers the tokens as openai/CLIP's simple_tokenizer.py does: the
// bytes, printable ones first, the same at the end of a word, the merges, the
// special tokens.
func clipVocab(merges []byte) ([]byte, error) {
	pairs, err := readMerges(merges)
	if err != nil {
		return nil, err
	}
	var letters []string
	for _, moved := range []bool{false, true} {
		for b, letter := range byteLetters {
			if (letter != string(rune(b))) == moved {
				letters = append(letters, letter)
			}
		}
	}
	vocab := orderedVocab{}
	add := func(token string) { vocab[token] = int32(len(vocab)) }
	for _, suffix := range []string{"", "</w>"} {
		for _, letter := range letters {
			add(letter + suffix)
		}
	}
	for _, p := range pairs {
		add(p[0] + p[1])
	}
	add(bosToken)
	add(eosToken)
	return json.Marshal(vocab)
}

// IsCLIP tells whether t has CLIP's vocabulary, by its size and its first,
// middle and last tokens.
func IsCLIP(t Tokenizer) bool {
	b, ok := t.(*tokenizer)
	if !ok || len(b.tokens) != CLIPVocabSize {
		return false
	}
	_, bpe := b.model.(*bpe)
	return bpe && b.tokens[0] == "!" && b.tokens[320] == "a</w>" && b.tokens[CLIPVocabSize-1] == eosToken
}

// bpeFiles adds vocab.json and merges.txt, which transformers' older
// tokenizers read, to those of a BPE that came as tokenizer.json alone.
func bpeFiles(files map[string][]byte) error {
	if files[vocabFile] != nil && files[mergesFile] != nil {
		return nil
	}
	var file struct {
		Model struct {
			Vocab  orderedVocab    `json:"vocab"`
			Merges json.RawMessage `json:"merges"`
		} `json:"model"`
	}
	if err := json.Unmarshal(files[tokenizerFile], &file); err != nil {
		return err
	}
	pairs, err := parseMerges(file.Model.Merges)
	if err != nil {
		return err
	}
	var merges strings.Builder
	merges.WriteString("#version: 0.2\n")
	for _, p := range pairs {
		fmt.Fprintf(&merges, "%s %s\n", p[0], p[1])
	}
	vocab, err := json.Marshal(file.Model.Vocab)
	if err != nil {
		return err
	}
	files[vocabFile], files[mergesFile] = vocab, []byte(merges.String())
	return nil
}
