package dataset

import (
	"bytes"
	"container/list"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"sync"

	"arf/internal/parquetfile"

	"github.com/parquet-go/parquet-go"
)

const (
	// blockBytes bounds what a Parquet source keeps of what it read.
	blockBytes = 256 << 20
	// maxFacts bounds the texts and numbers of one row group, with rowBytes for
	// each row.
	maxFacts = 1 << 30
	rowBytes = 120
)

// noLabel is Hugging Face's label of unlabelled samples.
const noLabel = -1

// parquetRow is what is known of a sample beside its image.
type parquetRow struct {
	text, class string
	texts       []string
	label       int64
	meta        []metaValue
}

type metaValue struct{ name, value string }

// factsBlock is the rows of a row group; imageBlock images of it that follow
// one another.
type (
	factsBlock struct{ rows []parquetRow }
	imageBlock struct {
		first  int
		images [][]byte // nil where a row has none
	}
)

// blockKey names a block: a row group's facts, or its images from a row on.
type blockKey struct {
	file   *parquetFile
	group  int
	images bool
}

// blockCache keeps the blocks that were used last.
type blockCache struct {
	limit int64

	mu    sync.Mutex
	held  int64
	items map[blockKey][]*list.Element // of *cachedBlock
	used  list.List                    // most recently first
	locks map[blockKey]*sync.Mutex     // held while a group is read
}

type cachedBlock struct {
	key   blockKey
	value any
	size  int64
}

func newBlockCache(limit int64) *blockCache {
	return &blockCache{limit: limit, items: map[blockKey][]*list.Element{}, locks: map[blockKey]*sync.Mutex{}}
}

// get gives the first block of a key for which ok holds.
func (c *blockCache) get(key blockKey, ok func(any) bool) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.items[key] {
		if value := e.Value.(*cachedBlock).value; ok(value) {
			c.used.MoveToFront(e)
			return value
		}
	}
	return nil
}

func (c *blockCache) put(key blockKey, value any, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.items[key] = append(c.items[key], c.used.PushFront(&cachedBlock{key, value, size}))
	c.held += size
	for c.held > c.limit && c.used.Len() > 1 {
		last := c.used.Back()
		old := c.used.Remove(last).(*cachedBlock)
		c.held -= old.size
		rest := c.items[old.key][:0]
		for _, e := range c.items[old.key] {
			if e != last {
				rest = append(rest, e)
			}
		}
		if c.items[old.key] = rest; len(rest) == 0 {
			delete(c.items, old.key)
		}
	}
}

// lock keeps two readers from reading the same group.
func (c *blockCache) lock(key blockKey) (unlock func()) {
	c.mu.Lock()
	m := c.locks[key]
	if m == nil {
		m = &sync.Mutex{}
		c.locks[key] = m
	}
	c.mu.Unlock()
	m.Lock()
	return m.Unlock
}

// facts gives a row group without its images.
func (d *parquetSet) facts(f *parquetFile, group int) (*factsBlock, error) {
	key := blockKey{f, group, false}
	cached := func() *factsBlock {
		b, _ := d.blocks.get(key, func(any) bool { return true }).(*factsBlock)
		return b
	}
	if b := cached(); b != nil {
		return b, nil
	}
	defer d.blocks.lock(key)()
	if b := cached(); b != nil {
		return b, nil
	}
	b, size, err := f.readFacts(group)
	if err != nil {
		return nil, err
	}
	d.blocks.put(key, b, size)
	return b, nil
}

