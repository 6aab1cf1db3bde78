// Package text turns texts into token ids and back.
//
// Four families of tokenizers are read and written in Hugging Face's form:
// WordPiece (the small models that are trained here, [TrainWordPiece]), CLIP's
// byte-level BPE, SigLIP's SentencePiece unigram model and SigLIP 2's BPE with
// byte fallback. They give the ids that Hugging Face's tokenizers give. OpenAI's
// and open_clip's own tokenizer also cleans the text, which Hugging Face's
// doesn't: [OpenCLIP]. scripts/golden makes the files that the tests compare
// with. Characters newer than their Unicode tables (rare scripts) may differ.
//
// gomlx/go-huggingface reads these files too, but not CLIP's
// tokenizer_config.json, differs in 2 of our 91 golden texts (invisible
// characters, İ) and is 17 to 140 times as slow (v0.4.0), which counts where
// texts are drawn and encoded anew in every step. Of SigLIP's it lacks the
// search for the best pieces, precompiled_charsmap and byte fallback.
package text

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// Tokenizer is safe for concurrent use.
type Tokenizer interface {
	// Encode gives bos … eos, at most ContextLength ids; a longer text is cut
	// before eos. It isn't padded. SigLIP's tokenizers have no bos. The result
	// is the caller's.
	Encode(s string) []int32
	// Decode gives readable text without the special tokens.
	Decode(ids []int32) string
	ContextLength() int
	// VocabSize is the largest id + 1: the rows of the embedding table.
	VocabSize() int
	BOS() int32 // −1: there is none
	EOS() int32
	Pad() int32
	// Save writes tokenizer.json, tokenizer_config.json and
	// special_tokens_map.json (for BPE also vocab.json and merges.txt, for
	// SentencePiece spiece.model in place of tokenizer.json), and removes the
	// files of another tokenizer.
	Save(dir string) error
}

// Special tokens of the tokenizers that are trained here; CLIP's names.
const (
	bosToken = "<|startoftext|>"
	eosToken = "<|endoftext|>"
	padToken = "<|pad|>"
	unkToken = "<|unk|>"
)

// model splits one normalized word into pieces.
type model interface {
	// pieces appends the ids of word.
	pieces(ids []int32, word string) []int32
	// decode joins the pieces' texts into readable text.
	decode(pieces []string) string
	kind() string
	// class is the tokenizer's in transformers, unk its token for what it can't
	// write.
	class(t *tokenizer) (class, unk string)
}

// tokenizer is a pipeline as in Hugging Face's tokenizers: special tokens are
// cut out, the rest is normalized, split into words, and words into pieces.
type tokenizer struct {
	// prepare changes a text before special tokens are cut out; nil: as it is.
	prepare   func(string) string
	normalize func(string) string
	// words calls yield with each word of a normalized text.
	words func(s string, yield func(word string))
	model model

	tokens  []string // by id; "" where there is none
	special map[string]int32
	hidden  map[int32]bool // ids that Decode leaves out
	// raw are the special tokens that are looked for in the text as it is,
	// normalized those that are looked for after normalization.
	raw, normalized []specialToken
	bos, eos, pad   int32 // bos is −1 where there is none
	oneEOS          bool  // a text that ends in eos gets no other
	cleans          bool  // see Cleans
	context         int
	files           map[string][]byte // for Save

	cache cache
}

func (t *tokenizer) ContextLength() int { return t.context }
func (t *tokenizer) VocabSize() int     { return len(t.tokens) }
func (t *tokenizer) BOS() int32         { return t.bos }
func (t *tokenizer) EOS() int32         { return t.eos }
func (t *tokenizer) Pad() int32         { return t.pad }

// specialToken is a token as it stands in texts. Lists have the longest first.
type specialToken struct {
	text string
	id   int32
}

// maxText bounds the bytes of a text that are looked at, before and after each
// step of normalization: a context has a few hundred, a file from the web or a
// normalizer that makes much of little may have gigabytes.
const maxText = 1 << 20

