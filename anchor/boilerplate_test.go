package anchor

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/captioner"
	"arf/internal/cliptest"
)

func TestDropBoilerplate(t *testing.T) {
	for text, want := range map[string]string{
		"a picture of a cat":                       "a cat",
		"A photo of two dogs.":                     "Two dogs.",
		"there is a picture of a red bus":          "a red bus",
		"There are élans in the snow":              "Élans in the snow",
		"This is an image showing the sea":         "The sea",
		"the image shows a lighthouse":             "a lighthouse",
		"image of a bridge":                        "a bridge",
		"there's a man":                            "a man",
		"it is a cup":                              "a cup",
		"a drawing of a cat":                       "a drawing of a cat",
		"a black and white photo of a street":      "a black and white photo of a street",
		"therein lies a photo":                     "therein lies a photo",
		"a photograph":                             "a photograph",
		"there is":                                 "there is",
		"a picture of .":                           "a picture of .",
		"a picture":                                "a picture",
		"a man with a picture of a cat":            "a man with a picture of a cat",
		"this isolated house":                      "this isolated house",
		"A PICTURE OF THERE IS THIS IS a photo of": "A photo of",
	} {
		if got := dropBoilerplate(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// What boilerplate changes is measured, and nothing is lost.
func TestCaptionsWithoutBoilerplate(t *testing.T) {
	model := cliptest.Model(t, 1)
	data := openData(t, folder(t, []string{"disc"}, 3, 0))
	path := filepath.Join(t.TempDir(), "captions.jsonl")
	c := &counting{Captioner: newCaptioner(t, model)}
	c.change = func(all [][]captioner.Caption) {
		for i := range all {
			all[i][0].Text, all[i][1].Text, all[i][2].Text = "a photo of the red disc", "the red disc", "a green bar"
		}
	}
	o := captionOptions()
	o.DropBoilerplate = true
	s, err := Caption(t.Context(), path, data, c, model, o)
	if err != nil {
		t.Fatal(err)
	}
	records, err := ReadCaptions(path)
	if err != nil {
		t.Fatal(err)
	}
	gain := 0.0
	for _, r := range records {
		first, second := r.Captions[0], r.Captions[1]
		if first.Text != second.Text || math.Abs(first.CLIPScore-second.CLIPScore) > 1e-6 || first.Original != "a photo of the red disc" || second.Original != "" || first.OriginalScore == first.CLIPScore {
			t.Errorf("%+v", r)
		}
		gain += (first.CLIPScore - first.OriginalScore) / 3
	}
	if s.Boilerplate != 3 || math.Abs(s.BoilerplateGain-gain) > 1e-9 || gain == 0 || s.Duplicate != 3 {
		t.Errorf("%+v, want a gain of %g", s, gain)
	}
	for drop, want := range map[bool]int{false: 3, true: 2} {
		texts, err := CaptionTexts(path, CaptionFilter{MinScore: -1, DropDuplicates: drop})
		if err != nil || len(texts[records[0].Key]) != want {
			t.Errorf("duplicates dropped %v: %q, %v", drop, texts, err)
		}
	}
	// Without the option captions are as they were said, and are made anew.
	before := c.images
	o.DropBoilerplate = false
	if s, err = Caption(t.Context(), path, data, c, model, o); err != nil || c.images != before+3 || s.Boilerplate != 0 {
		t.Errorf("%d images, %+v, %v", c.images-before, s, err)
	}
}

// The gates are counted as training has them: each caption by the first gate
// that it meets.
func TestGatesAreCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "captions.jsonl")
	lines := `{"key":"a","row":0,"captions":[{"text":"a cat","clip_score":0.3},{"text":"a cat","clip_score":0.3},{"text":"a photo of a cat","clip_score":0.2},{"text":"mist","clip_score":0.1},{"text":"mist","clip_score":0.1}]}
{"key":"b","row":1,"captions":[{"text":"a cat","clip_score":0.25},{"text":"fog","clip_score":-0.1}]}
{"key":"c","row":2,"captions":[{"text":"rain","clip_score":0.1}]}
{"key":"d","row":3,"captions":[]}
`
	if err := os.WriteFile(path, []byte(lines), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, want := range []Gates{
		{Filter: CaptionFilter{MinScore: -1}, Duplicate: 2, Kept: 8},
		{Filter: CaptionFilter{MinScore: 0.2}, LowScore: 4, Duplicate: 1, Kept: 4, Emptied: 1},
		{Filter: CaptionFilter{MinScore: 0.2, DropDuplicates: true}, LowScore: 4, Duplicate: 1, Kept: 3, Emptied: 1},
		{Filter: CaptionFilter{MinScore: -1, DropDuplicates: true}, Duplicate: 2, Kept: 6},
	} {
		want.Captions, want.Boilerplate = 8, 1
		got, err := CountGates(path, want.Filter)
		if err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
		texts, err := CaptionTexts(path, want.Filter)
		used := 0
		for _, own := range texts {
			used += len(own)
		}
		if err != nil || used != want.Kept || len(texts) != 3-want.Emptied {
			t.Errorf("%+v: training has %v, %v", want.Filter, texts, err)
		}
	}
}

func TestCaptionReport(t *testing.T) {
	score := func(v float64) *float64 { return &v }
	s := Summarize(slices.Values([]CaptionRecord{
		{Key: "a", Class: "cat", Captioner: "c", Prompt: "p", Captions: []ScoredCaption{
			{Text: "a cat", LogProb: score(-2), CLIPScore: 0.205}, {Text: "dog", CLIPScore: 0.26, Original: "there is dog", OriginalScore: 0.25},
		}, Usage: captioner.Usage{Requests: 3, InputTokens: 20, OutputTokens: 4}},
		{Key: "b", Class: "dog", Captioner: "c", Prompt: "p", Refusals: []string{"no"}, Captions: []ScoredCaption{{Text: "two dogs", LogProb: score(-4), CLIPScore: 0.16}}, Usage: captioner.Usage{Requests: 1}},
	}))
	s.ImagesPerSecond = 2.5
	if s.Refused != 1 || s.Usage != (captioner.Usage{Requests: 4, InputTokens: 20, OutputTokens: 4}) || s.LogProb != -3 || math.Abs(s.Perplexity-math.Exp(6.0/4)) > 1e-9 || math.Abs(s.BoilerplateGain-0.01) > 1e-9 {
		t.Errorf("%+v", s)
	}
	if h := s.Histogram; math.Abs(h.From-0.16) > 1e-9 || len(h.Counts) != 6 || h.Counts[0] != 1 || h.Counts[2] != 1 || h.Counts[5] != 1 {
		t.Errorf("%+v", h)
	}
	var b strings.Builder
	if err := s.Report(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"images              2,", "3 different", "66.7%", "vocabulary 4", "perplexity", "dropped from 1 (33.3%), CLIP score +0.0100", "refused             1", "4 requests, 20 input", "2.50 images/s", "0.26 to  0.28  ████"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report has no %q:\n%s", want, b.String())
		}
	}
}
