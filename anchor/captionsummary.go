package anchor

import (
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"math"
	"strings"

	"arf/captioner"
)

// CaptionSummary is captions.json.
type CaptionSummary struct {
	Hash     string `json:"hash"` // of what the captions were made from
	Complete bool   `json:"complete"`

	Captioner string `json:"captioner"`
	Prompt    string `json:"prompt,omitempty"`
	Seed      int64  `json:"seed"`
	Images    int    `json:"images"`           // with a line
	Broken    int    `json:"broken"`           // that couldn't be decoded
	Without   int    `json:"without_captions"` // with a line but no caption
	Captions  int    `json:"captions"`
	Empty     int    `json:"empty"`             // left out as empty
	Refused   int    `json:"refused,omitempty"` // by an endpoint
	Duplicate int    `json:"duplicates"`        // captions that repeat one of the same image
	Distinct  int    `json:"distinct"`          // different captions of all images
	// Boilerplate counts the captions that it was dropped from, and
	// BoilerplateGain is what that changed their mean CLIP score by.
	Boilerplate     int     `json:"boilerplate,omitempty"`
	BoilerplateGain float64 `json:"boilerplate_clip_score_gain,omitempty"`

	PerImage   float64 `json:"captions_per_image"`
	Words      float64 `json:"mean_words"`       // a caption
	Vocabulary int     `json:"vocabulary"`       // different words of all captions
	NamesClass float64 `json:"names_class"`      // share of captions that name the image's class
	CLIPScore  float64 `json:"mean_clip_score"`  // cosine, [−1, 1]
	LogProb    float64 `json:"mean_log_prob"`    // of a caption that has one
	Perplexity float64 `json:"perplexity_words"` // e to the mean −log_prob a word

	Histogram Histogram       `json:"clip_score_histogram"`
	Usage     captioner.Usage `json:"usage,omitzero"` // of an endpoint, over all runs that asked the same; not what a killed one had under way
	// ImagesPerSecond of the last run, reading and scoring included.
	ImagesPerSecond float64 `json:"images_per_second,omitempty"`
}

// Histogram counts values in [From + i·Step, From + (i+1)·Step).
type Histogram struct {
	From   float64 `json:"from"`
	Step   float64 `json:"step"`
	Counts []int   `json:"counts"`
}

// add grows the histogram to where v is.
func (h *Histogram) add(v float64) {
	at := math.Floor(v/h.Step + 1e-9) // 0.15/0.05 is less than 3
	if len(h.Counts) == 0 {
		h.From = at * h.Step
	}
	first := math.Round(h.From / h.Step)
	if at < first {
		h.Counts = append(make([]int, int(first-at)), h.Counts...)
		first, h.From = at, at*h.Step
	}
	for len(h.Counts) <= int(at-first) {
		h.Counts = append(h.Counts, 0)
	}
	h.Counts[int(at-first)]++
}

// scoreStep is the width of a bar of CLIP scores.
const scoreStep = 0.02

