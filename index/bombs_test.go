package index

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// TestMetadataBombs: metadata of some kB that would take much memory.
func TestMetadataBombs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "metadata_0.parquet")
	rows := make([]Row, 100)
	for i := range rows {
		rows[i] = Row{Key: "a", Caption: string(make([]byte, 1<<20)), Number: int64(i)}
	}
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w := parquet.NewGenericWriter[Row](file, parquet.Compression(&parquet.Zstd), parquet.PageBufferSize(256<<20))
	_, err = w.Write(rows)
	if err := errors.Join(err, w.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	s := &Store{Dir: dir, metadata: []string{path}, rows: len(rows)}
	for name, read := range map[string]func() error{
		"rows":   func() error { _, err := s.Rows(); return err },
		"column": func() error { _, err := s.Column("caption"); return err },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := read()
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), `column "caption"`) || !strings.Contains(err.Error(), "smaller pages") {
			t.Errorf("%s: %v", name, err)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
			t.Errorf("%s: took %d MiB", name, took>>20)
		}
	}
}
