package parquetfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/format"
)

// allValues writes out a file's values, from the start and from half of the rows.
func allValues(f *parquet.File) (string, error) {
	var out strings.Builder
	for _, g := range f.RowGroups() {
		for _, c := range g.ColumnChunks() {
			for _, from := range []int64{0, g.NumRows() / 2} {
				pages := c.Pages()
				defer pages.Close()
				if from > 0 {
					if _, err := c.OffsetIndex(); err != nil && !errors.Is(err, parquet.ErrMissingOffsetIndex) {
						return "", err
					}
					if err := pages.SeekToRow(from); err != nil {
						return "", err
					}
				}
				values := make([]parquet.Value, 100)
				for {
					page, err := pages.ReadPage()
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						return "", err
					}
					for in := page.Values(); err == nil; {
						var n int
						n, err = in.ReadValues(values)
						for _, v := range values[:n] {
							fmt.Fprintf(&out, "%+v ", v)
						}
					}
					parquet.Release(page)
				}
			}
		}
	}
	return out.String(), nil
}

// TestCheckedReadsTheSame: what is checked is read as by the library alone, in
// all encodings, codecs and versions that are read.
func TestCheckedReadsTheSame(t *testing.T) {
	type row struct {
		Text   string   `parquet:"text,dict"`
		URL    string   `parquet:"url,delta"`
		Bytes  []byte   `parquet:"bytes,optional"`
		Number int64    `parquet:"number,delta"`
		Score  float32  `parquet:"score,split"`
		Yes    *bool    `parquet:"yes,optional"`
		Texts  []string `parquet:"texts,list"`
		Hash   [16]byte `parquet:"hash,uuid"`
	}
	rows := make([]row, 1000)
	for i := range rows {
		rows[i] = row{fmt.Sprint("class ", i%7), fmt.Sprintf("https://example.org/%06d", i), nil, int64(i * i), float32(i) / 3, nil, nil, [16]byte{byte(i)}}
		for k := range i % 4 {
			rows[i].Bytes, rows[i].Texts = append(rows[i].Bytes, byte(i*k)), append(rows[i].Texts, fmt.Sprint(i, k))
		}
		if i%3 == 0 {
			yes := i%2 == 0
			rows[i].Yes = &yes
		}
	}
	for _, codec := range []compress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Gzip, &parquet.Zstd} {
		for version := 1; version <= 2; version++ {
			var b bytes.Buffer
			w := parquet.NewGenericWriter[row](&b, parquet.Compression(codec), parquet.DataPageVersion(version), parquet.PageBufferSize(2000), parquet.MaxRowsPerRowGroup(300))
			_, err := w.Write(rows)
			if err := errors.Join(err, w.Close()); err != nil {
				t.Fatal(err)
			}
			alone, err := parquet.OpenFile(bytes.NewReader(b.Bytes()), int64(b.Len()), parquet.SkipPageIndex(true))
			if err != nil {
				t.Fatal(err)
			}
			file, err := OpenAt(bytes.NewReader(b.Bytes()), int64(b.Len()))
			if err != nil {
				t.Fatal(err)
			}
			want, err := allValues(alone)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := allValues(file); err != nil || got != want {
				t.Errorf("%s, version %d: %d bytes of values, want %d; %v", codec, version, len(got), len(want), err)
			}
		}
	}
}

// TestReadAtIsWhole: ReadAt reads all that it's asked for, or says why not; and a
// page that is refused doesn't keep the library from those before it.
func TestReadAtIsWhole(t *testing.T) {
	fine := dataPage(format.Plain, 4, 1, []byte{1, 0, 0, 0})
	bad := dataPage(format.Plain, 4, 1<<30, []byte{1, 0, 0, 0})
	c := rawColumn{kind: format.Int32, rows: 3, pages: []rawPage{fine, fine, fine, bad}}
	data := c.file(t)
	file, err := OpenAt(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	whole := 3 * len(fine.bytes(t))
	for asked, want := range map[int]int{whole: whole, whole - 1: whole - 1, whole + 1: whole, len(data) - 4: whole} {
		p := make([]byte, asked)
		n, err := file.ReadAt(p, 4)
		if n != want || (err == nil) != (n == asked) || !bytes.Equal(p[:n], data[4:4+n]) {
			t.Errorf("%d bytes of %d, want %d; %v", n, asked, want, err)
		}
	}
	pages := file.RowGroups()[0].ColumnChunks()[0].Pages()
	defer pages.Close()
	for i := range 4 {
		page, err := pages.ReadPage()
		if (err == nil) != (i < 3) || i == 3 && !strings.Contains(err.Error(), fmt.Sprintf("page at byte %d: ", 4+whole)) {
			t.Errorf("page %d: %v", i, err)
		}
		parquet.Release(page)
	}
}

// TestMetadataBombs: metadata that the library would multiply.
func TestMetadataBombs(t *testing.T) {
	file := func(m *format.FileMetaData) []byte {
		footer := marshal(t, m)
		return slices.Concat([]byte("PAR1"), make([]byte, 100), footer, binary.LittleEndian.AppendUint32(nil, uint32(len(footer))), []byte("PAR1"))
	}
	wide := []format.SchemaElement{{Name: "root"}}
	for range 3000 {
		wide = append(wide, format.SchemaElement{Name: "abc"})
	}
	chunk := format.ColumnChunk{MetaData: format.ColumnMetaData{PathInSchema: []string{"name"}, DataPageOffset: 4, TotalCompressedSize: 50}}
	for want, m := range map[string]*format.FileMetaData{
		"more than the 4096 that are read": {Schema: slices.Repeat(wide, 2)},
		"larger row groups":                {Schema: wide, RowGroups: slices.Repeat([]format.RowGroup{{Columns: []format.ColumnChunk{chunk}}}, 20_000)},
	} {
		data := file(m)
		var err error
		took := allocated(func() { _, err = OpenAt(bytes.NewReader(data), int64(len(data))) })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q isn't said: %v", want, err)
		}
		if took > 16<<20 {
			t.Errorf("%s: took %d MiB", want, took>>20)
		}
	}
}
