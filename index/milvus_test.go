package index

import (
	"context"
	"errors"
	"testing"

	"arf/internal/milvustest"
	"arf/milvus"
)

// A run that is interrupted once all rows are sent, but before they are indexed:
// the next one sends none and waits for the index.
func TestMilvusWaitsForTheIndex(t *testing.T) {
	milvustest.Each(t, func(t *testing.T, server *milvustest.Server) {
		const n, dim = 3000, 16
		images := clustered(n, dim, 1)
		s := store(t, images, clustered(n, dim, 2))
		o := MilvusOptions{Options: milvus.Options{Address: server.Address}, Kind: "IVF_FLAT"}
		c, err := milvus.Connect(t.Context(), o.Options)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, interrupt := context.WithCancel(t.Context())
		defer interrupt()
		o.Progress = func(done, total int) {
			if done == total {
				interrupt()
			}
		}
		if _, _, err := s.Milvus(ctx, c, false, o); !errors.Is(err, context.Canceled) {
			t.Fatalf("interrupted: %v", err)
		}
		sent := 0
		o.Progress = func(int, int) { sent++ }
		x, info, err := s.Milvus(t.Context(), c, false, o)
		if err != nil || sent != 0 || info.Present != n || info.IndexSeconds == 0 || info.InsertSeconds != 0 {
			t.Fatalf("%d blocks were sent, %+v, %v", sent, info, err)
		}
		// Searched through the index, one list of many has less than all; Milvus Lite looks at every row.
		if _, rows, err := x.Search(t.Context(), images.Data[:dim], n); err != nil || !server.Lite && rows[n-1] != -1 {
			t.Errorf("one list finds row %d last, %v", rows[n-1], err)
		}
	})
}
