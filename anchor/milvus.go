package anchor

import (
	"context"
	"fmt"
	"strings"

	"arf/index"
	"arf/milvus"

	"github.com/dustin/go-humanize"
)

// MilvusSummary tells of an approximate search through Milvus.
type MilvusSummary struct {
	Collections []index.MilvusInfo `json:"collections"`
	SearchSummary
}

// String is a line for the user.
func (s *MilvusSummary) String() string {
	var parts []string
	for _, x := range s.Collections {
		text := fmt.Sprintf("%s at %s, %s of %d rows (%s of vectors", x.Collection, x.Address, x.Kind, x.Rows, humanize.IBytes(uint64(x.Bytes)))
		if sent := x.Rows - x.Present; sent > 0 {
			text += fmt.Sprintf(", %d of them sent in %.1f s and indexed in %.1f s", sent, x.InsertSeconds, x.IndexSeconds)
		}
		parts = append(parts, text+")")
	}
	return fmt.Sprintf("milvus: %s; %s", strings.Join(parts, " and "), s.SearchSummary)
}

// openMilvus opens or fills the server's collections of the pool's features.
func (r *retrieval) openMilvus(ctx context.Context, a *approximate) error {
	o := *r.o.Milvus
	o.Progress = r.stage.next()
	client, err := milvus.Connect(ctx, o.Options)
	if err != nil {
		return err
	}
	a.closers = append(a.closers, client.Close)
	a.name, a.mend = "Milvus index at "+o.Address, "set another anchors.pairs.milvus.index_type"
	var infos []index.MilvusInfo
	a.summarize = func(s *PairSummary) {
		s.Milvus = &MilvusSummary{infos, a.summary}
	}
	return r.parts(func(texts bool, first int) error {
		x, info, err := r.in.Pool.Milvus(ctx, client, texts, o)
		if err != nil {
			return err
		}
		infos = append(infos, info)
		a.Parts = append(a.Parts, index.Part{Index: x, First: first})
		return nil
	})
}
