package report

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"arf/internal/parquetfile"

	"github.com/parquet-go/parquet-go"
)

// captionRecord is one line of captions.jsonl: a finetune image and what the
// captioner says of it.
type captionRecord struct {
	Key       string    `json:"key"`
	Image     string    `json:"image"`
	Class     string    `json:"class"`
	Captions  []caption `json:"captions"`
	Captioner string    `json:"captioner"`
}

type caption struct {
	Text    string   `json:"text"`
	LogProb *float64 `json:"log_prob"`   // of the whole caption, in nats
	CLIP    *float64 `json:"clip_score"` // cosine of image and text features
}

// pairRecord is the part of pairs.parquet's rows that the report shows.
type pairRecord struct {
	QueryKey   string  `parquet:"query_key"`
	QueryClass string  `parquet:"query_class"`
	Rank       int64   `parquet:"rank"`
	PairKey    string  `parquet:"pair_key"`
	Text       string  `parquet:"text"`
	Score      float64 `parquet:"score"`      // cosine of query and pair
	CLIP       float64 `parquet:"clip_score"` // cosine of the pair's own image and text
	Set        string  `parquet:"set,optional"`
	License    string  `parquet:"license,optional"`
}

func (r *Run) loadAnchors() error {
	name := filepath.Join(r.Dir, "anchors", "captions.jsonl")
	err := readLines(name, func(line int, data []byte, last bool) error {
		var c captionRecord
		if err := decode(name, line, data, &c); err != nil {
			if last {
				r.warnf("%s: line %d is cut off and was left out.", name, line)
				return nil
			}
			return err
		}
		if c.Key == "" {
			return fmt.Errorf("%s, line %d: field key is missing", name, line)
		}
		r.captions = append(r.captions, c)
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Where a run has both kinds of retrieved pairs, those of the method that focus prefers.
	names := []string{"pairs", "pairs-class-text"}
	if slices.ContainsFunc(r.named.Methods, func(m string) bool { return strings.HasSuffix(m, "+class-text") }) {
		slices.Reverse(names)
	}
	for _, name := range names {
		pairs := filepath.Join(r.Dir, "anchors", name+".parquet")
		if _, err := os.Stat(pairs); err == nil {
			r.pairs = pairs
			return checkPairs(pairs)
		}
	}
	return nil
}

// checkPairs finds a file that is no Parquet or lacks a column.
func checkPairs(name string) error {
	return parquetfile.Open(name, func(f *parquet.File) error {
		var missing []string
		for _, column := range []string{"query_key", "query_class", "rank", "pair_key", "text", "score"} {
			if _, ok := f.Schema().Lookup(column); !ok {
				missing = append(missing, column)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("field %s is missing; run arf retrieve again", strings.Join(missing, ", "))
		}
		return nil
	})
}

// eachPair streams pairs.parquet, which can be larger than memory.
func (r *Run) eachPair(do func(pairRecord)) error {
	if r.pairs == "" {
		return nil
	}
	return parquetfile.Open(r.pairs, func(f *parquet.File) error {
		in := parquet.NewGenericReader[pairRecord](f)
		defer in.Close()
		rows := make([]pairRecord, 1024)
		for {
			n, err := in.Read(rows)
			for _, row := range rows[:n] {
				do(row)
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
}

// anchorStats sums up what ARF trained on.
type anchorStats struct {
	Images, Captions       int
	Pairs, DistinctPairs   int
	CaptionCLIP, PairScore float64 // means
	MostUsed               int     // how many images retrieved the most frequent pair
	MostUsedText           string
	By                     string // what pairs were retrieved by; "" = unknown
	Captioner              string
}

// card is one finetune image with its anchors.
type card struct {
	Key, Class string
	Captions   []caption
	Pairs      []pairRecord
}

// gallery picks up to limit images, in turn from each class, and their anchors.
func (r *Run) gallery(limit int) ([]card, anchorStats, error) {
	var stats anchorStats
	byClass := map[string][]string{} // keys in file order
	seen := map[string]bool{}
	add := func(key, class string) {
		if !seen[key] {
			seen[key] = true
			byClass[class] = append(byClass[class], key)
		}
	}
	clip, clips := 0.0, 0
	for _, c := range r.captions {
		add(c.Key, c.Class)
		stats.Captions += len(c.Captions)
		stats.Captioner = c.Captioner
		for _, one := range c.Captions {
			if one.CLIP != nil {
				clip, clips = clip+*one.CLIP, clips+1
			}
		}
	}
	used, mostUsed := map[string]int{}, ""
	score := 0.0
	err := r.eachPair(func(p pairRecord) {
		add(p.QueryKey, p.QueryClass)
		stats.Pairs++
		score += p.Score
		used[p.PairKey]++
		if n := used[p.PairKey]; n > stats.MostUsed || n == stats.MostUsed && p.PairKey < mostUsed {
			stats.MostUsed, stats.MostUsedText, mostUsed = n, p.Text, p.PairKey
		}
	})
	if err != nil {
		return nil, stats, err
	}
	stats.Images, stats.DistinctPairs = len(seen), len(used)
	stats.CaptionCLIP, stats.PairScore = clip/float64(clips), score/float64(stats.Pairs) // NaN when none

	if summary, err := r.pairSummary(); err != nil {
		return nil, stats, err
	} else if summary != nil {
		stats.By = summary.By
	}

	cards := pick(byClass, limit)
	at := make(map[string]int, len(cards))
	for i, c := range cards {
		at[c.Key] = i
	}
	for _, c := range r.captions {
		if i, ok := at[c.Key]; ok {
			cards[i].Captions = append(cards[i].Captions, c.Captions...)
		}
	}
	err = r.eachPair(func(p pairRecord) {
		if i, ok := at[p.QueryKey]; ok {
			cards[i].Pairs = append(cards[i].Pairs, p)
		}
	})
	for i := range cards {
		slices.SortStableFunc(cards[i].Pairs, func(a, b pairRecord) int { return int(a.Rank - b.Rank) })
	}
	return cards, stats, err
}

// pick takes images from the classes in turn, so that few images show many
// classes; with more classes than images, from classes at even distances.
func pick(byClass map[string][]string, limit int) []card {
	var classes []string
	for class := range byClass {
		classes = append(classes, class)
	}
	slices.Sort(classes)
	if len(classes) > limit {
		for i := range limit {
			classes[i] = classes[i*len(classes)/limit]
		}
		classes = classes[:limit]
	}
	var cards []card
	for round := 0; ; round++ {
		before := len(cards)
		for _, class := range classes {
			if keys := byClass[class]; round < len(keys) && len(cards) < limit {
				cards = append(cards, card{Key: keys[round], Class: class})
			}
		}
		if len(cards) == before {
			return cards
		}
	}
}
