package report

import (
	"fmt"
	"strings"
)

const (
	defaultGallery = 60
	// galleryChunk cards are parsed at once, when a reader comes to them; the
	// rest of a long gallery stays text that the browser never looks at.
	galleryChunk = 24
)

// galleryIndex lets the page filter and count without parsing the cards.
type galleryIndex struct {
	Chunk   int      `json:"chunk"`   // cards a chunk
	Classes []string `json:"classes"` // of every card
}

type cardView struct {
	Key      string        `json:"key"`
	Class    string        `json:"class"`
	Prompt   string        `json:"prompt"`
	Image    string        `json:"image,omitempty"` // data URI
	Captions []captionView `json:"captions,omitempty"`
	Pairs    []pairView    `json:"pairs,omitempty"`
}

type captionView struct {
	Text string `json:"text"`
	Note string `json:"note"`
}

type pairView struct {
	Text  string `json:"text"`
	Image string `json:"image,omitempty"`
	Score string `json:"score"`
	Note  string `json:"note"`
}

// galleryView packs up to limit cards, the first of them with pictures; nil
// without anchors.
func (r *Run) galleryView(limit, pictured int) (*galleryView, error) {
	if limit <= 0 || len(r.captions) == 0 && r.pairs == "" {
		return nil, nil
	}
	cards, stats, err := r.gallery(limit)
	if err != nil || len(cards) == 0 {
		return nil, err
	}
	v := &galleryView{Stats: stats, Shown: len(cards)}
	pictures := thumbnails{}
	prompt := r.prompt()
	v.Index.Chunk = galleryChunk
	for i, c := range cards {
		view := cardView{Key: c.Key, Class: c.Class, Prompt: prompt(c.Class)}
		if r.Images != nil && i < pictured {
			view.Image = pictures.of(r.Images.FinetuneImage, c.Key)
		}
		for _, one := range c.Captions {
			text := note("CLIP ", one.CLIP, "log p ", one.LogProb)
			if one.CLIP != nil && *one.CLIP < r.leastCaption {
				text += " · left out"
				v.CaptionsDropped++
			}
			view.Captions = append(view.Captions, captionView{one.Text, text})
		}
		for _, p := range c.Pairs {
			pair := pairView{Text: p.Text, Score: decimals(p.Score, 2), Note: pairNote(p)}
			if r.Images != nil && i < pictured {
				pair.Image = pictures.of(r.Images.PoolImage, p.PairKey)
			}
			view.Pairs = append(view.Pairs, pair)
		}
		v.Index.Classes = append(v.Index.Classes, c.Class)
		if i%galleryChunk == 0 {
			v.Chunks = append(v.Chunks, nil)
		}
		v.Chunks[i/galleryChunk] = append(v.Chunks[i/galleryChunk], view)
	}
	if r.Images == nil {
		v.Notes = append(v.Notes, "The pictures were not at hand when this report was made.")
	}
	if r.Images != nil && pictured < len(cards) {
		v.Notes = append(v.Notes, fmt.Sprintf("The first %s have pictures.", plural(pictured, "image", "images")))
	}
	v.Notes = append(v.Notes, pictures.notes()...)
	return v, nil
}

// thumbnails makes pictures for a page, and keeps in mind which failed.
type thumbnails struct {
	failed int
	first  error
}

// of gives a data URI, "" where the picture can't be had.
func (t *thumbnails) of(read func(key string) ([]byte, error), key string) string {
	data, err := read(key)
	text := ""
	if err == nil {
		text, err = dataURI(data)
	}
	if err != nil {
		if t.failed++; t.failed == 1 {
			t.first = fmt.Errorf("%s: %w", key, err)
		}
	}
	return text
}

func (t *thumbnails) notes() []string {
	if t.failed == 0 {
		return nil
	}
	return []string{fmt.Sprintf("%s could not be read, the first one: %v.", plural(t.failed, "picture", "pictures"), t.first)}
}

// prompt fills a class into Template, or the first one of the ID test set; empty
// when the evaluations name none.
func (r *Run) prompt() func(class string) string {
	template := r.Template
	for _, s := range append(r.suites(RoleID), r.Suites...) {
		if template == "" && len(s.Templates) > 0 {
			template = s.Templates[0]
			break
		}
	}
	return func(class string) string {
		text := strings.NewReplacer("{}", class, "{c}", class).Replace(template)
		if text == class { // says nothing new
			return ""
		}
		return text
	}
}

func note(clipLabel string, clip *float64, logLabel string, logProb *float64) string {
	var parts []string
	if clip != nil {
		parts = append(parts, clipLabel+decimals(*clip, 2))
	}
	if logProb != nil {
		parts = append(parts, logLabel+decimals(*logProb, 1))
	}
	return strings.Join(parts, " · ")
}

func pairNote(p pairRecord) string {
	lines := []string{p.Text, fmt.Sprintf("rank %d, cosine %s, own image-text cosine %s", p.Rank, decimals(p.Score, 3), decimals(p.CLIP, 3)), p.PairKey}
	if p.Set != "" || p.License != "" {
		lines = append(lines, strings.Trim(p.Set+", "+p.License, ", "))
	}
	return strings.Join(lines, "\n")
}
