package dataset

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// TestParquetBombs: files of some kB whose pages or rows would take much memory
// are refused with the file, the column, and what mends it.
func TestParquetBombs(t *testing.T) {
	type row struct {
		Image []byte  `parquet:"image"`
		Text  *string `parquet:"text,optional"`
	}
	dir := t.TempDir()
	write := func(name string, rows []row, options ...parquet.WriterOption) string {
		path := filepath.Join(dir, name)
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		w := parquet.NewGenericWriter[row](file, append(options, parquet.PageBufferSize(256<<20))...)
		_, err = w.Write(rows)
		if err := errors.Join(err, w.Close(), file.Close()); err != nil {
			t.Fatal(err)
		}
		return path
	}
	images, texts := make([]row, 100), make([]row, 100)
	long := string(make([]byte, 1<<20))
	for i := range images {
		images[i].Image = []byte(long)
		texts[i] = row{[]byte("x"), &long}
	}
	gzip, zstd := parquet.Compression(&parquet.Gzip), parquet.Compression(&parquet.Zstd)
	for name, c := range map[string]struct {
		path string
		want []string
	}{
		"image": {write("image.parquet", images, gzip), []string{"image.parquet", `column "image"`, "page at byte 4", "smaller pages"}},
		"text":  {write("text.parquet", texts, zstd), []string{"text.parquet", `column "text"`, "smaller pages"}},
		"rows":  {write("rows.parquet", make([]row, 1_000_000), zstd), []string{"rows.parquet", "1000000 rows"}},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d, err := Open(Source{Path: c.path})
		if err == nil {
			_, err = d.Sample(0)
		}
		runtime.ReadMemStats(&after)
		wantError(t, name, err, c.want...)
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
			t.Errorf("%s: took %d MiB", name, took>>20)
		}
	}
}
