package parquetfile

import (
	"bytes"
	"slices"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// FuzzPages: whatever stands in a column's pages, reading them ends, without
// crash, and a page takes bounded memory.
func FuzzPages(f *testing.F) {
	kinds := []format.Type{format.Boolean, format.Int32, format.Int64, format.Double, format.ByteArray, format.FixedLenByteArray}
	codecs := []format.CompressionCodec{format.Uncompressed, format.Snappy, format.Gzip, format.Zstd}
	add := func(kind, codec uint8, optional bool, pages ...rawPage) {
		var raw []byte
		for _, p := range pages {
			raw = append(raw, p.bytes(f)...)
		}
		f.Add(kind, codec, optional, raw)
	}
	texts := slices.Concat(prefix([]byte("a")), prefix([]byte("bc")), prefix(nil))
	levels := prefix(run(3, 1))
	add(4, 0, false, dataPage(format.Plain, len(texts), 3, texts))
	add(4, 1, true, dataPage(format.Plain, len(levels)+len(texts), 3, snappy.Encode(nil, slices.Concat(levels, texts))))
	add(4, 3, true, dataPageV2(format.Plain, 2+len(texts), 3, run(3, 1), packed(f, texts)))
	add(4, 0, false, dictionaryPage(len(texts), 3, texts), dataPage(format.RLEDictionary, 3, 3, append([]byte{2}, run(3, 1)...)))
	add(1, 2, false, dataPage(format.Plain, 12, 3, zeros(f, 12, gzipped)))
	add(2, 0, false, dataPage(format.DeltaBinaryPacked, 9, 3, deltas(3)))
	add(0, 0, false, dataPage(format.RLE, 6, 3, prefix(run(3, 1))))
	add(3, 0, false, dataPage(format.ByteStreamSplit, 24, 3, make([]byte, 24)))
	add(5, 0, false, dataPage(format.DeltaByteArray, 20, 3, slices.Concat(deltas(3), deltas(3))))
	add(4, 0, false, dataPage(format.DeltaLengthByteArray, 20, 3, deltas(3)))
	f.Fuzz(func(t *testing.T, kind, codec uint8, optional bool, raw []byte) {
		c := rawColumn{kind: kinds[int(kind)%len(kinds)], codec: codecs[int(codec)%len(codecs)], optional: optional, rows: 3, raw: raw}
		if c.kind == format.FixedLenByteArray {
			c.length = 2
		}
		data := c.file(t)
		file, err := OpenAt(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		_ = Guard(func() error {
			pages := file.RowGroups()[0].ColumnChunks()[0].Pages()
			defer pages.Close()
			values := make([]parquet.Value, 1024)
			for {
				var page parquet.Page
				var err error
				if took := allocated(func() { page, err = pages.ReadPage() }); took > 2*bombMemory {
					t.Errorf("a page in %d bytes took %d MiB", len(data), took>>20)
				}
				if err != nil {
					return err
				}
				in := page.Values()
				for range 1024 {
					if _, err = in.ReadValues(values); err != nil {
						break
					}
				}
				parquet.Release(page)
			}
		})
	})
}
