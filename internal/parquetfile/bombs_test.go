package parquetfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// bombMemory bounds what a file of some kB takes altogether, whether it's read or
// refused; its peak is less.
const bombMemory = 256 << 20

// rawPage is a page as it stands in a file, whatever its header says.
type rawPage struct {
	header format.PageHeader
	body   []byte
}

func dictionaryPage(size int, values int32, body []byte) rawPage {
	return rawPage{format.PageHeader{
		Type: format.DictionaryPage, CompressedPageSize: int32(len(body)), UncompressedPageSize: int32(size),
		DictionaryPageHeader: thrift.New(format.DictionaryPageHeader{NumValues: values, Encoding: format.Plain}),
	}, body}
}

func dataPage(encoding format.Encoding, size int, values int32, body []byte) rawPage {
	return rawPage{format.PageHeader{
		Type: format.DataPage, CompressedPageSize: int32(len(body)), UncompressedPageSize: int32(size),
		DataPageHeader: thrift.New(format.DataPageHeader{
			NumValues: values, Encoding: encoding, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
		}),
	}, body}
}

func dataPageV2(encoding format.Encoding, size int, values int32, levels, body []byte) rawPage {
	return rawPage{format.PageHeader{
		Type: format.DataPageV2, CompressedPageSize: int32(len(levels) + len(body)), UncompressedPageSize: int32(size),
		DataPageHeaderV2: thrift.New(format.DataPageHeaderV2{
			NumValues: values, NumRows: values, Encoding: encoding, DefinitionLevelsByteLength: int32(len(levels)),
		}),
	}, slices.Concat(levels, body)}
}

// rawColumn is a file with one column, "name".
type rawColumn struct {
	kind     format.Type
	length   int32
	optional bool
	codec    format.CompressionCodec
	rows     int64
	pages    []rawPage
	raw      []byte              // more pages, as they stand in the file
	index    *format.OffsetIndex // offsets from the first page
	indexed  int32               // bytes from the first page on that are said to be the index
	groups   int                 // that say they are these pages; 0 is 1
}

