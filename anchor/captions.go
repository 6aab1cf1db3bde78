package anchor

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// CaptionRecord is one line of captions.jsonl: an image and what is said of it.
// Lines are in the order of the dataset; images that can't be decoded have none.
type CaptionRecord struct {
	Key      string          `json:"key"`
	Image    string          `json:"image"` // as Key: its path in an image folder or table
	Class    string          `json:"class"`
	Row      int             `json:"row"` // its number in the dataset
	Captions []ScoredCaption `json:"captions"`
	// Captioner and Seed say what made the captions.
	Captioner string `json:"captioner"`
	Seed      int64  `json:"seed"`
	Empty     int    `json:"empty,omitempty"` // captions left out as empty
}

// ScoredCaption is one caption of an image.
type ScoredCaption struct {
	Text      string  `json:"text"`
	LogProb   float64 `json:"log_prob"`   // of the whole caption, natural logarithm
	CLIPScore float64 `json:"clip_score"` // cosine of image and caption by the pretrained model
}

// ReadCaptions reads captions.jsonl. A torn last line, as an interruption may
// leave, is left out. Errors name file and line.
func ReadCaptions(path string) ([]CaptionRecord, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	records, _, err := parseCaptions(f)
	if err != nil {
		return nil, fmt.Errorf("%s, %w; remove the file and caption again", path, err)
	}
	return records, nil
}

// parseCaptions gives the records and where each ends in bytes, without a torn
// last line.
func parseCaptions(r io.Reader) (records []CaptionRecord, ends []int64, err error) {
	lines := bufio.NewReader(r)
	var torn error // of the line before
	size := int64(0)
	for line := 1; ; line++ {
		data, err := lines.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return nil, nil, fmt.Errorf("line %d: %w", line, err)
		}
		if len(data) == 0 || err == io.EOF {
			return records, ends, nil // a line without its end is torn
		}
		if torn != nil {
			return nil, nil, fmt.Errorf("line %d: %w", line-1, torn)
		}
		var record CaptionRecord
		if torn = parseRecord(data, &record); torn != nil {
			continue // forgiven if it's the last
		}
		if n := len(records); n > 0 && record.Row <= records[n-1].Row {
			return nil, nil, fmt.Errorf("line %d: field row is %d after %d", line, record.Row, records[n-1].Row)
		}
		size += int64(len(data))
		records, ends = append(records, record), append(ends, size)
	}
}

func parseRecord(line []byte, record *CaptionRecord) error {
	if err := json.Unmarshal(bytes.TrimSpace(line), record); err != nil {
		return err
	}
	switch {
	case record.Key == "":
		return errors.New("field key is missing")
	case record.Row < 0:
		return fmt.Errorf("field row is %d", record.Row)
	}
	for i, c := range record.Captions {
		if clean(c.Text) == "" {
			return fmt.Errorf("caption %d is empty", i)
		}
	}
	return nil
}

// CaptionTexts reads the captions of each key whose CLIP score is at least
// minScore; −1 keeps all. An image without such captions has no entry.
func CaptionTexts(path string, minScore float64) (map[string][]string, error) {
	records, err := ReadCaptions(path)
	if err != nil {
		return nil, err
	}
	texts := make(map[string][]string, len(records))
	for _, r := range records {
		for _, c := range r.Captions {
			if c.CLIPScore >= minScore {
				texts[r.Key] = append(texts[r.Key], c.Text)
			}
		}
	}
	return texts, nil
}

// CaptionSummary is captions.json.
type CaptionSummary struct {
	Hash     string `json:"hash"` // of what the captions were made from
	Complete bool   `json:"complete"`

	Captioner string `json:"captioner"`
	Seed      int64  `json:"seed"`
	Images    int    `json:"images"`           // with a line
	Broken    int    `json:"broken"`           // that couldn't be decoded
	Without   int    `json:"without_captions"` // with a line but no caption
	Captions  int    `json:"captions"`
	Empty     int    `json:"empty"`      // left out as empty
	Duplicate int    `json:"duplicates"` // captions that repeat one of the same image
	Distinct  int    `json:"distinct"`   // different captions of all images

	PerImage   float64 `json:"captions_per_image"`
	Words      float64 `json:"mean_words"`       // a caption
	Vocabulary int     `json:"vocabulary"`       // different words of all captions
	NamesClass float64 `json:"names_class"`      // share of captions that name the image's class
	CLIPScore  float64 `json:"mean_clip_score"`  // cosine, [−1, 1]
	LogProb    float64 `json:"mean_log_prob"`    // of a caption
	Perplexity float64 `json:"perplexity_words"` // e to the mean −log_prob a word
}

// Summarize counts; shares and means without captions are 0.
func Summarize(records []CaptionRecord) CaptionSummary {
	s := CaptionSummary{Images: len(records)}
	vocabulary, distinct := map[string]bool{}, map[string]bool{}
	wordCount, named := 0, 0
	for _, r := range records {
		s.Captioner, s.Seed = r.Captioner, r.Seed
		s.Empty += r.Empty
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
			own[c.Text], distinct[c.Text] = true, true
			said := words(c.Text)
			wordCount += len(said)
			for _, w := range said {
				vocabulary[w] = true
			}
			if mentions(said, class) {
				named++
			}
			s.CLIPScore += c.CLIPScore
			s.LogProb += c.LogProb
		}
	}
	s.Vocabulary, s.Distinct = len(vocabulary), len(distinct)
	if wordCount > 0 {
		s.Perplexity = math.Exp(-s.LogProb / float64(wordCount))
	}
	s.PerImage = share(float64(s.Captions), s.Images)
	s.Words, s.NamesClass = share(float64(wordCount), s.Captions), share(float64(named), s.Captions)
	s.CLIPScore, s.LogProb = share(s.CLIPScore, s.Captions), share(s.LogProb, s.Captions)
	return s
}

func share(sum float64, n int) float64 {
	if n == 0 {
		return 0
	}
	return sum / float64(n)
}
