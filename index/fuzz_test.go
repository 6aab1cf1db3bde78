package index

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzMetadata: whatever stands in a folder's Parquet file, its rows and columns
// are read, or an error names it.
func FuzzMetadata(f *testing.F) {
	written := filepath.Join(f.TempDir(), "metadata_0.parquet")
	if err := writeRows(written, []Row{{Key: "a", Caption: "one", Texts: []string{"one", "two"}, Number: 1, Meta: map[string]string{"author": "Ann"}}, {Key: "b"}}); err != nil {
		f.Fatal(err)
	}
	for _, path := range []string{written, "testdata/clip-retrieval/metadata/metadata_0.parquet"} {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "metadata_0.parquet")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		n, err := countRows(path)
		if err != nil {
			if !strings.Contains(err.Error(), path) {
				t.Errorf("%v doesn't name the file", err)
			}
			return
		}
		rows, err := readRows(path)
		if err == nil && len(rows) != n || err != nil && !strings.Contains(err.Error(), path) {
			t.Errorf("%d rows of %d, %v", len(rows), n, err)
		}
		s := &Store{Dir: filepath.Dir(path), metadata: []string{path}, rows: min(max(n, 0), 1000)}
		for _, name := range []string{"caption", "author"} {
			if column, err := s.Column(name); err == nil && len(column) != s.rows {
				t.Errorf("%d values of %d", len(column), n)
			}
		}
	})
}
