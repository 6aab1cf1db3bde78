package anchor

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"arf/index"

	"github.com/dustin/go-humanize"
)

// recallWanted is the least recall that an approximate search is tuned to, and
// recallNeeded the least that is taken for an index of these features at all.
const (
	recallWanted = 0.95
	recallNeeded = 0.5
	recallSample = 200 // queries
)

// FAISSSummary tells how well and how fast the approximate search was.
type FAISSSummary struct {
	Indexes []index.FAISSInfo `json:"indexes"`
	index.Recall
	// SearchSeconds is the wall clock of all queries' search, TuneSeconds that of
	// the recall's measurement, most of which is the sample's exact search.
	SearchSeconds float64 `json:"search_seconds"`
	TuneSeconds   float64 `json:"tune_seconds"`
}

// String is a line for the user.
func (s *FAISSSummary) String() string {
	text := "faiss:"
	for i, x := range s.Indexes {
		if i > 0 {
			text += " and"
		}
		text += fmt.Sprintf(" %s of %d rows (%s", cmp.Or(x.Kind, "a given index"), x.Rows, humanize.IBytes(uint64(x.Bytes)))
		if x.Built {
			text += fmt.Sprintf(", built in %.1f s", x.TrainSeconds+x.AddSeconds)
		}
		text += ")"
	}
	return text + fmt.Sprintf("; recall@%d %.3f on %d queries; searched in %.1f s", s.K, s.Recall.Recall, s.Sample, s.SearchSeconds)
}

// approximate is a search through the pool's FAISS indexes.
type approximate struct {
	index.Approximate
	summary FAISSSummary
}

// openFAISS opens or builds the indexes that the query needs, and tunes the
// search on a sample of the queries.
func (r *retrieval) openFAISS(ctx context.Context) (a *approximate, err error) {
	a = &approximate{Approximate: index.Approximate{Vectors: r.candidates}}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	progress := r.stage.next()
	first := 0
	for _, part := range []struct{ used, texts bool }{{r.candidates.image, false}, {r.candidates.text, true}} {
		if !part.used {
			continue
		}
		x, info, err := r.in.Pool.FAISS(ctx, part.texts, index.FAISSOptions{Progress: progress})
		if err != nil {
			return a, err
		}
		if info.Built {
			slog.Info("built a FAISS index", "of", r.in.Pool.Dir, "kind", info.Kind, "rows", info.Rows,
				"seconds", fmt.Sprintf("%.1f", info.TrainSeconds+info.AddSeconds), "bytes", info.Bytes)
		}
		a.summary.Indexes = append(a.summary.Indexes, info)
		a.Parts = append(a.Parts, index.Part{Index: x, First: first})
		first += x.Dim()
	}
	var asking []int
	for q, asks := range r.asks {
		if asks {
			asking = append(asking, q)
		}
	}
	if len(asking) == 0 {
		return a, nil
	}
	step := max(1, len(asking)/recallSample)
	var sample []int
	for i := 0; i < len(asking) && len(sample) < recallSample; i += step {
		sample = append(sample, asking[i])
	}
	queries, err := index.Pick(r.vectors, sample)
	if err != nil {
		return a, err
	}
	start := time.Now()
	if a.summary.Recall, err = a.Tune(ctx, queries, r.o.K, recallWanted, r.o.Device); err != nil {
		return a, err
	}
	a.summary.TuneSeconds = time.Since(start).Seconds()
	switch got := a.summary.Recall; {
	case got.Recall < recallNeeded:
		return a, fmt.Errorf("the FAISS index in %s finds only %.0f%% of the exact %d nearest; it isn't of these features, or is too coarse: remove image.index and text.index there to have them built, or set anchors.pairs.index: exact", r.in.Pool.Dir, 100*got.Recall, got.K)
	case got.Recall < recallWanted:
		slog.Warn(fmt.Sprintf("the FAISS index finds %.1f%% of the exact %d nearest, fewer than the %.0f%% wanted; anchors.pairs.index: exact finds all", 100*got.Recall, got.K, 100*recallWanted), "of", r.in.Pool.Dir)
	}
	return a, nil
}

func (a *approximate) search(ctx context.Context, queries index.Vectors, k int, progress func(done, total int)) (*index.Neighbors, error) {
	start := time.Now()
	a.Progress = progress
	n, err := a.Search(ctx, queries, k)
	a.summary.SearchSeconds += time.Since(start).Seconds()
	return n, err
}

func (a *approximate) close() {
	for _, p := range a.Parts {
		p.Index.Close()
	}
}
