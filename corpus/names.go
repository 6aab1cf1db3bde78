package corpus

import (
	"regexp"
	"slices"
	"strings"
)

// Style words that end names all over the sets and never belong to the thing itself. "light", "bold",
// "line" or "round" do ("traffic light"), so they count only where a set declares them.
var styleSuffixes = []string{
	"outline", "outlined", "filled", "fill", "solid", "duotone", "twotone", "two-tone", "duo-tone", "stroke",
	"rounded", "monochrome", "multicolor", "glyph", "24px", "16px", "12", "16", "20", "24", "28", "32", "48", "96",
}

// filler words number or vary a drawing without naming anything.
var filler = regexp.MustCompile(`^(\d+|alt|variant|v\d+|o\d+|[a-z]?\d+px)$`)

// join removes spaces, so that "light bulb" and "lightbulb" are one name.
func join(name string) string { return strings.ReplaceAll(name, " ", "") }

// splitName takes an icon's name apart: the words that say what it shows. Style suffixes and prefixes
// (the set's own and the usual ones), category prefixes, variant numbers at the end go; what is left
// is never empty.
func splitName(name string, suffixes, prefixes []string) []string {
	name = strings.ToLower(strings.ReplaceAll(name, "_", "-"))
	for _, p := range prefixes { // longest first
		if rest, ok := strings.CutPrefix(name, p+"-"); ok && hasLetters(rest) {
			name = rest
			break
		}
	}
	for again := true; again; {
		again = false
		for _, list := range [2][]string{suffixes, styleSuffixes} {
			for _, s := range list {
				if rest, ok := strings.CutSuffix(name, "-"+s); ok && s != "" && hasLetters(rest) {
					name, again = rest, true
				}
			}
		}
		if i := strings.LastIndexByte(name, '-'); i > 0 && filler.MatchString(name[i+1:]) && hasLetters(name[:i]) {
			name, again = name[:i], true
		}
	}
	words := strings.FieldsFunc(name, func(r rune) bool { return r == '-' })
	if n := len(words); n > 0 { // camera2
		if base := strings.TrimRight(words[n-1], "0123456789"); len(base) >= 3 {
			words[n-1] = base
		}
	}
	return words
}

func hasLetters(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r >= 'a' && r <= 'z' })
}

// short words that name a thing by themselves.
var shortWords = []string{"tv", "pc", "cd", "ev", "id", "ok", "ox", "ai"}

// plainEnough reports whether a name says something: at least one word of three letters with a vowel,
// or a known short one, and no more than eight words.
func plainEnough(words []string) bool {
	if len(words) == 0 || len(words) > 8 {
		return false
	}
	return slices.ContainsFunc(words, func(w string) bool {
		if slices.Contains(shortWords, w) {
			return true
		}
		letters := 0
		for _, r := range w {
			if r >= 'a' && r <= 'z' {
				letters++
			}
		}
		return letters >= 3 && strings.ContainsAny(w, "aeiouy") || letters >= 3 && slices.Contains([]string{"usb", "dvd", "gps", "rss", "pdf", "sms", "vpn", "dns", "bbq", "lcd", "led", "gif", "css", "html", "http", "nfc"}, w)
	})
}

// isBrand reports whether a name is that of a firm or product rather than of a thing.
func (r *rules) isBrand(words []string) bool {
	n := len(words)
	if n == 0 {
		return false
	}
	if w := words[0]; n > 1 && (w == "brand" || w == "logo" || w == "logos") {
		return true
	}
	if w := words[n-1]; n > 1 && (w == "logo" || w == "brand") {
		return true
	}
	if _, ok := r.brands[strings.Join(words, "")]; ok || slices.ContainsFunc(words, func(w string) bool { return r.brands[w] }) {
		return true
	}
	// "facebook circle", "social twitter", "logo github"
	rest := slices.DeleteFunc(slices.Clone(words), func(w string) bool {
		return slices.Contains([]string{"circle", "square", "box", "social", "logo", "brand", "alt", "messenger", "rounded", "with", "circular", "f", "fill"}, w)
	})
	_, ok := r.brands[strings.Join(rest, "")]
	return len(rest) > 0 && len(rest) < n && ok
}

// wordCounts splits names that run words together, by the most likely words of the other sets.
type wordCounts map[string]int

// split returns name in words; a name that the known words don't cover stays whole.
func (c wordCounts) split(name string) []string {
	type best struct {
		cost float64
		prev int
	}
	n := len(name)
	paths := make([]best, n+1)
	for end := 1; end <= n; end++ {
		paths[end] = best{cost: 1e9, prev: -1}
		for start := max(0, end-16); start < end; start++ {
			word := name[start:end]
			count := c[word]
			if count < 3 || len(word) < 3 && !slices.Contains(shortWords, word) && !slices.Contains([]string{"of", "in", "on", "up"}, word) || paths[start].cost >= 1e9 {
				continue
			}
			// Few words beat likely words: every word costs as much as being 1,000 times rarer.
			if cost := paths[start].cost + 10 - 0.6*log2(count); cost < paths[end].cost {
				paths[end] = best{cost, start}
			}
		}
	}
	if n == 0 || paths[n].prev < 0 {
		return []string{name}
	}
	var words []string
	for end := n; end > 0; end = paths[end].prev {
		words = append(words, name[paths[end].prev:end])
	}
	slices.Reverse(words)
	return words
}
