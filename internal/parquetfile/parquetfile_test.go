package parquetfile

import (
	"bytes"
	"encoding/binary"
	"errors"
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

// FuzzFooter: whatever the metadata says, opening ends with a file or an error,
// and what opens agrees with itself.
func FuzzFooter(f *testing.F) {
	path := filepath.Join(f.TempDir(), "rows.parquet")
	if err := Write(path, []row{{"a", 1}, {"b", 2}}); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	start := len(whole) - 8 - int(binary.LittleEndian.Uint32(whole[len(whole)-8:]))
	f.Add(whole[start : len(whole)-8])
	f.Fuzz(func(t *testing.T, footer []byte) {
		data := slices.Concat(whole[:start], footer, binary.LittleEndian.AppendUint32(nil, uint32(len(footer))), []byte("PAR1"))
		file, err := OpenAt(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		if groups := len(file.RowGroups()); groups > len(footer) || file.Root() == nil {
			t.Errorf("%d row groups in %d bytes", groups, len(footer))
		}
	})
}

// TestFooterLengths: a list that says it is longer than the file.
func TestFooterLengths(t *testing.T) {
	for name, footer := range map[string]string{
		"list":   "\x19\xfc\xff\xff\xff\xff\x07",
		"binary": "\x18\xff\xff\xff\xff\x07",
		"deep":   strings.Repeat("\x1c", 1000),
		"end":    "\x15",
		"map":    "\x1b\x00",
	} {
		data := "PAR1" + footer + string([]byte{byte(len(footer)), byte(len(footer) >> 8), 0, 0}) + "PAR1"
		if _, err := OpenAt(strings.NewReader(data), int64(len(data))); !errors.Is(err, errFooter) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