// cut shortens s to maxText, between two characters.
func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	end := maxText
	for end > maxText-utf8.UTFMax && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end]
}

func (t *tokenizer) Encode(s string) []int32 {
	s = cut(s)
	ids := make([]int32, 0, min(t.context, 2+len(s)/2+1))
	if t.bos >= 0 {
		ids = append(ids, t.bos)
	}
	limit := t.context - 1
	if t.prepare != nil {
		s = t.prepare(s)
	}
	ids = splitSpecial(ids, s, limit, t.raw, func(ids []int32, s string) []int32 {
		s = t.normalize(strings.ToValidUTF8(s, "\uFFFD"))
		return splitSpecial(ids, s, limit, t.normalized, func(ids []int32, s string) []int32 {
			return t.appendWords(ids, s, limit)
		})
	})
	if len(ids) > limit {
		ids = ids[:limit]
	}
	if n := len(ids); t.oneEOS && n > 0 && ids[n-1] == t.eos {
		return ids
	}
	return append(ids, t.eos)
}

// splitSpecial appends the ids of the special tokens in s and, by appendText,
// of what is between them, until there are limit ids.
func splitSpecial(ids []int32, s string, limit int, tokens []specialToken, appendText func([]int32, string) []int32) []int32 {
	for len(s) > 0 && len(ids) < limit {
		at, token := nextSpecial(s, tokens)
		if at > 0 {
			ids = appendText(ids, s[:at])
		}
		if at == len(s) {
			break
		}
		ids = append(ids, token.id)
		s = s[at+len(token.text):]
	}
	return ids
}

// nextSpecial finds the first special token in s; at is len(s) if there's none.
func nextSpecial(s string, tokens []specialToken) (at int, found specialToken) {
	at = len(s)
	for _, token := range tokens {
		// The order by length decides between tokens that start at one place.
		if i := strings.Index(s[:min(at+len(token.text)-1, len(s))], token.text); i >= 0 && i < at {
			at, found = i, token
		}
	}
	return at, found
}

// appendWords appends the ids of a normalized text.
func (t *tokenizer) appendWords(ids []int32, s string, limit int) []int32 {
	t.words(s, func(word string) {
		if len(ids) >= limit {
			return
		}
		pieces, ok := t.cache.get(word)
		if !ok {
			pieces = t.model.pieces(nil, word)
			t.cache.put(word, pieces)
		}
		ids = append(ids, pieces...)
	})
	return ids
}

func (t *tokenizer) Decode(ids []int32) string {
	pieces := make([]string, 0, len(ids))
	for _, id := range ids {
		if id < 0 || int(id) >= len(t.tokens) {
			continue
		}
		if token := t.tokens[id]; token != "" && !t.hidden[id] {
			pieces = append(pieces, token)
		}
	}
	return t.model.decode(pieces)
}

func (t *tokenizer) String() string {
	return fmt.Sprintf("%s tokenizer, %d tokens, context %d", t.model.kind(), len(t.tokens), t.context)
}

// cache remembers the pieces of words: texts repeat their words, and splitting
// one costs a hundred times as much as looking it up.
type cache struct {
	words sync.Map // string → []int32
	size  atomic.Int64
}

// Texts from the web have no end of different words, so the cache is bounded,
// and long words aren't kept.
const (
	cacheWords    = 1 << 17
	cacheWordSize = 64
)

func (c *cache) get(word string) ([]int32, bool) {
	v, ok := c.words.Load(word)
	if !ok {
		return nil, false
	}
	return v.([]int32), true
}

func (c *cache) put(word string, pieces []int32) {
	if len(word) > cacheWordSize || c.size.Load() >= cacheWords {
		return
	}
	// The word is a part of a longer text, which it shouldn't keep alive.
	if _, loaded := c.words.LoadOrStore(strings.Clone(word), pieces); !loaded {
		c.size.Add(1)
	}
}
