package anchor

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"arf/index"
	"arf/torch"
	"arf/train"
)

// PairSummary is pairs.json.
type PairSummary struct {
	Hash    string      `json:"hash"` // of what the pairs were made from
	Options PairOptions `json:"options"`
	By      string      `json:"by"` // the options' query in words

	Pool     int `json:"pool"`            // pairs in it
	Eligible int `json:"eligible"`        // that weren't dropped
	Queries  int `json:"queries"`         // finetune images
	Silent   int `json:"queries_silent"`  // that had nothing to ask with, such as no caption
	Without  int `json:"queries_without"` // that have no pair
	Short    int `json:"queries_short"`   // that have fewer than k
	Pairs    int `json:"pairs"`           // rows of the file
	Distinct int `json:"distinct_pairs"`  // different pairs among them

	Dropped  map[string]int            `json:"dropped"`               // pairs of the pool, by reason
	Excluded map[string]int            `json:"excluded_by,omitempty"` // rows that each exclusion names, whatever else they were dropped for
	Leaks    map[string]map[string]int `json:"leaks"`                 // by guard and reason
	Examples []Leak                    `json:"leak_examples"`         // the first of them
	// DroppedExamples are the first pairs dropped for each other reason.
	DroppedExamples []Dropped `json:"dropped_examples"`

	Score     float64 `json:"mean_score"`      // cosine of query and pair
	CLIPScore float64 `json:"mean_clip_score"` // cosine of the pair's own image and text
	// Hubness is the skewness of how often each eligible pair was retrieved
	// (Radovanović et al. 2010, eq. 3): 0 when evenly, great when few serve all.
	Hubness  float64 `json:"hubness_skewness"`
	MostUsed int     `json:"most_used"` // queries that the most retrieved pair serves
	// NamesClass are the shares of pairs up to that rank of which a text names
	// the query's class.
	NamesClass map[string]float64 `json:"names_class"` // "@1", "@5", "@k"
	// Exact, FAISS or Milvus tells of the search, the one that was; of random pairs none does.
	Exact  *ExactSummary  `json:"exact,omitempty"`
	FAISS  *FAISSSummary  `json:"faiss,omitempty"`
	Milvus *MilvusSummary `json:"milvus,omitempty"`
}

// Dropped is an example of a pair that was left out.
type Dropped struct {
	PairKey string `json:"pair_key"`
	Text    string `json:"text"`
	Reason  string `json:"reason"`
	Kept    string `json:"kept,omitempty"` // key of the pair that a duplicate repeats
	// Similarity is the cosine with that pair's image, or for LowCLIPScore that of
	// the pair's own image and text.
	Similarity float64 `json:"similarity"`
}

// droppedShown bounds the examples of a reason.
const droppedShown = 20

// droppedRow is an example whose keys and text are yet to be read.
type droppedRow struct {
	row, kept  int // kept: -1 = none
	similarity float64
}

func (r *retrieval) droppedExamples() []droppedRow {
	var out []droppedRow
	shown := map[string]int{}
	for i, reason := range r.pool.dropped {
		if reason == "" || reason == LeakPixels || reason == LeakPrint || reason == LeakCosine || shown[reason] == droppedShown {
			continue
		}
		shown[reason]++
		d := droppedRow{row: i, kept: -1, similarity: float64(r.pool.clip[i])}
		if twin, ok := r.pool.duplicates[i]; ok {
			// One with equal pixels may have taken its place, or have gone for another.
			for next, gone := r.pool.duplicates[twin.of]; gone && max(twin.cosine, next.cosine) == 1; next, gone = r.pool.duplicates[twin.of] {
				twin = duplicate{next.of, min(twin.cosine, next.cosine)}
			}
			d.kept, d.similarity = twin.of, min(twin.cosine, 1)
		}
		out = append(out, d)
	}
	return out
}

