package milvus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/milvus-io/milvus/client/v2/entity"
	"github.com/milvus-io/milvus/client/v2/milvusclient"
	"github.com/milvus-io/milvus/pkg/v2/util/merr"
)

// Fields of a collection. A row's id is its number in the features.
const (
	idField     = "row"
	vectorField = "feature"
	indexName   = "feature"
)

// Spec says what a collection shall hold.
type Spec struct {
	Name     string // letters, digits and underscores
	Content  string // stands for the vectors: other vectors, another one
	Rows     int
	Dim      int
	Kind     string // Milvus's name of the index, one of Kinds; "" is AUTOINDEX
	batchMax int    // bytes of an insertion; 0 is 8 MiB
	// How long Wait bears that no further row is indexed; 0 is 30 minutes, as a
	// row counts when its segment, up to 1 GiB, is done.
	stall time.Duration
}

// description is what the server keeps of a Spec, so that a collection of other
// vectors isn't taken for this one.
func (s Spec) description() string {
	return fmt.Sprintf("arf: %d rows of %d numbers, %s", s.Rows, s.Dim, s.Content)
}

// Collection is the vectors of a Spec on a server, or what is there of them.
type Collection struct {
	Spec
	Present int  // rows that were there when it was opened, from row 0 on
	ready   bool // all rows are there and searched through the index
	client  *Client
	effort  int // of a search; see Set
}

// Open finds the collection, or creates it with its index, and counts the rows
// that are there. One of that name that holds anything else is refused.
func (c *Client) Open(ctx context.Context, s Spec) (*Collection, error) {
	if s.Kind == "" {
		s.Kind = Auto
	}
	x := &Collection{Spec: s, client: c, effort: 1}
	there := false
	err := c.call(ctx, "look for collection "+s.Name, func(ctx context.Context) (err error) {
		there, err = c.c.HasCollection(ctx, milvusclient.NewHasCollectionOption(s.Name))
		return err
	})
	if err != nil {
		return nil, err
	}
	if there {
		err = x.check(ctx)
	} else {
		err = x.create(ctx)
	}
	if err != nil {
		return nil, err
	}
	if err := x.index(ctx); err != nil {
		return nil, err
	}
	if !there {
		return x, nil
	}
	if err := x.load(ctx); err != nil {
		return nil, err
	}
	if x.Present, err = x.present(ctx); err != nil {
		return nil, err
	}
	if x.Present == x.Rows {
		d, err := x.describeIndex(ctx)
		if err != nil {
			return nil, err
		}
		x.ready = d.PendingIndexRows == 0 && d.IndexedRows >= int64(x.Rows)
	}
	return x, nil
}

func (x *Collection) create(ctx context.Context) error {
	schema := entity.NewSchema().WithName(x.Name).WithDescription(x.description()).
		WithField(entity.NewField().WithName(idField).WithDataType(entity.FieldTypeInt64).WithIsPrimaryKey(true)).
		WithField(entity.NewField().WithName(vectorField).WithDataType(entity.FieldTypeFloatVector).WithDim(int64(x.Spec.Dim)))
	return x.client.call(ctx, "create collection "+x.Name, func(ctx context.Context) error {
		// The same collection twice is no error, so that a lost answer isn't one.
		return x.client.c.CreateCollection(ctx, milvusclient.NewCreateCollectionOption(x.Name, schema))
	})
}

// check compares what the server says of the collection with what is wanted.
func (x *Collection) check(ctx context.Context) error {
	var found *entity.Collection
	if err := x.client.call(ctx, "describe collection "+x.Name, func(ctx context.Context) (err error) {
		found, err = x.client.c.DescribeCollection(ctx, milvusclient.NewDescribeCollectionOption(x.Name))
		return err
	}); err != nil {
		return err
	}
	var is string
	switch dim, ok := dimOf(found.Schema); {
	case !ok:
		is = "has other fields than arf's"
	case dim != x.Spec.Dim:
		is = fmt.Sprintf("has vectors of %d numbers, the features have %d", dim, x.Spec.Dim)
	case found.Schema.Description != x.description():
		is = fmt.Sprintf("is of other features (%q, wanted %q)", found.Schema.Description, x.description())
	default:
		return nil
	}
	return x.other(is)
}

