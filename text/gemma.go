package text

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// fallbackBPE is byte-pair encoding of characters, those without a token
// written as bytes, as in Gemma's tokenizer, which is SigLIP 2's.
type fallbackBPE struct {
	bpe
	letters map[string]int32 // tokens of one character
	bytes   [256]int32
	// tokenBytes has the bytes by their tokens.
	tokenBytes map[string]byte
	unk        string
	// byWord: no merge joins something with a space after it, so that words can
	// be encoded one by one.
	byWord bool
}

func newFallbackBPE(vocab map[string]int32, pairs [][2]string, unk string) (*fallbackBPE, error) {
	m := &fallbackBPE{letters: map[string]int32{}, tokenBytes: map[string]byte{}, unk: unk, byWord: true}
	var err error
	if m.merges, err = mergeTable(vocab, pairs); err != nil {
		return nil, err
	}
	for _, p := range pairs {
		if strings.Contains(strings.TrimLeft(p[0]+p[1], spaceMark), spaceMark) {
			m.byWord = false
		}
	}
	for token, id := range vocab {
		if _, n := utf8.DecodeRuneInString(token); n == len(token) {
			m.letters[token] = id
		}
	}
	for b := range m.bytes {
		token := fmt.Sprintf("<0x%02X>", b)
		id, ok := vocab[token]
		if !ok {
			return nil, fmt.Errorf("vocab: byte_fallback needs %s, which isn't there", token)
		}
		m.bytes[b], m.tokenBytes[token] = id, byte(b)
	}
	return m, nil
}

func (m *fallbackBPE) kind() string { return "BPE with byte fallback" }

func (m *fallbackBPE) class(*tokenizer) (class, unk string) { return "GemmaTokenizerFast", m.unk }

func (m *fallbackBPE) pieces(ids []int32, word string) []int32 {
	start := len(ids)
	for len(word) > 0 {
		_, n := utf8.DecodeRuneInString(word)
		if id, ok := m.letters[word[:n]]; ok {
			ids = append(ids, id)
		} else {
			for i := range n {
				ids = append(ids, m.bytes[word[i]])
			}
		}
		word = word[n:]
	}
	return m.merge(ids, start)
}

// words splits before each run of spaces.
func (m *fallbackBPE) words(s string, yield func(string)) {
	if !m.byWord {
		yield(s)
		return
	}
	for len(s) > 0 {
		head := len(s) - len(strings.TrimLeft(s, spaceMark))
		end := strings.Index(s[head:], spaceMark)
		if end < 0 {
			yield(s)
			return
		}
		yield(s[:head+end])
		s = s[head+end:]
	}
}

// decode writes a run of bytes that isn't UTF-8 as a U+FFFD for each of them, as
// Hugging Face's ByteFallback decoder does.
func (m *fallbackBPE) decode(pieces []string) string {
	var b strings.Builder
	var run []byte
	flush := func() {
		if utf8.Valid(run) {
			b.Write(run)
		} else {
			b.WriteString(strings.Repeat("\uFFFD", len(run)))
		}
		run = run[:0]
	}
	for _, p := range pieces {
		if c, ok := m.tokenBytes[p]; ok {
			run = append(run, c)
			continue
		}
		flush()
		b.WriteString(strings.ReplaceAll(p, spaceMark, " "))
	}
	flush()
	return strings.Trim(b.String(), " ")
}

// gemmaNormalizer lower-cases before normalize: SigLIP 2 was trained on
// lower-cased texts, which its tokenizer.json doesn't say (transformers,
// tokenization_siglip2.py).
func gemmaNormalizer(normalize func(string) string, n names) func(string) string {
	if n.lowercase != nil && !*n.lowercase {
		return normalize
	}
	return func(s string) string { return normalize(lower(s)) }
}

// gemmaEnds are the tokens around a text, "" for none: those of the
// post_processor, over which the config's settings go, as in transformers'
// GemmaTokenizerFast.
func gemmaEnds(bos, eos string, n names) (string, string, error) {
	for _, role := range []struct {
		add   *bool
		token string
		to    *string
		key   string
	}{{n.addBOS, n.bos, &bos, "bos"}, {n.addEOS, n.eos, &eos, "eos"}} {
		if role.add == nil {
			continue
		}
		*role.to = ""
		if *role.add {
			if *role.to = role.token; role.token == "" {
				return "", "", fmt.Errorf("add_%s_token is set in %s, but there is no %s_token", role.key, configFile, role.key)
			}
		}
	}
	if eos == "" {
		return "", "", errors.New("its texts end in no eos token; SigLIP 2's do (add_eos_token in " + configFile + ")")
	}
	return bos, eos, nil
}
