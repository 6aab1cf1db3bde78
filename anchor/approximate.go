package anchor

import (
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

// SearchSummary tells how well and how fast an approximate search was.
type SearchSummary struct {
	index.Recall
	// SearchSeconds is the wall clock of all queries' search, TuneSeconds that of
	// the recall's measurement, most of which is the sample's exact search.
	SearchSeconds float64 `json:"search_seconds"`
	TuneSeconds   float64 `json:"tune_seconds"`
	// PeakMemory is this process's so far in bytes, all that it did before
	// included; what a server takes is the server's to tell.
	PeakMemory int64 `json:"peak_memory_bytes"`
}

// String is the end of a line for the user.
func (s SearchSummary) String() string {
	return fmt.Sprintf("recall@%d %.3f on %d queries; searched in %.1f s; %s of memory at most",
		s.K, s.Recall.Recall, s.Sample, s.SearchSeconds, humanize.IBytes(uint64(s.PeakMemory)))
}

// approximate is a search through indexes of the pool, FAISS's or Milvus's.
type approximate struct {
	index.Approximate
	name, mend string // of the index, in messages
	summary    SearchSummary
	summarize  func(*PairSummary)
	closers    []func()
}

// openApproximate opens or builds the indexes that the query needs, and tunes
// the search on a sample of the queries.
func (r *retrieval) openApproximate(ctx context.Context) (err error) {
	a := &approximate{Approximate: index.Approximate{Vectors: r.candidates}}
	r.approximate = a
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	open := r.openFAISS
	if r.o.Milvus != nil {
		open = r.openMilvus
	}
	if err := open(ctx, a); err != nil {
		return err
	}
	return r.tune(ctx, a)
}

// parts are the features that the query looks at, with their first columns.
func (r *retrieval) parts(use func(texts bool, first int) error) error {
	first := 0
	for _, part := range []struct{ used, texts bool }{{r.candidates.image, false}, {r.candidates.text, true}} {
		if !part.used {
			continue
		}
		if err := use(part.texts, first); err != nil {
			return err
		}
		first += r.candidates.dim
	}
	return nil
}

func (r *retrieval) tune(ctx context.Context, a *approximate) error {
	var asking []int
	for q, asks := range r.asks {
		if asks {
			asking = append(asking, q)
		}
	}
	if len(asking) == 0 {
		return nil
	}
	step := max(1, len(asking)/recallSample)
	var sample []int
	for i := 0; i < len(asking) && len(sample) < recallSample; i += step {
		sample = append(sample, asking[i])
	}
	queries, err := index.Pick(r.vectors, sample)
	if err != nil {
		return err
	}
	start := time.Now()
	if a.summary.Recall, err = a.Tune(ctx, queries, r.o.K, recallWanted, r.o.Device); err != nil {
		return err
	}
	a.summary.TuneSeconds = time.Since(start).Seconds()
	switch got := a.summary.Recall; {
	case got.Recall < recallNeeded:
		return fmt.Errorf("the %s finds only %.0f%% of the exact %d nearest; it isn't of these features, or is too coarse: %s, or set anchors.pairs.index: exact", a.name, 100*got.Recall, got.K, a.mend)
	case got.Recall < recallWanted:
		slog.Warn(fmt.Sprintf("the %s finds %.1f%% of the exact %d nearest, fewer than the %.0f%% wanted; anchors.pairs.index: exact finds all", a.name, 100*got.Recall, got.K, 100*recallWanted))
	}
	return nil
}

func (a *approximate) search(ctx context.Context, queries index.Vectors, k int, progress func(done, total int)) (*index.Neighbors, error) {
	start := time.Now()
	a.Progress = progress
	n, err := a.Search(ctx, queries, k)
	a.summary.SearchSeconds += time.Since(start).Seconds()
	return n, err
}

func (a *approximate) close() {
	for _, c := range a.closers {
		c()
	}
}
