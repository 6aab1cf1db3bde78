package captioner

import (
	"math/rand/v2"
	"slices"
	"strings"
)

// Wording says how a step's caption is made of a sample's wordings. The zero
// value draws one of them.
type Wording struct {
	// Join makes a caption of several keyword-like wordings: the first wording
	// or another name, then phrases of the others, as in "shopping cart, shop,
	// trolley". Meant for tags and names, not for sentences.
	Join bool
	// Styles maps a sample's metadata "style" to the word for it, put before
	// the name in some of the joined captions; nil uses none.
	Styles map[string]string
}

// Chances in joined captions. One caption in three names the style; most say
// more than the name where there is more to say.
const (
	styleChance   = 0.35
	aliasChance   = 0.25
	phrasesAtMost = 3
)

// source is what the captions of a sample are made of.
type source struct {
	texts   []string // as given
	name    string
	phrases []string // of the other wordings, without the name
	style   string
}

// newSource takes a sample's wordings apart. texts isn't empty.
func newSource(texts []string, meta map[string]string, w Wording) source {
	s := source{texts: texts}
	if !w.Join {
		return s
	}
	s.name = strings.TrimSpace(texts[0])
	s.style = w.Styles[meta["style"]]
	for _, t := range texts[1:] {
		for phrase := range strings.SplitSeq(t, ",") {
			phrase = strings.TrimSpace(phrase)
			if phrase == "" || s.style != "" && without(phrase, s.style) == s.name {
				continue
			}
			if !slices.Contains(s.phrases, phrase) && !adds(phrase, s.name) {
				s.phrases = append(s.phrases, phrase)
			}
		}
	}
	return s
}

// adds tells whether all of phrase's words are in said already.
func adds(phrase, said string) bool {
	words := strings.FieldsFunc(said, func(r rune) bool { return r == ' ' || r == ',' })
	for word := range strings.FieldsSeq(phrase) {
		if !slices.Contains(words, word) {
			return false
		}
	}
	return true
}

func without(phrase, word string) string {
	words := slices.DeleteFunc(strings.Fields(phrase), func(w string) bool { return w == word })
	return strings.Join(words, " ")
}

// draw makes one caption.
func (s source) draw(rng *rand.Rand) string {
	if s.name == "" {
		return s.texts[rng.IntN(len(s.texts))]
	}
	order := rng.Perm(len(s.phrases))
	name := s.name
	if len(order) > 0 && rng.Float64() < aliasChance {
		name, order[0] = s.phrases[order[0]], -1
	}
	var caption strings.Builder
	switch {
	case s.style == "" || rng.Float64() >= styleChance:
		caption.WriteString(name)
	case s.style == "emoji":
		caption.WriteString(name + " emoji")
	default:
		caption.WriteString(s.style + " " + name)
	}
	if name != s.name {
		// Another name comes with the first: the caption names the thing.
		caption.WriteString(", " + s.name)
	}
	left := 1 + rng.IntN(phrasesAtMost)
	if rng.Float64() < 0.2 {
		left = 0
	}
	for _, i := range order {
		if left == 0 {
			break
		}
		if i < 0 || adds(s.phrases[i], caption.String()) {
			continue
		}
		caption.WriteString(", " + s.phrases[i])
		left--
	}
	return caption.String()
}

// lend gives samples of one name the phrases that two or more of them have:
// what one set files under "shop", another only calls "cart". It's for joined
// wordings.
func lend(sources []source) {
	type key struct{ name, phrase string }
	counts := map[key]int{}
	for i := range sources {
		for _, p := range sources[i].phrases {
			counts[key{sources[i].name, p}]++
		}
	}
	const atLeast, atMost = 2, 6
	common := map[string][]string{}
	for k, n := range counts {
		if n >= atLeast {
			common[k.name] = append(common[k.name], k.phrase)
		}
	}
	for name, phrases := range common {
		slices.SortFunc(phrases, func(a, b string) int {
			if d := counts[key{name, b}] - counts[key{name, a}]; d != 0 {
				return d
			}
			return strings.Compare(a, b)
		})
		common[name] = phrases[:min(len(phrases), atMost)]
	}
	for i := range sources {
		s := &sources[i]
		for _, p := range common[s.name] {
			if len(s.phrases) < atMost && !slices.Contains(s.phrases, p) {
				s.phrases = append(s.phrases, p)
			}
		}
	}
}
