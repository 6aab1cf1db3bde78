package text

import (
	"cmp"
	"fmt"
	"strings"
	"unicode"
)

// asciiPunctuation is Python's string.punctuation.
const asciiPunctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// siglip is the unigram model as transformers' SiglipTokenizer uses it: behind
// the text "<unk>", whose pieces are dropped, as SentencePiece would drop a
// space that a text begins with.
type siglip struct {
	*unigram
	unkText   string
	unkPieces int
}

func (m *siglip) kind() string { return "SentencePiece unigram" }

func (m *siglip) class(*tokenizer) (class, unk string) { return "SiglipTokenizer", m.unkText }

func (m *siglip) pieces(ids []int32, s string) []int32 {
	start := len(ids)
	ids = m.unigram.pieces(ids, s)
	if len(ids)-start < m.unkPieces {
		return ids
	}
	return append(ids[:start], ids[start+m.unkPieces:]...)
}

// newSiglip makes transformers' SiglipTokenizer (tokenization_siglip.py) of its
// spiece.model: texts are lower-cased and lose ASCII punctuation.
func newSiglip(content []byte, n names) (*tokenizer, error) {
	sp, err := parseSentencePiece(content)
	if err != nil {
		return nil, err
	}
	t := &tokenizer{special: map[string]int32{}, hidden: map[int32]bool{}, bos: -1, oneEOS: true}
	known := make(map[string]int32, len(sp.pieces))
	for id, p := range sp.pieces {
		if old, twice := known[p.text]; twice {
			return nil, fmt.Errorf("pieces %d and %d are both %q", old, id, p.text)
		}
		known[p.text] = int32(id)
		if p.kind == controlPiece || p.kind == unknownPiece {
			t.hidden[int32(id)] = true
		}
		t.tokens = append(t.tokens, p.text)
	}
	// User-defined pieces at the end, which no text has, may have no embedding.
	for n := len(t.tokens); n > 0 && sp.pieces[n-1].kind == userPiece; n-- {
		delete(known, t.tokens[n-1])
		t.tokens = t.tokens[:n-1]
	}
	for token, id := range n.added {
		if old, ok := known[token]; ok && old != id {
			return nil, fmt.Errorf("added_tokens_decoder of %s gives %q the id %d, the model %d", configFile, token, id, old)
		}
		if err := t.place(token, id); err != nil {
			return nil, fmt.Errorf("added_tokens_decoder of %s: %w", configFile, err)
		}
		known[token], t.special[token], t.hidden[id] = id, id, true
	}
	eos, unk := cmp.Or(n.eos, "</s>"), cmp.Or(n.unk, "<unk>")
	pad := cmp.Or(n.pad, eos)
	for _, token := range []string{eos, unk, pad} {
		id, ok := known[token]
		if !ok {
			return nil, fmt.Errorf("%q, a special token of %s, is not a piece", token, configFile)
		}
		t.special[token], t.hidden[id] = id, true
	}
	t.eos, t.pad = known[eos], known[pad]
	for token, id := range t.special {
		t.raw = append(t.raw, specialToken{token, id})
	}
	sortSpecial(t.raw)

	lowercase := n.lowercase == nil || *n.lowercase
	if lowercase {
		for token := range t.special {
			if lower(token) != token {
				return nil, fmt.Errorf("the special token %q of %s has capitals, and do_lower_case is on: this isn't supported", token, configFile)
			}
		}
	}
	t.prepare = func(s string) string {
		s = spaceMark + strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), spaceMark, " ")
		if lowercase {
			s = lower(s)
		}
		return s
	}
	t.normalize = func(s string) string { return sp.normalize(unk + canonical(s)) }
	t.words = func(s string, yield func(string)) { yield(s) }
	u := newUnigram(sp)
	t.model = &siglip{unigram: u, unkText: unk, unkPieces: len(u.pieces(nil, sp.normalize(unk)))}
	return t, nil
}

// canonical drops ASCII punctuation and brings white space to single spaces
// between words (google-research/big_vision, prompt_engineering.py).
func canonical(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r < 0x80 && strings.ContainsRune(asciiPunctuation, r):
			return -1
		case unicode.IsSpace(r) || r >= 0x1C && r <= 0x1F: // Python's str.isspace
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == ' ' }), " ")
}
