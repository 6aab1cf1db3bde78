package parquetfile

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// checked is a file of which the library sees a page only after its sizes, runs
// and lengths were found to be true and within bounds: the library takes memory
// for what they say. A page is checked once, when it is first read or read ahead.
type checked struct {
	r    io.ReaderAt
	size int64

	open    bool // the metadata are read; only pages and their indexes may be from here on
	chunks  []*chunk
	indexes map[int64]int64 // lengths by offset
}

// chunk is a column's pages in a row group. The library comes to pages by those
// before them, or by an index, whose entries must be where pages start.
type chunk struct {
	start, end int64
	column     *parquet.Column

	mu     sync.Mutex
	pages  []page
	walked int64 // the end of the pages that are known
}

// page is small, since a page may be of some bytes and all are kept: it starts
// where the one before it ends, and its header is read again when it's checked.
type page struct {
	end     int64
	checked bool
}

// learn takes the chunks from the metadata, and changes these so that the
// library starts each at its first page.
func (c *checked) learn(f *parquet.File) error {
	leaves := leavesOf(f.Root(), nil)
	c.indexes = map[int64]int64{}
	for g := range f.Metadata().RowGroups {
		columns := f.Metadata().RowGroups[g].Columns
		for i := range columns {
			m := &columns[i].MetaData
			start := m.DataPageOffset
			if d := m.DictionaryPageOffset; d != 0 {
				start = min(start, d)
			}
			m.DataPageOffset, m.DictionaryPageOffset = start, 0
			if n := m.TotalCompressedSize; n > 0 && i < len(leaves) {
				if start > c.size-n {
					return errFooter
				}
				c.chunks = append(c.chunks, &chunk{start: start, end: start + n, walked: start, column: leaves[i]})
			}
			if columns[i].OffsetIndexOffset != 0 {
				c.indexes[columns[i].OffsetIndexOffset] = int64(columns[i].OffsetIndexLength)
			}
		}
	}
	slices.SortFunc(c.chunks, func(a, b *chunk) int { return int(min(max(a.start-b.start, -1), 1)) })
	for i := 1; i < len(c.chunks); i++ {
		if c.chunks[i].start < c.chunks[i-1].end {
			return errors.New("broken Parquet: two columns share bytes")
		}
	}
	for offset, n := range c.indexes {
		if k := c.chunkAfter(offset); k != nil && k.start < offset+n {
			return errors.New("broken Parquet: an index of pages shares bytes with a column")
		}
	}
	c.open = true
	return nil
}

func leavesOf(c *parquet.Column, leaves []*parquet.Column) []*parquet.Column {
	if c.Leaf() {
		return append(leaves, c)
	}
	for _, child := range c.Columns() {
		leaves = leavesOf(child, leaves)
	}
	return leaves
}

// ReadAt checks all pages that the bytes are of. If one is refused, those before
// it are still read, since the library reads ahead into its buffer.
func (c *checked) ReadAt(p []byte, offset int64) (int, error) {
	if !c.open {
		return c.r.ReadAt(p, offset)
	}
	if n, ok := c.indexes[offset]; ok && n == int64(len(p)) && c.chunkAt(offset) == nil {
		return c.readIndex(p, offset)
	}
	end, refused := c.checkTo(offset, offset+int64(len(p)))
	if end == offset {
		return 0, refused
	}
	n, err := c.r.ReadAt(p[:end-offset], offset)
	if int64(n) < end-offset {
		return n, err
	}
	return n, refused
}

// checkTo checks the pages that bytes are of, and gives where these end: before
// the end that is asked for only with an error.
func (c *checked) checkTo(offset, end int64) (int64, error) {
	for offset < end {
		k := c.chunkAt(offset)
		if k == nil {
			if offset >= c.size {
				return offset, io.EOF
			}
			return offset, fmt.Errorf("broken Parquet: no page at byte %d", offset)
		}
		next, err := k.check(c.r, offset)
		if err != nil {
			return offset, fmt.Errorf("column %q: %w", strings.Join(k.column.Path(), "."), err)
		}
		offset = min(next, end)
	}
	return offset, nil
}

func (c *checked) chunkAt(offset int64) *chunk {
	if k := c.chunkAfter(offset); k != nil && k.start <= offset {
		return k
	}
	return nil
}

// chunkAfter gives the first chunk that ends after the offset.
func (c *checked) chunkAfter(offset int64) *chunk {
	i := sort.Search(len(c.chunks), func(i int) bool { return c.chunks[i].end > offset })
	if i == len(c.chunks) {
		return nil
	}
	return c.chunks[i]
}

// check gives the end of the page that the offset is in, once that is checked.
func (k *chunk) check(r io.ReaderAt, offset int64) (end int64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	i, last, err := k.pageAt(r, offset)
	if err != nil {
		return 0, err
	}
	if p := &k.pages[i]; !p.checked {
		if err := k.checkPage(r, k.startOf(i), p.end, last); err != nil {
			return 0, fmt.Errorf("page at byte %d: %w", k.startOf(i), err)
		}
		p.checked = true
	}
	return k.pages[i].end, nil
}

func (k *chunk) startOf(i int) int64 {
	if i == 0 {
		return k.start
	}
	return k.pages[i-1].end
}

// header is a page's, and where its body starts.
type header struct {
	*format.PageHeader
	body int64
}

// pageAt walks the headers of pages up to the one that the offset is in, and
// gives that one's if it was just read.
func (k *chunk) pageAt(r io.ReaderAt, offset int64) (i int, last *header, err error) {
	for k.walked <= offset {
		if len(k.pages) == maxPages {
			return 0, nil, tooMuch("it has more than the %d pages that are read of a column in a row group", maxPages)
		}
		h, body, err := readHeader(r, k.walked, k.end)
		if err != nil {
			return 0, nil, fmt.Errorf("page at byte %d: %w", k.walked, err)
		}
		last, k.walked = &header{h, body}, body+int64(h.CompressedPageSize)
		k.pages = append(k.pages, page{end: k.walked})
	}
	return sort.Search(len(k.pages), func(i int) bool { return k.pages[i].end > offset }), last, nil
}

// readIndex reads an index of pages, whose lists must be as long as they say,
// and whose pages must be pages.
func (c *checked) readIndex(p []byte, offset int64) (int, error) {
	n, err := c.r.ReadAt(p, offset)
	if n < len(p) {
		return n, err
	}
	w := walker{rest: p}
	if err := w.structure(0); err != nil {
		return 0, err
	}
	var index format.OffsetIndex
	if _, err := decodeThrift(p, &index); err != nil {
		return 0, err
	}
	for _, at := range index.PageLocations {
		k := c.chunkAt(at.Offset)
		if k == nil {
			return 0, fmt.Errorf("broken Parquet: no page at byte %d", at.Offset)
		}
		k.mu.Lock()
		i, _, err := k.pageAt(c.r, at.Offset)
		if err == nil && k.startOf(i) != at.Offset {
			err = fmt.Errorf("broken Parquet: the index says that a page starts at byte %d, which is inside another", at.Offset)
		}
		k.mu.Unlock()
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}