// Summarize counts; shares and means without captions are 0.
func Summarize(records iter.Seq[CaptionRecord]) CaptionSummary {
	s := CaptionSummary{Histogram: Histogram{Step: scoreStep, Counts: []int{}}}
	vocabulary, distinct := map[string]bool{}, map[uint64]bool{} // captions by hash: there may be millions
	seed := maphash.MakeSeed()
	wordCount, named, scored, scoredWords := 0, 0, 0, 0
	for r := range records {
		s.Images++
		s.Captioner, s.Prompt, s.Seed = r.Captioner, r.Prompt, r.Seed
		s.Empty += r.Empty
		s.Refused += len(r.Refusals)
		s.Usage = s.Usage.Add(r.Usage)
		if len(r.Captions) == 0 {
			s.Without++
		}
		class := words(r.Class)
		own := map[string]bool{}
		for _, c := range r.Captions {
			s.Captions++
			if own[c.Text] {
				s.Duplicate++
			}
			own[c.Text], distinct[maphash.String(seed, c.Text)] = true, true
			said := words(c.Text)
			wordCount += len(said)
			for _, w := range said {
				if !vocabulary[w] {
					vocabulary[strings.Clone(w)] = true // not the whole caption
				}
			}
			if mentions(said, class) {
				named++
			}
			s.CLIPScore += c.CLIPScore
			if c.CLIPScore >= -1.01 && c.CLIPScore <= 1.01 { // a file may say anything
				s.Histogram.add(c.CLIPScore)
			}
			if c.LogProb != nil {
				s.LogProb += *c.LogProb
				scored++
				scoredWords += len(said)
			}
			if c.Original != "" {
				s.Boilerplate++
				s.BoilerplateGain += c.CLIPScore - c.OriginalScore
			}
		}
	}
	s.Vocabulary, s.Distinct = len(vocabulary), len(distinct)
	if scoredWords > 0 {
		s.Perplexity = math.Exp(-s.LogProb / float64(scoredWords))
	}
	s.PerImage = share(float64(s.Captions), s.Images)
	s.Words, s.NamesClass = share(float64(wordCount), s.Captions), share(float64(named), s.Captions)
	s.CLIPScore, s.LogProb = share(s.CLIPScore, s.Captions), share(s.LogProb, scored)
	s.BoilerplateGain = share(s.BoilerplateGain, s.Boilerplate)
	return s
}

func share(sum float64, n int) float64 {
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}

// ReadCaptionSummary reads the summary beside a file of captions.
func ReadCaptionSummary(path string) (CaptionSummary, error) {
	var s CaptionSummary
	found, err := readSummary(beside(path), &s)
	if err == nil && !found {
		err = fmt.Errorf("there is no %s; caption first", beside(path))
	}
	return s, err
}

// Report writes the summary for people: counts, and CLIP scores as bars.
func (s CaptionSummary) Report(w io.Writer) error {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-20s%s\n", name, fmt.Sprintf(format, args...))
	}
	row("captioner", "%s", s.Captioner)
	if s.Prompt != "" {
		row("prompt", "%s", s.Prompt)
	}
	row("images", "%d, %d broken, %d without a caption", s.Images, s.Broken, s.Without)
	row("captions", "%d, %d different, %d repeated for their image, %d empty", s.Captions, s.Distinct, s.Duplicate, s.Empty)
	if s.Refused > 0 {
		row("refused", "%d captions, by the endpoint", s.Refused)
	}
	row("length", "%.1f words, vocabulary %d", s.Words, s.Vocabulary)
	row("name the class", "%.1f%%", 100*s.NamesClass)
	if s.Perplexity > 0 {
		row("log-probability", "%.2f a caption, perplexity %.1f a word", s.LogProb, s.Perplexity)
	}
	if s.Boilerplate > 0 {
		row("boilerplate", "dropped from %d (%.1f%%), CLIP score %+.4f by it", s.Boilerplate, 100*share(float64(s.Boilerplate), s.Captions), s.BoilerplateGain)
	}
	if s.Usage.Requests > 0 {
		row("usage", "%d requests, %d input and %d output tokens", s.Usage.Requests, s.Usage.InputTokens, s.Usage.OutputTokens)
	}
	if s.ImagesPerSecond > 0 {
		row("speed", "%.2f images/s", s.ImagesPerSecond)
	}
	row("CLIP score", "%.3f", s.CLIPScore)
	most := 1
	for _, n := range s.Histogram.Counts {
		most = max(most, n)
	}
	for i, n := range s.Histogram.Counts {
		from := s.Histogram.From + float64(i)*s.Histogram.Step
		fmt.Fprintf(&b, "  %5.2f to %5.2f  %-40s %d\n", from, from+s.Histogram.Step, strings.Repeat("█", (40*n+most-1)/most), n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
