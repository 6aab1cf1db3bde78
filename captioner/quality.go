package captioner

import (
	"strings"
)

// Quality sums up captions of images whose class is known.
type Quality struct {
	Images   int `json:"images"`
	Captions int `json:"captions"`
	// NamesClass is the share of captions with one of the class's names in them.
	NamesClass float64 `json:"names_class"`
	// ImagesNamed is the share of images with at least one such caption.
	ImagesNamed float64 `json:"images_named"`
	// DistinctPerImage is the mean number of different captions of an image.
	DistinctPerImage float64 `json:"distinct_per_image"`
	// DistinctPerClass is the mean number of different captions of a class.
	DistinctPerClass float64 `json:"distinct_per_class"`
	// ExtraWords is the mean number of words beyond the class's name, of all
	// words where the name isn't there.
	ExtraWords float64 `json:"extra_words"`
	// Words is the mean length.
	Words float64 `json:"words"`
	// LogProb is the mean over captions.
	LogProb float64 `json:"log_prob"`
}

// Measure compares the captions of each image with the names of its class:
// names[i][0] says which class it is, all of names[i] count as naming it.
func Measure(captions [][]Caption, names [][]string) Quality {
	q := Quality{Images: len(captions)}
	byClass := map[string]map[string]bool{}
	named := 0
	for i, list := range captions {
		class := byClass[names[i][0]]
		if class == nil {
			class = map[string]bool{}
			byClass[names[i][0]] = class
		}
		own := map[string]bool{}
		hit := false
		for _, c := range list {
			own[c.Text], class[c.Text] = true, true
			words := captionWords(c.Text)
			q.Captions++
			q.LogProb += c.LogProb
			q.Words += float64(len(words))
			q.ExtraWords += float64(len(words))
			if n := namedBy(words, names[i]); n > 0 {
				q.NamesClass++
				q.ExtraWords -= float64(n)
				hit = true
			}
		}
		if hit {
			named++
		}
		q.DistinctPerImage += float64(len(own))
	}
	for _, class := range byClass {
		q.DistinctPerClass += float64(len(class))
	}
	divide := func(x *float64, n int) {
		if n > 0 {
			*x /= float64(n)
		}
	}
	q.ImagesNamed = float64(named)
	divide(&q.ImagesNamed, q.Images)
	divide(&q.DistinctPerImage, q.Images)
	divide(&q.DistinctPerClass, len(byClass))
	for _, x := range []*float64{&q.NamesClass, &q.ExtraWords, &q.Words, &q.LogProb} {
		divide(x, q.Captions)
	}
	return q
}

func captionWords(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return strings.ContainsRune(" ,.;:!?-_/", r) })
}

// namedBy gives the words of the longest name that stands in words as a run,
// 0 if none does. A plural s at the end makes no difference.
func namedBy(words []string, names []string) int {
	best := 0
	for _, name := range names {
		parts := captionWords(name)
		for i := 0; len(parts) > best && i+len(parts) <= len(words); i++ {
			if sameWords(words[i:i+len(parts)], parts) {
				best = len(parts)
			}
		}
	}
	return best
}

func sameWords(a, b []string) bool {
	for i := range a {
		if a[i] != b[i] && a[i] != b[i]+"s" && a[i]+"s" != b[i] {
			return false
		}
	}
	return true
}
