package dataset

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
)

const speedRows, speedBytes = 2000, 50_000

// speedFile has row groups of 100 images of 50 kB that don't compress, as JPEGs
// don't, in columns that may be null, as Arrow writes them.
func speedFile(b *testing.B, codec compress.Codec) string {
	b.Helper()
	type row struct {
		Image *[]byte `parquet:"image,optional"`
		Text  *string `parquet:"text,optional"`
		Label int64   `parquet:"label"`
	}
	path := filepath.Join(b.TempDir(), "x.parquet")
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w := parquet.NewGenericWriter[row](file, parquet.MaxRowsPerRowGroup(100), parquet.Compression(codec),
		parquet.DataPageStatistics(false)) // Arrow keeps them short
	random := rand.NewChaCha8([32]byte{1})
	for i := range speedRows {
		image, text := make([]byte, speedBytes), "a photo of a cat, one of many"
		_, _ = random.Read(image)
		if _, err := w.Write([]row{{&image, &text, int64(i)}}); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), file.Close()); err != nil {
		b.Fatal(err)
	}
	return path
}

var speedCodecs = map[string]compress.Codec{"none": &parquet.Uncompressed, "snappy": &parquet.Snappy, "zstd": &parquet.Zstd, "gzip": &parquet.Gzip}

// BenchmarkParquet reads samples in random order, more than are kept.
func BenchmarkParquet(b *testing.B) {
	for name, codec := range speedCodecs {
		b.Run(name, func(b *testing.B) {
			d := open(b, Source{Path: speedFile(b, codec)}).(*parquetSet)
			d.blocks = newBlockCache(20 << 20)
			b.SetBytes(speedBytes)
			i := 0
			for b.Loop() {
				i = (i + 1237) % speedRows
				if _, err := d.Sample(i); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkParquetPass opens a file and reads its samples once in order, as
// embedding a pool does: every page is checked.
func BenchmarkParquetPass(b *testing.B) {
	for name, codec := range speedCodecs {
		b.Run(name, func(b *testing.B) {
			path := speedFile(b, codec)
			b.SetBytes(speedBytes * speedRows)
			for b.Loop() {
				d := open(b, Source{Path: path})
				for i := range speedRows {
					if _, err := d.Sample(i); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
