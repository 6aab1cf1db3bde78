package anchor

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"

	"arf/index"

	"github.com/dustin/go-humanize"
)

// FAISSSummary tells of an approximate search through FAISS.
type FAISSSummary struct {
	Indexes []index.FAISSInfo `json:"indexes"`
	SearchSummary
}

// String is a line for the user.
func (s *FAISSSummary) String() string {
	var parts []string
	for _, x := range s.Indexes {
		text := fmt.Sprintf("%s of %d rows (%s", cmp.Or(x.Kind, "a given index"), x.Rows, humanize.IBytes(uint64(x.Bytes)))
		if x.Built {
			text += fmt.Sprintf(", built in %.1f s", x.TrainSeconds+x.AddSeconds)
		}
		parts = append(parts, text+")")
	}
	return fmt.Sprintf("faiss: %s; %s", strings.Join(parts, " and "), s.SearchSummary)
}

// openFAISS opens or builds the indexes beside the pool's features.
func (r *retrieval) openFAISS(ctx context.Context, a *approximate) error {
	a.name, a.mend = "FAISS index in "+r.in.Pool.Dir, "remove image.index and text.index there to have them built"
	var infos []index.FAISSInfo
	a.summarize = func(s *PairSummary) { s.FAISS = &FAISSSummary{infos, a.summary} }
	progress := r.stage.next()
	return r.parts(func(texts bool, first int) error {
		x, info, err := r.in.Pool.FAISS(ctx, texts, index.FAISSOptions{Progress: progress})
		if err != nil {
			return err
		}
		a.closers = append(a.closers, x.Close)
		if info.Built {
			slog.Info("built a FAISS index", "of", r.in.Pool.Dir, "kind", info.Kind, "rows", info.Rows,
				"seconds", fmt.Sprintf("%.1f", info.TrainSeconds+info.AddSeconds), "bytes", info.Bytes)
		}
		infos = append(infos, info)
		a.Parts = append(a.Parts, index.Part{Index: x, First: first})
		return nil
	})
}
