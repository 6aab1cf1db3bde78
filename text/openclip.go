package text

import (
	"fmt"
	"html"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/language"
	"golang.org/x/text/unicode/norm"
)

// OpenCLIP gives the same vocabulary with open_clip's cleaning of texts, which
// for CLIP's own is OpenAI's: HTML entities are resolved, curly quotes,
// ligatures, wide letters and control characters are replaced or dropped (by
// ftfy), white space becomes single spaces. CLIP's vocabulary is then encoded by
// open_clip's SimpleTokenizer, in which Σ at the end of a word becomes ς, as in
// Python; others as Hugging Face's tokenizers do, which clean nothing
// themselves. A model's own texts were cleaned by the program that trained it.
//
// Not done: ftfy's repair of texts that were decoded with the wrong encoding
// ("cafÃ©").
func OpenCLIP(t Tokenizer) (Tokenizer, error) {
	b, ok := t.(*tokenizer)
	if !ok {
		return nil, fmt.Errorf("open_clip's cleaning of texts isn't known for a %T", t)
	}
	c := &tokenizer{
		prepare: openclipClean, normalize: b.normalize, words: b.words, model: b.model,
		tokens: b.tokens, special: b.special, hidden: b.hidden, raw: b.raw, normalized: b.normalized,
		bos: b.bos, eos: b.eos, pad: b.pad, oneEOS: b.oneEOS, cleans: true, context: b.context, files: b.files,
	}
	if b.prepare != nil {
		c.prepare = func(s string) string { return b.prepare(openclipClean(s)) }
	}
	if IsCLIP(t) {
		c.prepare, c.normalize, c.words, c.raw, c.normalized = nil, openclipLower, openclipWords, nil, nil
		c.cache.put(openclipMarks[0], []int32{b.bos})
		c.cache.put(openclipMarks[1], []int32{b.eos})
	}
	return c, nil
}

// Cleans tells whether t is one of OpenCLIP's.
func Cleans(t Tokenizer) bool {
	b, ok := t.(*tokenizer)
	return ok && b.cleans
}

// openclipMarks stand for bos and eos in texts.
var openclipMarks = [2]string{"<start_of_text>", "<end_of_text>"}

// openclipWords splits as SimpleTokenizer's pattern does; its marks count only
// where a word may begin.
func openclipWords(s string, yield func(string)) {
	for len(s) > 0 {
		n := 0
		for _, mark := range openclipMarks {
			if strings.HasPrefix(s, mark) {
				n = len(mark)
			}
		}
		if n == 0 {
			n = clipWord(s)
			if strings.HasPrefix(s, "'ſ") { // the pattern takes ſ for an s
				n = len("'ſ")
			}
		}
		if n == 0 {
			_, n = utf8.DecodeRuneInString(s)
		} else {
			yield(s[:n])
		}
		s = s[n:]
	}
}

// openclipClean is open_clip's _clean_whitespace: ftfy.fix_text, html.unescape
// twice, runs of white space to one space.
func openclipClean(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if !plain(s, false) || strings.Contains(s, "&") {
		s = unescape(unescape(fixText(s)))
	}
	return strings.Join(strings.FieldsFunc(s, pythonSpace), " ")
}

// openclipLower is open_clip's _clean_lower.
func openclipLower(s string) string {
	// The iota subscript, which is a letter only in capitals, falls through the
	// pattern, which ignores case.
	return strings.ReplaceAll(pythonLower(openclipClean(s)), "\u0345", " ")
}

// pythonSpace is str.isspace.
func pythonSpace(r rune) bool {
	switch {
	case r >= '\t' && r <= '\r', r >= 0x1C && r <= ' ', r == 0x85, r == 0xA0, r == 0x1680,
		r >= 0x2000 && r <= 0x200A, r == 0x2028, r == 0x2029, r == 0x202F, r == 0x205F, r == 0x3000:
		return true
	}
	return false
}

