package index

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"time"

	"arf/milvus"
)

// MilvusInfo tells of a Milvus collection and how it was filled.
type MilvusInfo struct {
	Address    string `json:"address"`
	Collection string `json:"collection"`
	Kind       string `json:"kind"`     // of the index, in Milvus's words
	Features   string `json:"features"` // what stands for them in the collection's name and description
	Rows       int    `json:"rows"`
	Dim        int    `json:"dim"`
	Bytes      int64  `json:"bytes"`   // of the vectors in float32, without the index
	Present    int    `json:"present"` // rows that were there already
	// Wall clock of sending the other rows, and of waiting until all were indexed.
	InsertSeconds float64 `json:"insert_seconds"`
	IndexSeconds  float64 `json:"index_seconds"`
}

// MilvusOptions say where the collections are. Only Kind is part of what a
// search depends on.
type MilvusOptions struct {
	milvus.Options `json:"-"`
	// Collection begins the collections' names, which end in _image and _text; ""
	// is arf_ and the fingerprint of the features.
	Collection string                `json:"-"`
	Kind       string                `json:"kind"` // see milvus.Spec
	Progress   func(done, total int) `json:"-"`    // rows; may be nil
}

// Milvus opens the collection of a store's image or text features, and sends
// what it lacks of them. A collection of other features is refused
// (milvus.ErrOther); a server that goes away (milvus.ErrGone) keeps what it has,
// and the next call goes on behind it.
func (s *Store) Milvus(ctx context.Context, client *milvus.Client, texts bool, o MilvusOptions) (*milvus.Collection, MilvusInfo, error) {
	name, vectors := "image", s.Images()
	if texts {
		name, vectors = "text", s.Texts()
	}
	info := MilvusInfo{Address: o.Address, Rows: vectors.Len(), Dim: vectors.Dim(), Bytes: int64(vectors.Len()) * int64(vectors.Dim()) * 4}
	identity, err := s.identity(texts)
	if err != nil {
		return nil, info, err
	}
	sum := sha256.Sum256([]byte(identity))
	info.Features = hex.EncodeToString(sum[:8])
	if info.Collection = o.Collection; info.Collection == "" {
		info.Collection = "arf_" + info.Features
	}
	info.Collection += "_" + name
	fail := func(err error) (*milvus.Collection, MilvusInfo, error) {
		return nil, info, fmt.Errorf("%s features of %s: %w", name, s.Dir, err)
	}
	x, err := client.Open(ctx, milvus.Spec{Name: info.Collection, Content: name + " features " + info.Features, Rows: info.Rows, Dim: info.Dim, Kind: o.Kind})
	if err != nil {
		return fail(err)
	}
	info.Kind, info.Present = x.Kind, x.Present
	start := time.Now()
	if x.Present < x.Rows {
		slog.Info("filling a Milvus collection", "of", s.Dir, "collection", x.Name, "address", o.Address, "rows", x.Rows, "there", x.Present)
		if err := x.Fill(ctx, vectors.Read, o.Progress); err != nil {
			return fail(err)
		}
		info.InsertSeconds = time.Since(start).Seconds()
		start = time.Now()
	}
	// All rows may be there of a run that was interrupted before they were indexed.
	if err := x.Wait(ctx); err != nil {
		return fail(err)
	}
	info.IndexSeconds = time.Since(start).Seconds()
	return x, info, nil
}