func (f *parquetFile) readFacts(group int) (*factsBlock, int64, error) {
	n := f.rowsOf(group)
	var size int64
	var rows []parquetRow // grows with what is read, since n is only what the file says
	add := func(b int) error {
		if size += int64(b) + 16; size+int64(len(rows))*rowBytes > maxFacts {
			return fmt.Errorf("row group %d has rows and texts of more than %d bytes; write it with smaller row groups", group, maxFacts)
		}
		return nil
	}
	at := func(row int) *parquetRow {
		for len(rows) <= row {
			rows = append(rows, parquetRow{label: noLabel})
		}
		return &rows[row]
	}
	text := func(c *parquet.Column, to func(r *parquetRow, s string)) error {
		if c == nil {
			return nil
		}
		return f.eachValue(group, c, func(row int, v parquet.Value) error {
			r := at(row)
			if !v.IsNull() {
				to(r, string(v.ByteArray()))
			}
			return add(len(v.ByteArray()))
		})
	}
	c := f.column
	err := errors.Join(
		text(c.class, func(r *parquetRow, s string) { r.class = s }),
		text(c.path, func(r *parquetRow, s string) {
			if s != "" {
				r.meta = append(r.meta, metaValue{"path", s})
			}
		}),
	)
	if c.text != nil && err == nil {
		several := c.text.MaxRepetitionLevel() > 0
		err = text(c.text, func(r *parquetRow, s string) {
			if !several {
				r.text = s
			} else if s = strings.TrimSpace(s); s != "" {
				r.texts = append(r.texts, s)
			}
		})
	}
	if c.label != nil && err == nil {
		err = f.eachValue(group, c.label, func(row int, v parquet.Value) error {
			r := at(row)
			if !v.IsNull() {
				r.label = integer(v)
			}
			return add(8)
		})
	}
	for _, m := range c.meta {
		if err != nil {
			break
		}
		name := m.Name()
		err = f.eachValue(group, m, func(row int, v parquet.Value) error {
			r := at(row)
			if v.IsNull() {
				return nil
			}
			value := scalarText(v)
			if name == "path" && c.path != nil {
				return nil // the image's own comes first
			}
			r.meta = append(r.meta, metaValue{name, value})
			return add(len(value) + 32)
		})
	}
	if err != nil {
		return nil, 0, err
	}
	if c.class == nil && c.path == nil && c.text == nil && c.label == nil && len(c.meta) == 0 {
		// Only images: their number is checked when they are read.
		if n > maxExpansion {
			return nil, 0, fmt.Errorf("row group %d has %d rows; write it with smaller row groups", group, n)
		}
		if n > 0 {
			at(n - 1)
		}
	}
	if len(rows) != n {
		return nil, 0, errShape
	}
	return &factsBlock{rows}, size + int64(n)*rowBytes, nil
}

func integer(v parquet.Value) int64 {
	if v.Kind() == parquet.Int32 {
		return int64(v.Int32())
	}
	return v.Int64()
}

func scalarText(v parquet.Value) string {
	switch v.Kind() {
	case parquet.Boolean:
		return strconv.FormatBool(v.Boolean())
	case parquet.Float:
		return strconv.FormatFloat(float64(v.Float()), 'g', -1, 32)
	case parquet.Double:
		return strconv.FormatFloat(v.Double(), 'g', -1, 64)
	case parquet.ByteArray:
		return strings.ToValidUTF8(string(v.ByteArray()), "\uFFFD")
	}
	return strconv.FormatInt(integer(v), 10)
}

func (f *parquetFile) rowsOf(group int) int {
	if group == 0 {
		return f.ends[0]
	}
	return f.ends[group] - f.ends[group-1]
}