func (x *Collection) other(is string) error {
	return fmt.Errorf("%w: %s at %s %s; set another name in anchors.pairs.milvus.collection, or drop that collection on the server", ErrOther, x.Name, x.client.address, is)
}

// dimOf gives the vectors' length of a collection with arf's fields.
func dimOf(s *entity.Schema) (int, bool) {
	if len(s.Fields) != 2 || s.PKFieldName() != idField || s.PKField().DataType != entity.FieldTypeInt64 {
		return 0, false
	}
	for _, f := range s.Fields {
		if f.Name == vectorField && f.DataType == entity.FieldTypeFloatVector {
			dim, err := strconv.Atoi(f.TypeParams["dim"])
			return dim, err == nil
		}
	}
	return 0, false
}

// index creates the index where there is none, as after an interruption.
func (x *Collection) index(ctx context.Context) error {
	var names []string
	if err := x.client.call(ctx, "list the indexes of "+x.Name, func(ctx context.Context) (err error) {
		names, err = x.client.c.ListIndexes(ctx, milvusclient.NewListIndexOption(x.Name).WithFieldName(vectorField))
		if err != nil && strings.Contains(err.Error(), "index not found") {
			names, err = nil, nil
		}
		return err
	}); err != nil {
		return err
	}
	if len(names) == 0 {
		return x.client.call(ctx, "create the index of "+x.Name, func(ctx context.Context) error {
			_, err := x.client.c.CreateIndex(ctx, milvusclient.NewCreateIndexOption(x.Name, vectorField, newIndex(x.Kind, x.Rows)).WithIndexName(indexName))
			return err
		})
	}
	d, err := x.describeIndex(ctx)
	if err != nil {
		return err
	}
	switch kind := d.Params()["index_type"]; {
	case x.Kind == Auto:
		if _, ok := kinds[kind]; ok {
			x.Kind = kind // what another run chose
		}
	case kind != x.Kind:
		return x.other(fmt.Sprintf("has an index %s, anchors.pairs.milvus.index_type is %s", kind, x.Kind))
	}
	return nil
}

func (x *Collection) describeIndex(ctx context.Context) (d milvusclient.IndexDescription, err error) {
	err = x.client.call(ctx, "describe the index of "+x.Name, func(ctx context.Context) (err error) {
		d, err = x.client.c.DescribeIndex(ctx, milvusclient.NewDescribeIndexOption(x.Name, indexName))
		if err == nil && d.Index == nil {
			err = fmt.Errorf("it has no index %s", indexName)
		}
		return err
	})
	return d, err
}