func (r *retrieval) summarize(pairs []Pair, lists [][]found, examples []droppedRow, rows map[int]index.Row) *PairSummary {
	for i, row := range r.pool.leaked {
		r.pool.leaks[i].PairKey, r.pool.leaks[i].Text = rows[row].Key, rows[row].Caption
	}
	var dropped []Dropped
	for _, e := range examples {
		// Where none is kept in its place, that row has no key.
		dropped = append(dropped, Dropped{
			PairKey: rows[e.row].Key, Text: rows[e.row].Caption, Reason: r.pool.dropped[e.row], Kept: rows[e.kept].Key, Similarity: e.similarity,
		})
	}
	s := &PairSummary{
		Options: r.o, By: r.o.Query.String(), Pool: len(r.pool.dropped), Queries: len(r.queries), Pairs: len(pairs),
		Dropped: r.dropped(), Excluded: r.excluded, Leaks: r.pool.counts, Examples: r.pool.leaks, DroppedExamples: dropped,
	}
	s.Eligible = s.Pool
	for _, n := range s.Dropped {
		s.Eligible -= n
	}
	used := make([]int32, len(r.pool.dropped))
	for q, list := range lists {
		if !r.asks[q] {
			s.Silent++
		}
		if len(list) == 0 {
			s.Without++
		}
		if len(list) < r.o.K {
			s.Short++
		}
		for _, f := range list {
			if used[f.row]++; used[f.row] == 1 {
				s.Distinct++
			}
			s.MostUsed = max(s.MostUsed, int(used[f.row]))
		}
	}
	var occurrences []int
	for i, n := range used {
		if r.pool.dropped[i] == "" {
			occurrences = append(occurrences, int(n))
		}
	}
	s.Hubness = skewness(occurrences)
	for _, p := range pairs {
		s.Score += p.Score / float64(len(pairs))
		s.CLIPScore += p.CLIPScore / float64(len(pairs))
	}
	s.NamesClass = namesClass(pairs, r.o.K)
	switch {
	case r.approximate != nil:
		r.approximate.summary.PeakMemory = train.PeakMemory(torch.CPU)
		r.approximate.summarize(s)
	case !r.o.Query.Random:
		s.Exact = &r.exact
	}
	return s
}

func (r *retrieval) dropped() map[string]int {
	counts := map[string]int{}
	for _, reason := range r.pool.dropped {
		if reason != "" {
			counts[reason]++
		}
	}
	return counts
}

// reasons lists the drops for a message.
func (r *retrieval) reasons() string { return reasons(r.dropped(), len(r.pool.dropped)) }

func reasons(dropped map[string]int, of int) string {
	var parts []string
	for reason, n := range dropped {
		parts = append(parts, fmt.Sprintf("%s %d", reason, n))
	}
	slices.Sort(parts)
	if len(parts) == 0 {
		return "none"
	}
	return fmt.Sprintf("%s, of %d", strings.Join(parts, ", "), of)
}

// String is what a run prints.
func (s *PairSummary) String() string {
	text := fmt.Sprintf("%d for %d images, by %s; %d different, %.0f%% name the class; mean cosine %.3f; left out of the pool: %s",
		s.Pairs, s.Queries, s.Options.Query, s.Distinct, 100*s.NamesClass["@k"], s.Score, reasons(s.Dropped, s.Pool))
	if s.Without > 0 {
		text += fmt.Sprintf("; %d images have no pair", s.Without)
	}
	if short := s.Short - s.Without; short > 0 {
		text += fmt.Sprintf("; %d have fewer than %d", short, s.Options.K)
	}
	return text
}

func namesClass(pairs []Pair, k int) map[string]float64 {
	ranks := map[string]int{"@1": 1, "@5": 5, "@k": k}
	named, all := map[string]int{}, map[string]int{}
	classes := map[string][]string{}
	for _, p := range pairs {
		class, ok := classes[p.QueryClass]
		if !ok {
			class = words(p.QueryClass)
			classes[p.QueryClass] = class
		}
		says := mentions(words(p.Text), class) || slices.ContainsFunc(p.Texts, func(t string) bool { return mentions(words(t), class) })
		for name, rank := range ranks {
			if p.Rank <= int64(rank) {
				all[name]++
				if says {
					named[name]++
				}
			}
		}
	}
	out := map[string]float64{}
	for name := range ranks {
		out[name] = share(float64(named[name]), all[name])
	}
	return out
}

// skewness is E[(N−μ)³]/σ³; 0 where all are equal.
func skewness(n []int) float64 {
	mean := 0.0
	for _, v := range n {
		mean += float64(v) / float64(len(n))
	}
	second, third := 0.0, 0.0
	for _, v := range n {
		d := float64(v) - mean
		second += d * d / float64(len(n))
		third += d * d * d / float64(len(n))
	}
	if second == 0 {
		return 0
	}
	return third / math.Pow(second, 1.5)
}
