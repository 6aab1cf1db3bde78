package text

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"
)

// charsmap is SentencePiece's precompiled_charsmap: a Darts-clone double array
// from strings to places in a list of replacements (google/sentencepiece,
// normalizer.cc; the array's layout is darts.h's).
type charsmap struct {
	units        []uint32
	replacements []byte // each ends in a zero byte
}

// maxReplacement bounds what a character can become; NFKC's longest has 33 bytes.
const maxReplacement = 1 << 10

func newCharsmap(blob []byte) (*charsmap, error) {
	broken := errors.New("precompiled_charsmap is damaged")
	if len(blob) < 4 {
		return nil, broken
	}
	size := binary.LittleEndian.Uint32(blob)
	blob = blob[4:]
	if size == 0 || size%4 != 0 || uint64(size) > uint64(len(blob)) {
		return nil, broken
	}
	c := &charsmap{units: make([]uint32, size/4), replacements: blob[size:]}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(blob[4*i:])
	}
	rest := c.replacements
	for len(rest) > 0 {
		n := bytes.IndexByte(rest, 0)
		if n < 0 || n > maxReplacement {
			return nil, broken
		}
		rest = rest[n+1:]
	}
	return c, nil
}

func offset(unit uint32) uint32 { return unit >> 10 << ((unit & (1 << 9)) >> 6) }

// longest finds the longest entry that s begins with; n is 0 if there is none.
func (c *charsmap) longest(s string) (replacement string, n int) {
	at, value := offset(c.units[0]), -1
	for i := range len(s) {
		at ^= uint32(s[i])
		if int(at) >= len(c.units) {
			break
		}
		unit := c.units[at]
		if unit&(1<<31|0xFF) != uint32(s[i]) {
			break
		}
		at ^= offset(unit)
		if unit>>8&1 == 1 && int(at) < len(c.units) { // an entry ends here
			value, n = int(c.units[at]&(1<<31-1)), i+1
		}
	}
	if n == 0 || value >= len(c.replacements) {
		return "", 0
	}
	rest := c.replacements[value:]
	return string(rest[:bytes.IndexByte(rest, 0)]), n
}

// normalize is SentencePiece's Normalizer without dummy prefix: characters are
// replaced, runs of spaces become one where trimSpaces is set, and spaces
// become spaceMark.
func (m *sentencePiece) normalize(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 16)
	space := m.trimSpaces // the last one was a space
	for len(s) > 0 && b.Len() < maxText {
		part, n := m.replace(s)
		s = s[n:]
		if space {
			part = strings.TrimLeft(part, " ")
		}
		if part == "" {
			continue
		}
		b.WriteString(strings.ReplaceAll(part, " ", spaceMark))
		space = m.trimSpaces && strings.HasSuffix(part, " ")
	}
	if !m.trimSpaces {
		return b.String()
	}
	out := b.String()
	for strings.HasSuffix(out, spaceMark) {
		out = strings.TrimSuffix(out, spaceMark)
	}
	return out
}

// replace is NormalizePrefix of normalizer.cc: what the beginning of s, n
// bytes, becomes.
func (m *sentencePiece) replace(s string) (part string, n int) {
	if m.charsmap != nil {
		if part, n = m.charsmap.longest(s); n > 0 {
			return part, n
		}
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return "\uFFFD", 1
	}
	return s[:n], n
}
