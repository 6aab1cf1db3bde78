package anchor

import (
	"errors"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"arf/index"
	"arf/internal/milvustest"
	"arf/milvus"
)

// A search through Milvus finds what the exact one does, whatever is compared,
// with biases and dropped pairs; the second one sends nothing.
func TestRetrieveWithMilvus(t *testing.T) {
	milvustest.Each(t, func(t *testing.T, server *milvustest.Server) {
		w := newWorld(t)
		sent := map[string]bool{}
		for name, query := range Queries {
			if name == "random" {
				continue
			}
			o := open()
			o.Query, o.CLIPScoreWeight, o.DuplicateCosine = query, 0.3, 0.97
			want, _ := w.retrieve(t, o)
			o.Milvus = &index.MilvusOptions{Options: milvus.Options{Address: server.Address}}
			got, s := w.retrieve(t, o)
			if len(got) != len(want) {
				t.Fatalf("%s: %d pairs, exact search has %d", name, len(got), len(want))
			}
			for i := range got {
				if got[i].QueryKey != want[i].QueryKey || got[i].Rank != want[i].Rank || math.Abs(got[i].Score-want[i].Score) > 1e-5 {
					t.Errorf("%s: pair %d is %+v, exact search has %+v", name, i, got[i], want[i])
				}
			}
			if s.Milvus == nil || s.Milvus.Recall.Recall < recallWanted || s.Milvus.Recall.K != 5 || s.Milvus.PeakMemory == 0 {
				t.Fatalf("%s: summary %+v", name, s.Milvus)
			}
			t.Log(s.Milvus)
			for _, c := range s.Milvus.Collections {
				wantPresent := 0
				if sent[c.Collection] {
					wantPresent = s.Pool
				}
				if c.Rows != s.Pool || c.Present != wantPresent || !strings.HasPrefix(c.Collection, "arf_") {
					t.Errorf("%s: collection %+v, %d rows should have been there", name, c, wantPresent)
				}
				sent[c.Collection] = true
			}
		}
		if len(sent) != 2 {
			t.Errorf("collections %v", sent)
		}
	})
}

// A collection of other features that has the name is refused; a server that is
// gone is named, leaves no pairs, and the same call goes on once it's back.
func TestRetrieveWithMilvusFails(t *testing.T) {
	milvustest.Each(t, func(t *testing.T, server *milvustest.Server) {
		w := newWorld(t)
		path := filepath.Join(t.TempDir(), "pairs.parquet")
		o := open()
		o.Milvus = &index.MilvusOptions{Options: milvus.Options{Address: server.Address, Patience: time.Second}, Collection: "mine"}
		in := PairInput{Pool: w.pool, Finetune: w.finetune, Model: w.model}
		if _, err := Retrieve(t.Context(), path, in, o); err != nil {
			t.Fatal(err)
		}
		other, pool := in, *w.pool
		pool.Manifest.Hash, other.Pool = "other features", &pool
		if _, err := Retrieve(t.Context(), filepath.Join(t.TempDir(), "pairs.parquet"), other, o); !errors.Is(err, milvus.ErrOther) || !strings.Contains(err.Error(), "mine_image") {
			t.Errorf("other features: %v", err)
		}
		path = filepath.Join(t.TempDir(), "pairs.parquet")
		server.Kill()
		_, err := Retrieve(t.Context(), path, in, o)
		if !errors.Is(err, milvus.ErrGone) || !strings.Contains(err.Error(), server.Address) {
			t.Errorf("gone: %v", err)
		}
		if got, err := ReadPairs(path); err == nil {
			t.Errorf("%d pairs of a search that failed", len(got))
		}
		server.Run()
		s, err := Retrieve(t.Context(), path, in, o)
		if err != nil || s.Milvus.Collections[0].Present != s.Pool {
			t.Errorf("back: %+v, %v", s, err)
		}
	})
}