// load has the server make the collection ready for searches, however long it takes.
func (x *Collection) load(ctx context.Context) error {
	if err := x.client.call(ctx, "load collection "+x.Name, func(ctx context.Context) error {
		_, err := x.client.c.LoadCollection(ctx, milvusclient.NewLoadCollectionOption(x.Name))
		return err
	}); err != nil {
		return err
	}
	for {
		var state entity.LoadState
		if err := x.client.call(ctx, "ask how far "+x.Name+" is loaded", func(ctx context.Context) (err error) {
			state, err = x.client.c.GetLoadState(ctx, milvusclient.NewGetLoadStateOption(x.Name))
			return err
		}); err != nil {
			return err
		}
		if state.State == entity.LoadStateLoaded {
			return nil
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func (x *Collection) tryLoad(ctx context.Context) error {
	task, err := x.client.c.LoadCollection(ctx, milvusclient.NewLoadCollectionOption(x.Name))
	if err != nil {
		return err
	}
	return task.Await(ctx)
}

// loaded is f, called again where the server has to load the collection first,
// as Milvus Lite has after it was restarted.
func (x *Collection) loaded(f func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := f(ctx)
		if err == nil || !errors.Is(err, merr.ErrCollectionNotLoaded) && !strings.Contains(err.Error(), "collection not loaded") {
			return err
		}
		if err := x.tryLoad(ctx); err != nil {
			return err
		}
		return f(ctx)
	}
}

// count gives the rows below a number, all that the server has got by now.
func (x *Collection) count(ctx context.Context, below int) (n int, err error) {
	err = x.client.call(ctx, "count the rows of "+x.Name, x.loaded(func(ctx context.Context) error {
		r, err := x.client.c.Query(ctx, milvusclient.NewQueryOption(x.Name).WithFilter(fmt.Sprintf("%s < %d", idField, below)).
			WithOutputFields("count(*)").WithConsistencyLevel(entity.ClStrong))
		if err != nil {
			return err
		}
		column := r.GetColumn("count(*)")
		if column == nil || column.Len() != 1 {
			return fmt.Errorf("the answer has no count")
		}
		v, err := column.GetAsInt64(0)
		n = int(v)
		return err
	}))
	return n, err
}

// present gives the rows from 0 on that are surely there. Insertions follow one
// another, so at most the last batch is there in part.
func (x *Collection) present(ctx context.Context) (int, error) {
	const all = 1<<63 - 1
	n, err := x.count(ctx, all)
	if err != nil || n == x.Rows {
		return n, err
	}
	if n > x.Rows {
		return 0, x.other(fmt.Sprintf("has %d rows, the features have %d", n, x.Rows))
	}
	n -= n % x.batch()
	below, err := x.count(ctx, n)
	if err != nil {
		return 0, err
	}
	if below != n {
		return 0, x.other(fmt.Sprintf("has only %d of its first %d rows", below, n))
	}
	return n, nil
}

// Wait waits until the server has stored and indexed all rows and searches
// through the index, and checks their number. Fill comes before it.
func (x *Collection) Wait(ctx context.Context) error {
	if x.ready {
		return nil
	}
	if err := x.client.call(ctx, "flush collection "+x.Name, func(ctx context.Context) error {
		task, err := x.client.c.Flush(ctx, milvusclient.NewFlushOption(x.Name))
		if err != nil {
			return err
		}
		return task.Await(ctx)
	}); err != nil {
		return err
	}
	if err := x.indexed(ctx); err != nil {
		return err
	}
	// Query nodes that hold the collection go on searching rows without the index
	// for a while: what is measured of a search by then wouldn't hold later.
	if err := x.client.call(ctx, "release collection "+x.Name, func(ctx context.Context) error {
		return x.client.c.ReleaseCollection(ctx, milvusclient.NewReleaseCollectionOption(x.Name))
	}); err != nil {
		return err
	}
	if err := x.load(ctx); err != nil {
		return err
	}
	const all = 1<<63 - 1
	n, err := x.count(ctx, all)
	if err == nil && n != x.Rows {
		err = x.other(fmt.Sprintf("has %d rows after all were sent, the features have %d", n, x.Rows))
	}
	x.ready = err == nil
	return err
}

// indexed waits until the server has indexed all rows. One that can't build the
// index doesn't tell, but tries again and again.
func (x *Collection) indexed(ctx context.Context) error {
	stall := x.stall
	if stall == 0 {
		stall = 30 * time.Minute
	}
	pending, since := int64(-1), time.Now()
	for {
		d, err := x.describeIndex(ctx)
		if err != nil || d.PendingIndexRows == 0 {
			return err
		}
		if d.PendingIndexRows != pending {
			pending, since = d.PendingIndexRows, time.Now()
		}
		if time.Since(since) > stall {
			return fmt.Errorf("Milvus at %s: index %s of %s: %d of %d rows were pending, none fewer for %s; the server's log says why; if it can't build this index, drop the collection and set another anchors.pairs.milvus.index_type",
				x.client.address, x.Kind, x.Name, pending, d.TotalRows, stall)
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// Len is the number of rows.
func (x *Collection) Len() int { return x.Rows }
