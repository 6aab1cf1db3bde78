package parquetfile

import (
	"fmt"
	"path/filepath"
	"testing"
)

// BenchmarkRead reads metadata as arf embed writes them.
func BenchmarkRead(b *testing.B) {
	type row struct {
		Key     string `parquet:"image_path,dict"`
		Caption string `parquet:"caption"`
		Class   string `parquet:"class,dict"`
		Number  int64  `parquet:"number"`
		Print   []byte `parquet:"print"`
	}
	rows := make([]row, 50_000)
	for i := range rows {
		rows[i] = row{fmt.Sprintf("00%d.tar/%09d", i/10_000, i), fmt.Sprintf("a photo of cat %d on a sofa", i*7919), fmt.Sprint("class ", i%100), int64(i), make([]byte, 256)}
		rows[i].Print[i%256] = byte(i)
	}
	path := filepath.Join(b.TempDir(), "rows.parquet")
	if err := Write(path, rows); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if back, err := Read[row](path); err != nil || len(back) != len(rows) {
			b.Fatal(len(back), err)
		}
	}
}
