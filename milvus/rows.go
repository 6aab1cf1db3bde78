package milvus

import (
	"context"
	"fmt"

	retry "github.com/grpc-ecosystem/go-grpc-middleware/retry"
	"github.com/milvus-io/milvus/client/v2/column"
	"github.com/milvus-io/milvus/client/v2/entity"
	"github.com/milvus-io/milvus/client/v2/milvusclient"
)

const (
	insertBytes = 8 << 20 // a request; Milvus takes up to 64 MiB
	mostFound   = 1 << 14 // rows a query (Milvus's quotaAndLimits.limits.topK)
	answerRows  = 1 << 20 // an answer, each 12 bytes
	mostQueries = 1 << 14 // a request (Milvus's quotaAndLimits.limits.nq)
	queryBytes  = 8 << 20 // a request
)

// batch is the rows of an insertion. It depends on nothing else than Spec, so
// that a later process knows where each began.
func (x *Collection) batch() int {
	bytes := x.batchMax
	if bytes == 0 {
		bytes = insertBytes
	}
	return max(1, bytes/(4*x.Spec.Dim))
}

// Dim is the length of a vector.
func (x *Collection) Dim() int { return x.Spec.Dim }

// Fill inserts the rows from Present on, which read gives in blocks as
// index.Vectors do. It can be stopped at any time: Open counts what came there.
func (x *Collection) Fill(ctx context.Context, read func(dst []float32, from int) error, progress func(done, total int)) error {
	batch := x.batch()
	buffer := make([]float32, min(batch, x.Rows)*x.Spec.Dim)
	for first := x.Present; first < x.Rows; first += batch {
		n := min(batch, x.Rows-first)
		if err := read(buffer[:n*x.Spec.Dim], first); err != nil {
			return err
		}
		// Only the first batch after an interruption may be there in part.
		if err := x.insert(ctx, buffer[:n*x.Spec.Dim], first, first == x.Present && first > 0); err != nil {
			return err
		}
		if progress != nil {
			progress(first+n, x.Rows)
		}
	}
	return nil
}

// insert sends rows; again tells that some may be there, which an insertion
// would double.
func (x *Collection) insert(ctx context.Context, data []float32, first int, again bool) error {
	dim := x.Spec.Dim
	ids, vectors := make([]int64, len(data)/dim), make([][]float32, len(data)/dim)
	for i := range ids {
		ids[i], vectors[i] = int64(first+i), data[i*dim:(i+1)*dim]
	}
	columns := milvusclient.NewColumnBasedInsertOption(x.Name, column.NewColumnInt64(idField, ids), column.NewColumnFloatVector(vectorField, dim, vectors))
	return x.client.call(ctx, fmt.Sprintf("insert rows %d to %d into %s", first, first+len(ids)-1, x.Name), func(ctx context.Context) error {
		var err error
		if again {
			_, err = x.client.c.Upsert(ctx, columns)
		} else {
			again = true // of a lost answer
			// The client's own repetition would double rows whose answer was lost.
			_, err = x.client.c.Insert(ctx, columns, retry.Disable())
		}
		return err
	})
}

// Search gives for each query the k rows of the greatest inner products that
// the index finds, best first, row by row; −1 stands for none. Queries are
// [n, Dim], the results [n, k]; at most 16384 rows are found for each.
func (x *Collection) Search(ctx context.Context, queries []float32, k int) (scores []float32, rows []int64, err error) {
	dim := x.Spec.Dim
	n := len(queries) / dim
	scores, rows = make([]float32, n*k), make([]int64, n*k)
	for i := range rows {
		rows[i] = -1
	}
	limit := min(k, mostFound)
	if limit == 0 {
		return scores, rows, nil
	}
	block := max(1, min(answerRows/limit, mostQueries, queryBytes/(4*dim)))
	for from := 0; from < n; from += block {
		asked := make([]entity.Vector, min(block, n-from))
		for i := range asked {
			asked[i] = entity.FloatVector(queries[(from+i)*dim : (from+i+1)*dim])
		}
		if err := x.search(ctx, asked, limit, func(q int, ids []int64, found []float32) {
			copy(rows[(from+q)*k:(from+q+1)*k], ids)
			copy(scores[(from+q)*k:(from+q+1)*k], found)
		}); err != nil {
			return nil, nil, err
		}
	}
	return scores, rows, nil
}

func (x *Collection) search(ctx context.Context, queries []entity.Vector, k int, use func(q int, ids []int64, scores []float32)) error {
	var sets []milvusclient.ResultSet
	if err := x.client.call(ctx, "search "+x.Name, x.loaded(func(ctx context.Context) (err error) {
		sets, err = x.client.c.Search(ctx, milvusclient.NewSearchOption(x.Name, k, queries).WithANNSField(vectorField).
			WithAnnParam(x.searchParam(k)).WithConsistencyLevel(entity.ClStrong))
		return err
	})); err != nil {
		return err
	}
	if len(sets) != len(queries) {
		return fmt.Errorf("Milvus at %s: search %s: %d answers to %d queries", x.client.address, x.Name, len(sets), len(queries))
	}
	for q, set := range sets {
		if set.Err != nil {
			return fmt.Errorf("Milvus at %s: search %s: %w", x.client.address, x.Name, set.Err)
		}
		if set.ResultCount == 0 {
			continue
		}
		ids, ok := set.IDs.(*column.ColumnInt64)
		if !ok || ids.Len() > k || ids.Len() != len(set.Scores) {
			return fmt.Errorf("Milvus at %s: search %s: an answer isn't rows and scores", x.client.address, x.Name)
		}
		use(q, ids.Data(), set.Scores)
	}
	return nil
}