// eachValue gives a column's values in a row group with their rows. Every row
// has one value at least, null where there is none.
func (f *parquetFile) eachValue(group int, column *parquet.Column, do func(row int, v parquet.Value) error) error {
	n := f.rowsOf(group)
	row := -1
	err := f.eachPage(group, column, 0, func(values []parquet.Value, _ bool) (bool, error) {
		for _, v := range values {
			if v.RepetitionLevel() == 0 {
				row++
			}
			if row < 0 || row >= n {
				return false, errShape
			}
			if err := do(row, v); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err == nil && row != n-1 {
		err = errShape
	}
	if err != nil {
		return fmt.Errorf("column %q: %w", strings.Join(column.Path(), "."), err)
	}
	return nil
}

// eachPage gives a column's values page by page, each in one or more calls of
// which the last has none, from a row on, until do says that it's enough. The
// values are valid during the call only.
func (f *parquetFile) eachPage(group int, column *parquet.Column, from int64, do func(values []parquet.Value, pageEnds bool) (more bool, err error)) error {
	return parquetfile.Guard(func() error {
		chunks := f.file.RowGroups()[group].ColumnChunks()
		if column.Index() >= len(chunks) {
			return errShape
		}
		pages := chunks[column.Index()].Pages()
		defer pages.Close()
		if from > 0 {
			if err := pages.SeekToRow(from); err != nil {
				return err
			}
		}
		var values []parquet.Value
		for {
			page, err := pages.ReadPage()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			more := true
			reader := page.Values()
			for done := false; !done && more && err == nil; {
				if values == nil {
					values = make([]parquet.Value, 1024)
				}
				var n int
				n, err = reader.ReadValues(values)
				if done = errors.Is(err, io.EOF); done {
					err = nil
				} else if n == 0 && err == nil {
					err = io.ErrNoProgress
				}
				if err == nil {
					more, err = do(values[:n], false)
				}
			}
			if err == nil && more {
				more, err = do(nil, true)
			}
			parquet.Release(page)
			if err != nil || !more {
				return err
			}
		}
	})
}

// bytes gives the image of a row, nil if it has none.
func (d *parquetSet) bytes(f *parquetFile, group, row int) ([]byte, error) {
	key := blockKey{f, group, true}
	cached := func() *imageBlock {
		b, _ := d.blocks.get(key, func(b any) bool {
			block := b.(*imageBlock)
			return row >= block.first && row < block.first+len(block.images)
		}).(*imageBlock)
		return b
	}
	b := cached()
	if b == nil {
		defer d.blocks.lock(key)()
		if b = cached(); b == nil {
			var err error
			if b, err = d.readImages(f, key, row); err != nil {
				return nil, fmt.Errorf("column %q: %w", strings.Join(f.column.image.Path(), "."), err)
			}
		}
	}
	// The caller owns what it gets.
	return bytes.Clone(b.images[row-b.first]), nil
}

// readImages reads and keeps blocks of images until it has the row's: one page
// where the file has an index of its pages, else all pages before it too.
func (d *parquetSet) readImages(f *parquetFile, key blockKey, row int) (found *imageBlock, err error) {
	const most = 16 << 20 // of a block
	first, err := f.pageOf(key.group, row)
	if err != nil {
		return nil, err
	}
	n := f.rowsOf(key.group)
	b := &imageBlock{first: first}
	size := int64(0)
	finish := func() {
		if len(b.images) == 0 {
			return
		}
		same := func(old any) bool { return old.(*imageBlock).first == b.first }
		if d.blocks.get(key, same) == nil {
			d.blocks.put(key, b, size+int64(len(b.images))*24)
		}
		if row >= b.first && row < b.first+len(b.images) {
			found = b
		}
		b, size = &imageBlock{first: b.first + len(b.images)}, 0
	}
	err = f.eachPage(key.group, f.column.image, int64(first), func(values []parquet.Value, pageEnds bool) (bool, error) {
		for _, v := range values {
			if b.first+len(b.images) >= n {
				return false, errShape
			}
			var image []byte
			if !v.IsNull() {
				image = append([]byte{}, v.ByteArray()...)
			}
			b.images = append(b.images, image)
			if size += int64(len(image)); size >= most {
				finish()
			}
		}
		if pageEnds {
			finish()
		}
		return found == nil || !pageEnds, nil
	})
	finish()
	if err == nil && found == nil {
		err = errShape
	}
	return found, err
}

// pageOf gives the first row of the page that a row is in; 0 where the file has
// no index of its pages.
func (f *parquetFile) pageOf(group, row int) (first int, err error) {
	const maxIndex = 64 << 20
	column := f.column.image.Index()
	if f.file.Metadata().RowGroups[group].Columns[column].OffsetIndexLength > maxIndex {
		return 0, errShape
	}
	err = parquetfile.Guard(func() error {
		index, err := f.file.RowGroups()[group].ColumnChunks()[column].OffsetIndex()
		if errors.Is(err, parquet.ErrMissingOffsetIndex) || err == nil && (index == nil || index.NumPages() == 0) {
			return nil
		}
		if err != nil {
			return err
		}
		for p := range index.NumPages() {
			at := index.FirstRowIndex(p)
			if at < 0 || at > math.MaxInt32 {
				return errShape
			}
			if int(at) <= row {
				first = max(first, int(at))
			}
		}
		return nil
	})
	return first, err
}
