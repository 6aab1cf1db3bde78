package parquetfile

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

type row struct {
	Name string `parquet:"name"`
	N    int64  `parquet:"n"`
}

func TestRoundTripAndDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rows.parquet")
	want := []row{{"a", 1}, {"b", 2}, {"", -3}}
	if err := Write(path, want); err != nil {
		t.Fatal(err)
	}
	if got, err := Read[row](path, "name", "n"); err != nil || !slices.Equal(got, want) {
		t.Errorf("read %v, %v", got, err)
	}
	if _, err := Read[row](path, "name", "score"); err == nil || !strings.Contains(err.Error(), "score") || !strings.Contains(err.Error(), path) {
		t.Errorf("missing column: %v", err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Wherever it is cut or a byte is turned over: an error or rows, no panic.
	for i := range whole {
		if err := os.WriteFile(path, whole[:i], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read[row](path); err == nil {
			t.Fatalf("a file cut at %d of %d bytes was read", i, len(whole))
		}
		turned := slices.Clone(whole)
		turned[i] ^= 0xff
		if err := os.WriteFile(path, turned, 0o644); err != nil {
			t.Fatal(err)
		}
		_, _ = Read[row](path)
	}
	if _, err := Read[row](filepath.Join(t.TempDir(), "none")); !os.IsNotExist(err) {
		t.Errorf("no file: %v", err)
	}
}
