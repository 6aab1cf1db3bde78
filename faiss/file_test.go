package faiss

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// kinds are descriptions of small indexes that are read.
var kinds = []string{
	"Flat", "SQ8", "SQfp16", "PQ4x4", "HNSW4,Flat", "HNSW4,SQ8", "IVF4,Flat", "IVF4,SQ8", "IVF4_HNSW4,PQ4x4", "OPQ4_8,IVF4,PQ4x4", "PCA4,Flat",
}

// written is the file of an index of 300 vectors of 8 numbers.
func written(t testing.TB, description string) []byte {
	t.Helper()
	x, err := New(8, description)
	if err != nil {
		t.Fatalf("%s: %v", description, err)
	}
	defer x.Close()
	vectors := unit(300, 8, 1)
	if !x.Trained() {
		if err := x.Train(t.Context(), vectors); err != nil {
			t.Fatalf("%s: %v", description, err)
		}
	}
	if err := x.Add(t.Context(), vectors, nil); err != nil {
		t.Fatalf("%s: %v", description, err)
	}
	path := filepath.Join(t.TempDir(), "index")
	if err := x.Write(path); err != nil {
		t.Fatalf("%s: %v", description, err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// opened opens the file and searches in it.
func opened(t testing.TB, data []byte) error {
	t.Helper()
	path := filepath.Join(t.TempDir(), "index")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	x, err := Open(path, false)
	if err != nil {
		return err
	}
	defer x.Close()
	if x.Dim() > 1<<12 {
		return nil // the queries would be large
	}
	_, rows, err := x.Search(t.Context(), unit(3, x.Dim(), 2), 5)
	for _, row := range rows {
		if row < -1 || row >= int64(x.Len()) {
			t.Errorf("found row %d of %d", row, x.Len())
		}
	}
	return err
}

// Whole files are read; of files that are cut short, or say that they hold more than
// they do, an error tells where it is wrong.
func TestDamagedFiles(t *testing.T) {
	for _, kind := range kinds {
		data := written(t, kind)
		if err := opened(t, data); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		for _, n := range []int{0, 3, 20, 40, len(data) / 2, len(data) - 1} {
			if err := opened(t, data[:n]); err == nil || !strings.Contains(err.Error(), "remove the file") {
				t.Errorf("%s cut to %d of %d bytes: %v", kind, n, len(data), err)
			}
		}
		more := append([]byte{}, data...)
		binary.LittleEndian.PutUint64(more[8:], 1<<38) // vectors
		if err := opened(t, more); err == nil || !strings.Contains(err.Error(), "vectors") {
			t.Errorf("%s with 2^38 vectors: %v", kind, err)
		}
	}
	if err := opened(t, []byte("IxXX and what follows, a kind of index that isn't read")); err == nil || !strings.Contains(err.Error(), `"IxXX"`) {
		t.Errorf("an unknown kind: %v", err)
	}
}

// No file ends the process, be it in reading or in a search, or has it take memory
// beyond the file's size.
func FuzzOpen(f *testing.F) {
	for _, kind := range kinds {
		f.Add(written(f, kind))
	}
	f.Fuzz(func(t *testing.T, data []byte) { _ = opened(t, data) })
}
