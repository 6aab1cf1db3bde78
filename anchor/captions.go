package anchor

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"arf/captioner"
)

// CaptionRecord is one line of captions.jsonl: an image and what is said of it.
// Lines are in the order of the dataset; images that can't be decoded have none.
type CaptionRecord struct {
	Key      string          `json:"key"`
	Image    string          `json:"image"` // as Key: its path in an image folder or table
	Class    string          `json:"class"`
	Row      int             `json:"row"` // its number in the dataset
	Captions []ScoredCaption `json:"captions"`
	// Captioner, Prompt and Seed say what made the captions.
	Captioner string          `json:"captioner"`
	Prompt    string          `json:"prompt,omitempty"`
	Seed      int64           `json:"seed"`
	Empty     int             `json:"empty,omitempty"`    // captions left out as empty
	Refusals  []string        `json:"refusals,omitempty"` // why an endpoint gave no captions, in its words
	Usage     captioner.Usage `json:"usage,omitzero"`     // of an endpoint, when it was asked
}

// ScoredCaption is one caption of an image.
type ScoredCaption struct {
	Text string `json:"text"`
	// LogProb is the captioner's log-probability of the whole caption, natural
	// logarithm; nil where it gives none.
	LogProb   *float64 `json:"log_prob,omitempty"`
	CLIPScore float64  `json:"clip_score"` // cosine of image and caption by the pretrained model
	// Original is the caption before boilerplate was dropped, "" if none was.
	Original      string  `json:"original,omitempty"`
	OriginalScore float64 `json:"original_clip_score,omitempty"`
}

// readCaptions reads captions.jsonl one record at a time. A torn last line, as an
// interruption may leave, is left out. Errors name file and line.
func readCaptions(path string, each func(CaptionRecord)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := parseCaptions(f, func(r CaptionRecord, _ int64) error { each(r); return nil }); err != nil {
		return fmt.Errorf("%s, %w; remove the file and caption again", path, err)
	}
	return nil
}

// parseCaptions calls fn with each record and where it ends in bytes, without a
// torn last line.
func parseCaptions(r io.Reader, fn func(record CaptionRecord, end int64) error) error {
	lines := bufio.NewReader(r)
	var torn error // of the line before
	size, row := int64(0), -1
	for line := 1; ; line++ {
		data, err := lines.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("line %d: %w", line, err)
		}
		if len(data) == 0 || err == io.EOF {
			return nil // a line without its end is torn
		}
		if torn != nil {
			return fmt.Errorf("line %d: %w", line-1, torn)
		}
		var record CaptionRecord
		if torn = parseRecord(data, &record); torn != nil {
			continue // forgiven if it's the last
		}
		if record.Row <= row {
			return fmt.Errorf("line %d: field row is %d after %d", line, record.Row, row)
		}
		row = record.Row
		size += int64(len(data))
		if err := fn(record, size); err != nil {
			return err
		}
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

// CaptionFilter is a choice of captions. The zero value's MinScore drops those
// whose cosine is negative; −1 keeps all.
type CaptionFilter struct {
	MinScore       float64 // lowest CLIP score
	DropDuplicates bool    // of equal captions of an image keep one, so that each is drawn as often
}

// Gates counts what a CaptionFilter does to captions.
type Gates struct {
	Filter    CaptionFilter
	Captions  int // all
	LowScore  int // dropped for their CLIP score
	Duplicate int // equal to another of their image that is kept; dropped if the filter says so
	Kept      int
	Emptied   int // images that had captions, of which none is kept
	// Boilerplate counts those, of all, that begin with boilerplate as they are,
	// which CaptionOptions.DropBoilerplate would take off.
	Boilerplate int
}

// CaptionTexts reads the captions of each key that f keeps. An image without
// such captions has no entry.
func CaptionTexts(path string, f CaptionFilter) (map[string][]string, error) {
	texts, _, err := filterCaptions(path, f)
	return texts, err
}

// CountGates counts what CaptionTexts keeps and drops.
func CountGates(path string, f CaptionFilter) (Gates, error) {
	_, g, err := filterCaptions(path, f)
	return g, err
}

func filterCaptions(path string, f CaptionFilter) (map[string][]string, Gates, error) {
	texts, g := map[string][]string{}, Gates{Filter: f}
	err := readCaptions(path, func(r CaptionRecord) {
		kept := 0
		for _, c := range r.Captions {
			g.Captions++
			if dropBoilerplate(c.Text) != c.Text {
				g.Boilerplate++
			}
			if !(c.CLIPScore >= f.MinScore) {
				g.LowScore++
				continue
			}
			if slices.Contains(texts[r.Key], c.Text) {
				g.Duplicate++
				if f.DropDuplicates {
					continue
				}
			}
			texts[r.Key] = append(texts[r.Key], c.Text)
			kept++
		}
		if g.Kept += kept; kept == 0 && len(r.Captions) > 0 {
			g.Emptied++
		}
	})
	if err != nil {
		return nil, g, err
	}
	return texts, g, nil
}

// Report writes the counts for people, below those of CaptionSummary.
func (g Gates) Report(w io.Writer) error {
	duplicates, boilerplate := "would drop", ""
	if g.Filter.DropDuplicates {
		duplicates = "drops"
	}
	if g.Boilerplate > 0 {
		boilerplate = fmt.Sprintf("; drop_boilerplate would shorten %d", g.Boilerplate)
	}
	_, err := fmt.Fprintf(w, "%-20smin_clip_score %g drops %d, drop_duplicates %s %d%s\n%-20s%d of %d captions; %d images lose all of theirs\n",
		"gates", g.Filter.MinScore, g.LowScore, duplicates, g.Duplicate, boilerplate, "used in training", g.Kept, g.Captions, g.Emptied)
	return err
}
