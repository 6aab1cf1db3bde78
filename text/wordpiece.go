package text

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"
)

// continuing marks the pieces that don't start a word.
const continuing = "##"

// maxWord is the longest word in characters that is split; longer ones are
// unknown. BERT's value.
const maxWord = 100

// wordPiece splits words greedily into their longest known prefixes (Devlin et
// al. 2019).
type wordPiece struct {
	vocab   map[string]int32 // pieces that start a word, and special tokens
	inner   map[string]int32 // continuing pieces, without their prefix
	prefix  string
	unk     int32
	maxWord int
	// longest piece in bytes: no use to look for longer ones
	longest int
}

func newWordPiece(vocab map[string]int32, prefix string, unk int32, maxWord int) *wordPiece {
	m := &wordPiece{vocab: vocab, inner: map[string]int32{}, prefix: prefix, unk: unk, maxWord: maxWord}
	for piece, id := range vocab {
		m.longest = max(m.longest, len(piece))
		if rest, ok := strings.CutPrefix(piece, prefix); ok {
			m.inner[rest] = id
		}
	}
	return m
}

func (m *wordPiece) kind() string { return "WordPiece" }

func (m *wordPiece) class(t *tokenizer) (class, unk string) {
	return "PreTrainedTokenizerFast", t.tokens[m.unk]
}

func (m *wordPiece) pieces(ids []int32, word string) []int32 {
	if utf8.RuneCountInString(word) > m.maxWord {
		return append(ids, m.unk)
	}
	before := len(ids)
	table := m.vocab
	for len(word) > 0 {
		end := min(len(word), m.longest)
		for ; end > 0; end-- {
			if end < len(word) && !utf8.RuneStart(word[end]) {
				continue
			}
			if id, ok := table[word[:end]]; ok {
				ids = append(ids, id)
				break
			}
		}
		if end <= 0 {
			return append(ids[:before], m.unk)
		}
		word, table = word[end:], m.inner
	}
	return ids
}

func (m *wordPiece) decode(pieces []string) string {
	var b strings.Builder
	for i, p := range pieces {
		if rest, ok := strings.CutPrefix(p, m.prefix); ok {
			b.WriteString(rest)
			continue
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(p)
	}
	return b.String()
}

// TrainWordPiece makes a vocabulary of at most size pieces (special tokens
// included) for short texts: every character that occurs, then whole words
// that occur at least minCount times, commonest first, then the endings that
// are left when rarer words are split. So no text of the corpus has an unknown
// piece. Texts are lower-cased and accents stripped, as by BERT.
func TrainWordPiece(texts iter.Seq[string], size, minCount, contextLength int) (Tokenizer, error) {
	if contextLength < 3 {
		return nil, fmt.Errorf("train tokenizer: context length %d: must be at least 3", contextLength)
	}
	normalizer := bertNormalizer{cleanText: true, chineseChars: true, stripAccents: true, lowercase: true}
	words, starts, inners := map[string]int{}, map[string]int{}, map[string]int{}
	for s := range texts {
		bertWords(normalizer.apply(s), func(w string) { words[strings.Clone(w)]++ })
	}
	if len(words) == 0 {
		return nil, errors.New("train tokenizer: the texts have no words")
	}
	for w, n := range words {
		for i, r := range w {
			if c := string(r); i == 0 {
				starts[c] += n
			} else {
				inners[c] += n
			}
		}
	}
	// Letters get a piece for either place, so that new words can be spelled.
	for c := range starts {
		if r, _ := utf8.DecodeRuneInString(c); !punctuation(r) && !chinese(r) {
			inners[c] += 0
		}
	}
	for c := range inners {
		starts[c] += 0
	}
	tokens := []string{padToken, unkToken}
	if need := len(tokens) + len(starts) + len(inners) + 2; need > size {
		return nil, fmt.Errorf("train tokenizer: a vocabulary of %d is too small: the characters of the texts alone need %d", size, need)
	}
	tokens = append(tokens, sortedKeys(starts)...)
	for _, c := range sortedKeys(inners) {
		tokens = append(tokens, continuing+c)
	}
	known := make(map[string]int32, size)
	for i, t := range tokens {
		known[t] = int32(i)
	}
	add := func(piece string) {
		if _, ok := known[piece]; !ok && len(tokens) < size-2 {
			known[piece] = int32(len(tokens))
			tokens = append(tokens, piece)
		}
	}
	ranked := byCount(words)
	for _, w := range ranked {
		if words[w] >= minCount && utf8.RuneCountInString(w) <= maxWord {
			add(w)
		}
	}
	if len(tokens) < size-2 {
		for _, ending := range byCountAtLeast(endings(words, known), max(minCount, 2)) {
			add(continuing + ending)
		}
	}
	// The end mark has the largest id, as in CLIP: some programs look for it by
	// the maximum.
	tokens = append(tokens, bosToken, eosToken)
	t, err := fromFiles(wordPieceFiles(tokens, contextLength), contextLength)
	if err != nil {
		return nil, fmt.Errorf("train tokenizer: %w", err)
	}
	return t, nil
}

// endings counts what is left of the words that aren't known after their
// longest known beginning of at least two characters.
func endings(words map[string]int, known map[string]int32) map[string]int {
	counts := map[string]int{}
	for w, n := range words {
		if _, ok := known[w]; ok {
			continue
		}
		for end := len(w) - 1; end > 0; end-- {
			if !utf8.RuneStart(w[end]) {
				continue
			}
			if _, ok := known[w[:end]]; ok {
				if rest := w[end:]; utf8.RuneCountInString(rest) > 1 && utf8.RuneCountInString(w[:end]) > 1 {
					counts[rest] += n
				}
				break
			}
		}
	}
	return counts
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// byCount gives the keys, commonest first, equals in order of text.
func byCount(m map[string]int) []string {
	keys := sortedKeys(m)
	slices.SortStableFunc(keys, func(a, b string) int { return cmp.Compare(m[b], m[a]) })
	return keys
}

func byCountAtLeast(m map[string]int, least int) []string {
	keys := byCount(m)
	for i, k := range keys {
		if m[k] < least {
			return keys[:i]
		}
	}
	return keys
}