// pythonLower is str.lower.
func pythonLower(s string) string {
	if strings.ContainsRune(s, 'Σ') {
		return cases.Lower(language.Und).String(s)
	}
	return lower(s)
}

// fixText is ftfy 6.3's fix_text without fix_encoding. Like there, a line with
// "<" and all that follow keep their entities.
func fixText(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	entities := true
	for line := range strings.Lines(s) {
		entities = entities && !strings.Contains(line, "<")
		// Every step can make work for another, but only so often.
		for range 100 {
			before := line
			line = fixLine(line, entities)
			if line == before {
				break
			}
		}
		b.WriteString(line)
	}
	return b.String()
}

func fixLine(s string, entities bool) string {
	if entities {
		s = unescapeKnown(s)
	}
	// Each character's replacement is final, as in ftfy, whose steps' outputs
	// aren't the inputs of later ones, but for quotes, breaks and controls.
	s = replaceRunes(s, func(r rune) (string, bool) {
		switch {
		case r >= 0x80 && r <= 0x9F:
			if c := charmap.Windows1252.DecodeByte(byte(r)); c != utf8.RuneError {
				return string(c), true
			}
		case r == 0x3000:
			return " ", true
		case r >= 0xFF01 && r <= 0xFFEF:
			return norm.NFKC.String(string(r)), true
		}
		ligature, ok := ligatures[r]
		return ligature, ok
	})
	s = replaceRunes(s, func(r rune) (string, bool) {
		switch {
		case r >= 0x201C && r <= 0x201F:
			return `"`, true
		case r == 0x2BC || r >= 0x2018 && r <= 0x201B:
			return "'", true
		}
		return "", false
	})
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u2028", "\n", "\u2029", "\n", "\u0085", "\n").Replace(s)
	s = dropTerminal(s)
	s = replaceRunes(s, func(r rune) (string, bool) {
		return "", r < 9 || r == 0xB || r >= 0xE && r < 0x20 || r == 0x7F ||
			r >= 0x206A && r <= 0x206F || r == 0xFEFF || r >= 0xFFF9 && r <= 0xFFFC
	})
	return norm.NFC.String(s)
}

// replaceRunes puts other texts in place of those characters for which with
// says true.
func replaceRunes(s string, with func(rune) (string, bool)) string {
	var b *strings.Builder
	for i, r := range s {
		to, yes := with(r)
		if !yes {
			if b != nil {
				b.WriteRune(r)
			}
			continue
		}
		if b == nil {
			b = new(strings.Builder)
			b.Grow(len(s) + 8)
			b.WriteString(s[:i])
		}
		b.WriteString(to)
	}
	if b == nil {
		return s
	}
	return b.String()
}

// ligatures that ftfy takes apart (ftfy.chardata).
var ligatures = map[rune]string{
	'Ĳ': "IJ", 'ĳ': "ij", 'ŉ': "ʼn", 'Ǳ': "DZ", 'ǲ': "Dz", 'ǳ': "dz", 'Ǆ': "DŽ", 'ǅ': "Dž", 'ǆ': "dž",
	'Ǉ': "LJ", 'ǈ': "Lj", 'ǉ': "lj", 'Ǌ': "NJ", 'ǋ': "Nj", 'ǌ': "nj",
	'ﬀ': "ff", 'ﬁ': "fi", 'ﬂ': "fl", 'ﬃ': "ffi", 'ﬄ': "ffl", 'ﬅ': "ſt", 'ﬆ': "st",
}

// dropTerminal removes the escapes that colour terminals: ESC [ digits and
// semicolons, a letter.
func dropTerminal(s string) string {
	var b strings.Builder
	for {
		at := strings.Index(s, "\x1b[")
		if at < 0 {
			break
		}
		end := at + 2
		for end < len(s) && (s[end] >= '0' && s[end] <= '9' || s[end] == ';') {
			end++
		}
		if end < len(s) && asciiLetter(s[end]) {
			b.WriteString(s[:at])
			end++
		} else {
			b.WriteString(s[:end])
		}
		s = s[end:]
	}
	if b.Len() == 0 {
		return s
	}
	return b.String() + s
}

func asciiLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func asciiDigit(c byte) bool  { return c >= '0' && c <= '9' }

// unescapeKnown is ftfy's unescape_html: entities that end with a semicolon,
// named ones in capitals too where that isn't another's name.
func unescapeKnown(s string) string {
	return replaceEntities(s, func(s string) (string, int) {
		n := 1
		if n < len(s) && s[n] == '#' {
			n++
		}
		start := n
		for n < len(s) && (asciiLetter(s[n]) || asciiDigit(s[n])) {
			n++
		}
		if n == start || n-start > 24 || n == len(s) || s[n] != ';' {
			return "", 0
		}
		n++
		if s[1] == '#' {
			if to := unescape(s[:n]); !strings.Contains(to, ";") {
				return to, n
			}
			return "", 0
		}
		if to, ok := entity(s[:n]); ok {
			return to, n
		}
		small := strings.ToLower(s[:n])
		if to, ok := entity(small); ok && strings.ToUpper(s[:n]) == s[:n] && html.UnescapeString(s[:n]) == s[:n] {
			return strings.ToUpper(to), n
		}
		return "", 0
	})
}

// entity looks up a whole name, "&" and ";" with it.
func entity(name string) (string, bool) {
	to := html.UnescapeString(name)
	return to, to != name && (to == ";" || !strings.HasSuffix(to, ";"))
}

// unescape is Python's html.unescape.
func unescape(s string) string {
	return replaceEntities(s, func(s string) (string, int) {
		if !strings.HasPrefix(s, "&#") {
			n := 1
			for n < len(s) && (asciiLetter(s[n]) || asciiDigit(s[n])) {
				n++
			}
			if n < len(s) && s[n] == ';' {
				n++
			}
			to := html.UnescapeString(s[:n])
			if to == s[:n] {
				return "", 0
			}
			return to, n
		}
		n, base := 2, 10
		if n < len(s) && s[n]|0x20 == 'x' {
			n, base = 3, 16
		}
		start := n
		for n < len(s) && (asciiDigit(s[n]) || base == 16 && s[n]|0x20 >= 'a' && s[n]|0x20 <= 'f') {
			n++
		}
		if n == start {
			return "", 0
		}
		code, err := strconv.ParseUint(s[start:n], base, 32)
		if err != nil {
			code = 1 << 31 // too large
		}
		if n < len(s) && s[n] == ';' {
			n++
		}
		return reference(code), n
	})
}

// reference is the text of a numeric character reference (HTML standard, as
// Python's html module has it).
func reference(code uint64) string {
	switch r := rune(min(code, 0x110000)); {
	case r == 0 || r > utf8.MaxRune || r >= 0xD800 && r <= 0xDFFF:
		return "\uFFFD"
	case r == '\r':
		return "\r"
	case r >= 0x80 && r <= 0x9F:
		if c := charmap.Windows1252.DecodeByte(byte(r)); c != utf8.RuneError {
			return string(c)
		}
		return string(r)
	case r < 9, r == 0xB, r >= 0xE && r < 0x20, r == 0x7F, r >= 0xFDD0 && r <= 0xFDEF, r&0xFFFE == 0xFFFE:
		return ""
	default:
		return string(r)
	}
}

// replaceEntities calls at with s from each "&" on; it gives what stands for
// how many bytes, 0 where there's no entity.
func replaceEntities(s string, at func(string) (string, int)) string {
	if !strings.Contains(s, "&") {
		return s
	}
	var out []byte
	for i := 0; i < len(s); {
		if s[i] == '&' {
			if to, n := at(s[i:]); n > 0 {
				out = append(out, to...)
				i += n
				continue
			}
		}
		next := strings.IndexByte(s[i+1:], '&')
		if next < 0 {
			next = len(s) - i - 1
		}
		out = append(out, s[i:i+1+next]...)
		i += 1 + next
	}
	return string(slices.Clip(out))
}