func marshal(t testing.TB, v any) []byte {
	t.Helper()
	var protocol thrift.CompactProtocol
	b, err := thrift.Marshal(&protocol, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (p rawPage) bytes(t testing.TB) []byte { return append(marshal(t, &p.header), p.body...) }

func (c rawColumn) file(t testing.TB) []byte {
	t.Helper()
	file := []byte("PAR1")
	for _, p := range c.pages {
		file = append(file, p.bytes(t)...)
	}
	file = append(file, c.raw...)
	chunk := format.ColumnChunk{MetaData: format.ColumnMetaData{
		Type: c.kind, Encoding: []format.Encoding{format.Plain}, PathInSchema: []string{"name"}, Codec: c.codec,
		NumValues: c.rows, TotalUncompressedSize: int64(len(file) - 4), TotalCompressedSize: int64(len(file) - 4), DataPageOffset: 4,
	}}
	if c.index != nil {
		for i := range c.index.PageLocations {
			c.index.PageLocations[i].Offset += 4
		}
		index := marshal(t, c.index)
		chunk.OffsetIndexOffset, chunk.OffsetIndexLength = int64(len(file)), int32(len(index))
		file = append(file, index...)
	}
	if c.indexed > 0 {
		chunk.OffsetIndexOffset, chunk.OffsetIndexLength = 4, c.indexed
	}
	leaf := format.SchemaElement{
		Name: "name", Type: thrift.New(c.kind), RepetitionType: thrift.New(format.Required),
	}
	if c.optional {
		leaf.RepetitionType = thrift.New(format.Optional)
	}
	if c.kind == format.ByteArray {
		leaf.ConvertedType = thrift.New(deprecated.UTF8)
	}
	if c.length > 0 {
		leaf.TypeLength = thrift.New(c.length)
	}
	group := format.RowGroup{Columns: []format.ColumnChunk{chunk}, NumRows: c.rows, TotalByteSize: chunk.MetaData.TotalCompressedSize}
	groups := max(c.groups, 1)
	footer := marshal(t, &format.FileMetaData{
		Version: 1, NumRows: c.rows * int64(groups),
		Schema:    []format.SchemaElement{{Name: "root", NumChildren: thrift.New(int32(1))}, leaf},
		RowGroups: slices.Repeat([]format.RowGroup{group}, groups),
	})
	return slices.Concat(file, footer, binary.LittleEndian.AppendUint32(nil, uint32(len(footer))), []byte("PAR1"))
}

// write writes it to a file.
func (c rawColumn) write(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bomb.parquet")
	if err := os.WriteFile(path, c.file(t), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// run is a run of a value, as levels and indexes have it.
func run(n uint64, value ...byte) []byte { return append(binary.AppendUvarint(nil, n<<1), value...) }

// deltas is a number many times in DELTA_BINARY_PACKED.
func deltas(values uint64) []byte {
	b := binary.AppendUvarint(nil, 128)
	b = binary.AppendUvarint(b, 4)
	b = binary.AppendUvarint(b, values)
	b = binary.AppendVarint(b, 1<<20)
	for range (min(values, 1<<20) + 126) / 128 {
		b = append(b, 0, 0, 0, 0, 0)
	}
	return b
}

func prefix(b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// indexPage gives a page that can be read as an index without entries, too: of
// its field 1, each takes the type that it knows.
func indexPage(t testing.TB, p rawPage) []byte {
	t.Helper()
	b := p.bytes(t)
	if b[0] != 1<<4|thriftI32 {
		t.Fatalf("a page header begins with %#x", b[0])
	}
	return append([]byte{1<<4 | thriftList, thriftStruct, thriftI32, 2}, b[1:]...)
}

// zeros packs n zeros by a compressor.
func zeros(t testing.TB, n int64, compressor func(io.Writer) io.WriteCloser) []byte {
	t.Helper()
	var b bytes.Buffer
	w := compressor(&b)
	block := make([]byte, 1<<20)
	for ; n > 0; n -= int64(len(block)) {
		if _, err := w.Write(block[:min(n, int64(len(block)))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(w io.Writer) io.WriteCloser {
	z, _ := gzip.NewWriterLevel(w, gzip.BestSpeed)
	return z
}

func zstandard(w io.Writer) io.WriteCloser {
	z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	return z
}

// readAll reads all values of the file's columns, as dataset does, and all rows.
func readAll(path string) (values int, err error) {
	err = Open(path, func(f *parquet.File) error {
		for _, g := range f.RowGroups() {
			for _, c := range g.ColumnChunks() {
				pages := c.Pages()
				defer pages.Close()
				if _, err := c.OffsetIndex(); err == nil {
					err = pages.SeekToRow(f.NumRows() - 1)
					if err != nil {
						return err
					}
				} else if !errors.Is(err, parquet.ErrMissingOffsetIndex) {
					return err
				}
				room := make([]parquet.Value, 1024)
				for {
					page, err := pages.ReadPage()
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						return err
					}
					for in := page.Values(); err == nil; {
						var n int
						n, err = in.ReadValues(room)
						values += n
					}
					parquet.Release(page)
				}
			}
		}
		return nil
	})
	return values, err
}

// allocated gives what do takes from the heap altogether, given back or not.
func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestPageBombs: files of some bytes or MB that would take GiBs.
func TestPageBombs(t *testing.T) {
	const gib = 1 << 30
	// A frame of Zstandard whose header says 2^40 bytes.
	lyingFrame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xe0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0}
	// 300 values of 1 MiB that are all the same.
	offsets := make([]uint32, 301)
	for i := range offsets {
		offsets[i] = uint32(i << 20)
	}
	shared, err := new(delta.ByteArrayEncoding).EncodeByteArray(nil, make([]byte, 300<<20), offsets)
	if err != nil {
		t.Fatal(err)
	}

	zstd4GiB := zeros(t, 4*gib, zstandard)

	both := dataPage(format.Plain, 4, 1, prefix(nil))
	both.header.DictionaryPageHeader = thrift.New(format.DictionaryPageHeader{NumValues: 1 << 29, Encoding: format.Plain})

	for name, c := range map[string]struct {
		column rawColumn
		want   string
		whole  bool // it's about the file, not a column
	}{
		"gzip unpacks to 2 GiB, says 100 bytes": {rawColumn{kind: format.ByteArray, codec: format.Gzip, rows: 1, pages: []rawPage{
			dataPage(format.Plain, 100, 1, zeros(t, 2*gib, gzipped))}}, "unpack to more than the 100", false},
		"zstd unpacks to 4 GiB, says 100 bytes": {rawColumn{kind: format.ByteArray, codec: format.Zstd, rows: 1, pages: []rawPage{
			dataPage(format.Plain, 100, 1, zstd4GiB)}}, "unpack to more than the 100", false},
		"zstd frame says 2^40": {rawColumn{kind: format.ByteArray, codec: format.Zstd, rows: 1, pages: []rawPage{
			dataPage(format.Plain, 100, 1, lyingFrame)}}, "unpack to more than the 100", false},
		"zstd dictionary": {rawColumn{kind: format.ByteArray, codec: format.Zstd, rows: 1, pages: []rawPage{
			dictionaryPage(100, 1, zstd4GiB), dataPage(format.RLEDictionary, 3, 1, []byte{1, 2, 0})}}, "unpack to more than the 100", false},
		"zstd, version 2": {rawColumn{kind: format.ByteArray, codec: format.Zstd, rows: 1, optional: true, pages: []rawPage{
			dataPageV2(format.Plain, 100, 1, run(1, 1), zstd4GiB)}}, "unpack to more than the 100", false},
		"header says 2 GiB": {rawColumn{kind: format.ByteArray, codec: format.Zstd, rows: 1, pages: []rawPage{
			dataPage(format.Plain, math.MaxInt32, 1, zeros(t, 100, zstandard))}}, "more than the 67108864 that are read", false},
		"dictionary says 2 GiB": {rawColumn{kind: format.ByteArray, codec: format.Snappy, rows: 1, pages: []rawPage{
			dictionaryPage(math.MaxInt32, 1, snappy.Encode(nil, prefix(nil))), dataPage(format.RLEDictionary, 3, 1, []byte{1, 2, 0})}}, "more than the 67108864 that are read", false},
		"snappy says 4 GiB": {rawColumn{kind: format.ByteArray, codec: format.Snappy, rows: 1, pages: []rawPage{
			dataPage(format.Plain, 100, 1, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0})}}, "unpack to more than the 100", false},
		"packed size beyond the file": {rawColumn{kind: format.ByteArray, rows: 1, pages: []rawPage{
			{format.PageHeader{Type: format.DataPage, CompressedPageSize: math.MaxInt32, UncompressedPageSize: 4, DataPageHeader: dataPage(format.Plain, 4, 1, nil).header.DataPageHeader}, []byte{0, 0, 0, 0}}}}, "a page of 2147483647 bytes where there are", false},
		"2^31 levels": {rawColumn{kind: format.ByteArray, optional: true, rows: 1, pages: []rawPage{
			dataPage(format.Plain, 0, 1, prefix(run(math.MaxInt32, 0)))}}, "more values than the 1 that its header says", false},
		"many runs of levels": {rawColumn{kind: format.ByteArray, optional: true, codec: format.Zstd, rows: 1 << 20, pages: []rawPage{
			dataPage(format.Plain, 1<<20, 1<<20, packed(t, prefix(bytes.Repeat(run(1<<20, 0), 4096))))}}, "more values than the 1048576", false},
		"bit-packed levels": {rawColumn{kind: format.ByteArray, optional: true, codec: format.Zstd, rows: 1, pages: []rawPage{
			dataPage(format.Plain, 60<<20, 1, packed(t, prefix(append(binary.AppendUvarint(nil, 50<<20<<1|1), make([]byte, 50<<20)...))))}}, "more values than the 1", false},
		"2^31 levels, version 2": {rawColumn{kind: format.ByteArray, optional: true, rows: 1, pages: []rawPage{
			dataPageV2(format.Plain, 0, 1, run(math.MaxInt32, 0), nil)}}, "more values than the 1 that its header says", false},
		"2^31 values": {rawColumn{kind: format.ByteArray, optional: true, rows: math.MaxInt32, pages: []rawPage{
			dataPage(format.Plain, 0, math.MaxInt32, prefix(run(math.MaxInt32, 0)))}}, "2147483647 values, more than the 16777216", false},
		"2^31 values in a dictionary": {rawColumn{kind: format.ByteArray, rows: 1, pages: []rawPage{
			dictionaryPage(4, math.MaxInt32, prefix(nil)), dataPage(format.RLEDictionary, 3, 1, []byte{1, 2, 0})}}, "2147483647 values, more than the 16777216", false},
		"a dictionary in the header of another page": {rawColumn{kind: format.ByteArray, rows: 2, pages: []rawPage{
			both, dataPage(format.RLEDictionary, 3, 1, []byte{1, 2, 0})}}, "a page contradicts its header", false},
		"2^31 indexes": {rawColumn{kind: format.ByteArray, rows: 1, pages: []rawPage{
			dictionaryPage(4, 1, prefix(nil)), dataPage(format.RLEDictionary, 6, 1, append([]byte{1}, run(math.MaxInt32, 0)...))}}, "more values than the 1 that its header says", false},
		"2^31 booleans": {rawColumn{kind: format.Boolean, rows: 1, pages: []rawPage{
			dataPage(format.RLE, 100, 1, prefix(bytes.Repeat(run(math.MaxInt32, 0), 16)))}}, "more values than the 1 that its header says", false},
		"2^31 deltas": {rawColumn{kind: format.Int64, rows: 1, pages: []rawPage{
			dataPage(format.DeltaBinaryPacked, 9, 1, deltas(math.MaxInt32)[:9])}}, "more values than the 1 that its header says", false},
		"2^31 lengths": {rawColumn{kind: format.ByteArray, rows: 1, pages: []rawPage{
			dataPage(format.DeltaLengthByteArray, 9, 1, deltas(math.MaxInt32)[:9])}}, "more values than the 1 that its header says", false},
		"shared beginnings": {rawColumn{kind: format.ByteArray, rows: 300, pages: []rawPage{
			dataPage(format.DeltaByteArray, len(shared), 300, shared)}}, "share beginnings", false},
		"long values of a fixed length": {rawColumn{kind: format.FixedLenByteArray, length: 1 << 20, rows: 1 << 20, pages: []rawPage{
			dataPage(format.ByteStreamSplit, 4, 1<<20, []byte("abcd"))}}, "1048576 values of 1048576 bytes", false},
		"encoding of another kind": {rawColumn{kind: format.Int32, rows: 1, pages: []rawPage{
			dataPage(format.RLE, 100, 1, run(math.MaxInt32))}}, "in the encoding RLE", false},
		"two groups of the same pages": {rawColumn{kind: format.Int32, rows: 1, groups: 2, pages: []rawPage{
			dataPage(format.Plain, 4, 1, make([]byte, 4))}}, "share bytes", true},
		"index into a page": {rawColumn{kind: format.ByteArray, rows: 2, pages: []rawPage{dataPage(format.Plain, 14, 2, slices.Concat(prefix([]byte("abc")), prefix([]byte("abc"))))},
			index: &format.OffsetIndex{PageLocations: []format.PageLocation{{Offset: 0}, {Offset: 9, FirstRowIndex: 1}}}}, "inside another", true},
		// The library's first reading of a column is as long as its buffer.
		"index that is a page": {rawColumn{kind: format.ByteArray, optional: true, rows: 1, indexed: 4096, raw: slices.Concat(
			indexPage(t, dataPage(format.Plain, 0, 1, prefix(run(1<<29, 0)))), dataPage(format.Plain, 8192, 1, make([]byte, 8192)).bytes(t))}, "an index of pages shares bytes with a column", true},
		"index out of the file": {rawColumn{kind: format.ByteArray, rows: 2, pages: []rawPage{dataPage(format.Plain, 14, 2, slices.Concat(prefix([]byte("abc")), prefix([]byte("abc"))))},
			index: &format.OffsetIndex{PageLocations: []format.PageLocation{{Offset: 0}, {Offset: 1 << 40, FirstRowIndex: 1}}}}, "no page at byte", true},
	} {
		path := c.column.write(t)
		var err error
		took := allocated(func() { _, err = readAll(path) })
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && !c.whole && !strings.Contains(err.Error(), `column "name"`) {
			t.Errorf("%s: %v doesn't name the column", name, err)
		}
		if took > bombMemory {
			t.Errorf("%s: took %d MiB", name, took>>20)
		}
	}
}

func packed(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zstandard(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestLargestPage: what a file of some kB may take at most, and is read.
func TestLargestPage(t *testing.T) {
	for name, c := range map[string]rawColumn{
		"empty texts":   {kind: format.ByteArray, codec: format.Zstd, rows: maxPageValues, pages: []rawPage{dataPage(format.Plain, freePage, maxPageValues, zeros(t, freePage, zstandard))}},
		"gzip":          {kind: format.Int32, codec: format.Gzip, rows: maxPageValues, pages: []rawPage{dataPage(format.Plain, freePage, maxPageValues, zeros(t, freePage, gzipped))}},
		"nulls":         {kind: format.ByteArray, optional: true, rows: maxPageValues, pages: []rawPage{dataPage(format.Plain, 0, maxPageValues, prefix(run(maxPageValues, 0)))}},
		"dictionary":    {kind: format.ByteArray, rows: maxPageValues, pages: []rawPage{dictionaryPage(7, 1, prefix([]byte("cat"))), dataPage(format.RLEDictionary, 6, maxPageValues, append([]byte{1}, run(maxPageValues, 0)...))}},
		"deltas":        {kind: format.Int64, rows: 1 << 20, pages: []rawPage{dataPage(format.DeltaBinaryPacked, 0, 1<<20, deltas(1<<20))}},
		"short of size": {kind: format.Int32, codec: format.Snappy, rows: 1, pages: []rawPage{dataPage(format.Plain, 60<<20, 1, snappy.Encode(nil, []byte{1, 0, 0, 0}))}},
	} {
		path := c.write(t)
		values, err := 0, error(nil)
		runtime.GC() // twice empties pools, too
		runtime.GC()
		took := allocated(func() { values, err = readAll(path) })
		if err != nil || values != int(c.rows) {
			t.Errorf("%s: %d values of %d, %v", name, values, c.rows, err)
		}
		if took > bombMemory {
			t.Errorf("%s: took %d MiB", name, took>>20)
		}
		t.Logf("%s: took %d MiB", name, took>>20)
	}
}

// TestManyPages: pages of some bytes, which an index at the last makes known, take
// little memory, and there's a bound of them.
func TestManyPages(t *testing.T) {
	empty := dataPage(format.Plain, 0, 0, nil).bytes(t)
	for pages, want := range map[int]string{maxPages: "", maxPages + 1: "more than the 1048576 pages"} {
		c := rawColumn{kind: format.Int32, raw: bytes.Repeat(empty, pages),
			index: &format.OffsetIndex{PageLocations: []format.PageLocation{{Offset: int64((pages - 1) * len(empty))}}}}
		data := c.file(t)
		file, err := OpenAt(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		_, err = file.RowGroups()[0].ColumnChunks()[0].OffsetIndex()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d pages: %v", pages, err)
		}
		if took := int64(after.HeapAlloc) - int64(before.HeapAlloc); took > 32<<20 {
			t.Errorf("%d pages of %d bytes keep %d MiB", pages, len(empty), took>>20)
		}
		runtime.KeepAlive(file)
		runtime.KeepAlive(data)
	}
}

// TestRowBombs: a value of a dictionary that stands for GiBs, and rows of nulls.
func TestRowBombs(t *testing.T) {
	long := prefix(make([]byte, 8<<20))
	for name, c := range map[string]rawColumn{
		"dictionary": {kind: format.ByteArray, codec: format.Zstd, rows: 1 << 20, pages: []rawPage{
			dictionaryPage(len(long), 1, packed(t, long)), dataPage(format.RLEDictionary, 6, 1<<20, packed(t, append([]byte{1}, run(1<<20, 0)...)))}},
		"nulls": {kind: format.ByteArray, optional: true, rows: 1 << 40, pages: slices.Repeat([]rawPage{
			dataPage(format.Plain, 0, maxPageValues, prefix(run(maxPageValues, 0)))}, 100)},
	} {
		path := c.write(t)
		var err error
		took := allocated(func() {
			_, err = Read[struct {
				Name string        `parquet:"name"`
				Room [1 << 20]byte `parquet:"-"` // 8 GiB with the first rows
			}](path)
		})
		if err == nil || !strings.Contains(err.Error(), "its rows take more than") || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if took > bombMemory {
			t.Errorf("%s: took %d MiB", name, took>>20)
		}
		t.Logf("%s: took %d MiB", name, took>>20)
	}
}
