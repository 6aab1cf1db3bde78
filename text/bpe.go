package text

import (
	"container/heap"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// clipPattern is the Split of CLIP's tokenizer.json, which clipWords does by
// hand: Go's \s and \p{N} differ and its regexp is slow.
const clipPattern = `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`

// bpe is byte-level byte-pair encoding (Radford et al. 2019): the bytes of a
// word are written as letters, and the best-ranked pair is merged until none
// is left.
type bpe struct {
	first  [256]int32 // id of each byte
	last   [256]int32 // id of each byte at the end of a word
	merges map[[2]int32]merge
	suffix string
}

type merge struct{ rank, id int32 }

func newBPE(vocab map[string]int32, pairs [][2]string, suffix string, unk int32) (*bpe, error) {
	m := &bpe{suffix: suffix}
	for b := range 256 {
		for table, piece := range map[*[256]int32]string{&m.first: byteLetters[b], &m.last: byteLetters[b] + suffix} {
			id, ok := vocab[piece]
			if !ok {
				if unk < 0 {
					return nil, fmt.Errorf("vocab: byte %#02x has no piece (%q)", b, piece)
				}
				id = unk
			}
			table[b] = id
		}
	}
	var err error
	if m.merges, err = mergeTable(vocab, pairs); err != nil {
		return nil, err
	}
	return m, nil
}

// mergeTable gives the rank and the result of each pair of ids.
func mergeTable(vocab map[string]int32, pairs [][2]string) (map[[2]int32]merge, error) {
	table := make(map[[2]int32]merge, len(pairs))
	for rank, p := range pairs {
		a, okA := vocab[p[0]]
		b, okB := vocab[p[1]]
		id, ok := vocab[p[0]+p[1]]
		if !okA || !okB || !ok {
			return nil, fmt.Errorf("merges: entry %d (%q and %q): the pieces or their union aren't in the vocabulary", rank, p[0], p[1])
		}
		if _, twice := table[[2]int32{a, b}]; !twice {
			table[[2]int32{a, b}] = merge{int32(rank), id}
		}
	}
	return table, nil
}

func (m *bpe) kind() string { return "BPE" }

func (m *bpe) class(t *tokenizer) (class, unk string) { return "CLIPTokenizerFast", t.tokens[t.eos] }

func (m *bpe) pieces(ids []int32, word string) []int32 {
	if word == "" {
		return ids
	}
	start := len(ids)
	end := len(word) - 1
	for i := range end {
		ids = append(ids, m.first[word[i]])
	}
	return m.merge(append(ids, m.last[word[end]]), start)
}

// merge joins the best pairs of ids[start:] until there are none.
func (m *bpe) merge(ids []int32, start int) []int32 {
	if s := ids[start:]; len(s) > longWord {
		return append(ids[:start], m.mergeLong(s)...)
	}
	for s := ids[start:]; len(s) > 1; {
		best, at := merge{rank: math.MaxInt32}, -1
		for i := range len(s) - 1 {
			if c, ok := m.merges[[2]int32{s[i], s[i+1]}]; ok && c.rank < best.rank {
				best, at = c, i
			}
		}
		if at < 0 {
			break
		}
		s[at] = best.id
		copy(s[at+1:], s[at+2:])
		s = s[:len(s)-1]
		ids = ids[:start+len(s)]
	}
	return ids
}

// longWord is where the plain search for the best pair, which is quadratic,
// gives way to a queue.
const longWord = 128

// candidate is a pair that can be merged, if its two pieces are still there.
type candidate struct {
	merge
	at          int32 // of the left piece
	left, right int32 // ids
}

// queue gives the best rank, and of equals the leftmost.
type queue []candidate

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return q[i].rank < q[j].rank || q[i].rank == q[j].rank && q[i].at < q[j].at
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(candidate)) }
func (q *queue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

func (m *bpe) mergeLong(s []int32) []int32 {
	n := int32(len(s))
	ids := slices.Clone(s)
	next, previous := make([]int32, n), make([]int32, n)
	for i := range n {
		next[i], previous[i] = i+1, i-1
	}
	const gone = -2
	var q queue
	push := func(at int32) {
		if at < 0 || next[at] >= n {
			return
		}
		left, right := ids[at], ids[next[at]]
		if c, ok := m.merges[[2]int32{left, right}]; ok {
			heap.Push(&q, candidate{c, at, left, right})
		}
	}
	for i := range n {
		push(i)
	}
	for q.Len() > 0 {
		c := heap.Pop(&q).(candidate)
		if ids[c.at] != c.left || next[c.at] >= n || ids[next[c.at]] != c.right {
			continue
		}
		right := next[c.at]
		ids[c.at], ids[right] = c.id, gone
		next[c.at] = next[right]
		if next[right] < n {
			previous[next[right]] = c.at
		}
		push(previous[c.at])
		push(c.at)
	}
	out := s[:0]
	for i := int32(0); i < n; i = next[i] {
		out = append(out, ids[i])
	}
	return out
}

func (m *bpe) decode(pieces []string) string {
	var b []byte
	for _, p := range pieces {
		rest, end := p, false
		if m.suffix != "" {
			rest, end = strings.CutSuffix(p, m.suffix)
		}
		for _, r := range rest {
			if c, ok := letterBytes[r]; ok {
				b = append(b, c)
			}
		}
		if end {
			b = append(b, ' ')
		}
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(b), "\uFFFD"))
}

// byteLetters writes bytes as printable letters (GPT-2's bytes_to_unicode):
// printable ones stay, the others move above U+0100.
var byteLetters, letterBytes = func() (letters [256]string, back map[rune]byte) {
	back = make(map[rune]byte, 256)
	next := rune(256)
	for b := range rune(256) {
		r := b
		if !(b >= '!' && b <= '~' || b >= 0xA1 && b <= 0xAC || b >= 0xAE) {
			r = next
			next++
		}
		letters[b] = string(r)
		back[r] = byte(b)
	}
	return letters, back
}()

// clipWords splits as clipPattern does.
func clipWords(s string, yield func(string)) {
	for len(s) > 0 {
		n := clipWord(s)
		if n == 0 {
			_, n = utf8.DecodeRuneInString(s)
		} else {
			yield(s[:n])
		}
		s = s[n:]
	}
}

// clipWord is the length of the word that s begins with, 0 for white space.
func clipWord(s string) int {
	for _, c := range [...]string{"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"} {
		if strings.HasPrefix(s, c) {
			return len(c)
		}
	}
	r, n := utf8.DecodeRuneInString(s)
	switch {
	case unicode.IsSpace(r):
		return 0
	case unicode.IsNumber(r):
		return n
	}
	letter := unicode.IsLetter(r)
	for n < len(s) {
		r, size := utf8.DecodeRuneInString(s[n:])
		if unicode.IsLetter(r) != letter || !letter && (unicode.IsSpace(r) || unicode.IsNumber(r)) {
			break
		}
		n += size
	}
	return n
}

// readMerges parses merges.txt: a version line, then a pair a line.
func readMerges(content []byte) ([][2]string, error) {
	var pairs [][2]string
	number := 0
	for line := range strings.Lines(string(content)) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || number == 1 && strings.HasPrefix(line, "#version") {
			continue
		}
		a, b, ok := strings.Cut(line, " ")
		if !ok || a == "" || b == "" || strings.Contains(b, " ") {
			return nil, fmt.Errorf("%s line %d: %q isn't two pieces with a space between", mergesFile, number, line)
		}
		pairs = append(pairs, [2]string{a, b})
	}
	if len(pairs) == 0 {
		return nil, errors.New(mergesFile + ": empty")
	}
	return pairs, nil
}
