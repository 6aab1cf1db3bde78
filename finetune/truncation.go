package finetune

import (
	"hash/fnv"
	"log/slog"
	"strings"

	"arf/text"
)

// truncation counts different texts that are longer than the context and warns
// at the first. The tokenizer cuts them before the end-of-text token.
type truncation struct {
	tokenizer text.Tokenizer
	seen      map[uint64]bool // hashes, as a pool may have millions
}

func newTruncation(t text.Tokenizer) *truncation {
	return &truncation{tokenizer: t, seen: map[uint64]bool{}}
}

// look is given a text and the number of its tokens after cutting.
func (t *truncation) look(s string, tokens int) {
	if tokens < t.tokenizer.ContextLength() {
		return
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	key := h.Sum64()
	if t.seen[key] || !t.longer(s) {
		return
	}
	t.seen[key] = true
	if len(t.seen) == 1 {
		slog.Warn("a text is longer than the model's context and is cut; such texts are counted from here on",
			"tokens", t.tokenizer.ContextLength(), "text", s)
	}
}

// longer tells whether a text that fills the context was cut. Words are
// tokenized one by one in every tokenizer that this project reads, so their
// tokens add up; only a single word that fills the context can't be told.
func (t *truncation) longer(s string) bool {
	ends := len(t.tokenizer.Encode("")) // bos, where there is one, and eos
	n := ends
	for word := range strings.FieldsSeq(s) {
		if n += len(t.tokenizer.Encode(word)) - ends; n > t.tokenizer.ContextLength() {
			return true
		}
	}
	return false
}
