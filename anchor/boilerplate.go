package anchor

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// boilerplate is what captioners begin with whatever the image shows. "A drawing
// of" and the like say something, and stay.
var boilerplate = regexp.MustCompile(`(?i)^(?:` +
	`there(?:'s| is| are)|(?:this|here|it)(?:'s| is)|` +
	`(?:a|an|the|this)?\s*(?:picture|photo|photograph|pic|image)(?:\s+(?:of|shows|showing|depicts|depicting|features|featuring))` +
	`)\s+`)

// dropBoilerplate takes it off a caption's beginning, as often as it's there; a
// caption that is nothing else stays.
func dropBoilerplate(text string) string {
	for {
		end := len(boilerplate.FindString(text))
		if end == 0 || strings.IndexFunc(text[end:], unicode.IsLetter) < 0 {
			return text
		}
		first, _ := utf8.DecodeRuneInString(text)
		rest := text[end:]
		if r, n := utf8.DecodeRuneInString(rest); unicode.IsUpper(first) {
			rest = string(unicode.ToUpper(r)) + rest[n:]
		}
		text = rest
	}
}
