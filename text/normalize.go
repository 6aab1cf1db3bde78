package text

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// bertNormalizer is Hugging Face's BertNormalizer.
type bertNormalizer struct {
	cleanText, chineseChars, stripAccents, lowercase bool
}

func (n bertNormalizer) apply(s string) string {
	if plain(s, n.lowercase) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 8)
	for _, r := range s {
		if n.cleanText {
			if r == 0 || r == utf8.RuneError || control(r) {
				continue
			}
			if unicode.IsSpace(r) {
				r = ' '
			}
		}
		if n.chineseChars && chinese(r) {
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
			continue
		}
		b.WriteRune(r)
	}
	s = b.String()
	if n.stripAccents {
		s = stripAccents(s)
	}
	if n.lowercase {
		s = lower(s)
	}
	return s
}

// plain reports whether s is printable ASCII that no normalizer changes.
func plain(s string, lowercase bool) bool {
	for i := range len(s) {
		c := s[i]
		if c < ' ' || c > '~' || lowercase && 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

// control is general category C without tab and line ends.
func control(r rune) bool {
	if r == '\t' || r == '\n' || r == '\r' {
		return false
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs)
}

func chinese(r rune) bool {
	return r >= 0x4E00 && r <= 0x9FFF || r >= 0x3400 && r <= 0x4DBF ||
		r >= 0x20000 && r <= 0x2A6DF || r >= 0x2A700 && r <= 0x2B73F ||
		r >= 0x2B740 && r <= 0x2B81F || r >= 0x2B920 && r <= 0x2CEAF ||
		r >= 0xF900 && r <= 0xFAFF || r >= 0x2F800 && r <= 0x2FA1F
}

func stripAccents(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, norm.NFD.String(s))
}

// lower is Unicode's full lower-casing of single characters, which differs
// from Go's in the one letter that becomes two.
func lower(s string) string {
	if strings.ContainsRune(s, 'İ') {
		s = strings.ReplaceAll(s, "İ", "i\u0307")
	}
	return strings.ToLower(s)
}

// punctuation is what BertPreTokenizer isolates: ASCII symbols and category P.
func punctuation(r rune) bool {
	if r < 0x80 {
		return r >= 33 && r <= 47 || r >= 58 && r <= 64 || r >= 91 && r <= 96 || r >= 123 && r <= 126
	}
	return unicode.IsPunct(r)
}

// bertWords splits at white space and around each punctuation mark.
func bertWords(s string, yield func(string)) {
	start := -1
	for i, r := range s {
		space, punct := unicode.IsSpace(r), punctuation(r)
		if !space && !punct {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			yield(s[start:i])
			start = -1
		}
		if punct {
			yield(s[i : i+utf8.RuneLen(r)])
		}
	}
	if start >= 0 {
		yield(s[start:])
	}
}
