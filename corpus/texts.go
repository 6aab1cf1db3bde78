package corpus

import (
	"hash/fnv"
	"slices"
	"strings"
)

// styleWords says a style in a caption; a drawing between two styles has none.
func styleWords(ic *icon) string {
	switch {
	case ic.Style == StyleSolid:
		return "solid"
	case ic.Style == StyleLine:
		return "outline"
	case ic.Style == StyleDuotone:
		return "duotone"
	case ic.Style == StyleColor:
		return "colorful"
	case ic.Style == StyleEmoji:
		return "emoji"
	case ic.Style == StylePixelHand && strings.Contains(ic.Set, "freehand"):
		return "hand drawn"
	case ic.Style == StylePixelHand:
		return "pixel"
	}
	return ""
}

const maxWordings = 6

// wordings returns the texts of an icon: first its plain name, then its other names and keywords, its
// name with the category of its set, and for some icons a wording with the style.
// One wording in five names a style: in more of them, a small model learns style before things.
func wordings(ic *icon) []string {
	texts := []string{ic.Name}
	add := func(s string) {
		if s != "" && len(texts) < maxWordings && !slices.Contains(texts, s) {
			texts = append(texts, s)
		}
	}
	for _, t := range ic.Texts {
		add(t)
	}
	if ic.Category != "" && !strings.Contains(ic.Name, ic.Category) {
		add(ic.Name + ", " + ic.Category)
	}
	// Chance n/4 of one more in n+1 makes a fifth of all.
	if style := styleWords(ic); style != "" && chance(ic.key(), "style") < float64(len(texts))/4 {
		if style == "emoji" {
			texts = append(texts, ic.Name+" emoji")
		} else {
			texts = append(texts, style+" "+ic.Name)
		}
	}
	return texts
}

// chance is a number in [0,1) that depends on nothing but its arguments.
func chance(key, use string) float64 {
	h := fnv.New64a()
	h.Write([]byte(use))
	h.Write([]byte{0})
	h.Write([]byte(key))
	// FNV's high bits change little over short keys; mix them.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return float64(x>>11) / (1 << 53)
}
