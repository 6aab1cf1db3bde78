package index

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/internal/parquetfile"

	"github.com/parquet-go/parquet-go"
)

// TestMetadataColumns: what samples say of themselves becomes columns, but for
// names that the layout has, and Rows reads the others as before.
func TestMetadataColumns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metadata_0.parquet")
	rows := []Row{
		{Key: "a", Caption: "one", Texts: []string{"one", "two"}, Number: 1, Meta: map[string]string{"author": "Ann", "caption": "another", "width": "64"}},
		{Key: "b", Set: "s", PixelHash: []byte{1}, Meta: map[string]string{"set": "s", "a\"b,c": "x", "größe": "3"}},
		{Key: "c", Class: "cat"},
	}
	if err := writeRows(path, rows); err != nil {
		t.Fatal(err)
	}
	back, err := readRows(path)
	if err != nil || len(back) != 3 {
		t.Fatalf("%+v, %v", back, err)
	}
	for i, r := range back {
		if r.Key != rows[i].Key || r.Caption != rows[i].Caption || !slices.Equal(r.Texts, rows[i].Texts) || r.Class != rows[i].Class ||
			r.Number != rows[i].Number || r.Set != rows[i].Set || !slices.Equal(r.PixelHash, rows[i].PixelHash) {
			t.Errorf("%+v, want %+v", r, rows[i])
		}
	}
	type extra struct {
		Author *string `parquet:"author,optional"`
		Width  *string `parquet:"width,optional"`
		Size   *string `parquet:"größe,optional"`
	}
	more, err := parquetfile.Read[extra](path, "author", "width", "größe")
	if err != nil {
		t.Fatal(err)
	}
	if *more[0].Author != "Ann" || *more[0].Width != "64" || more[0].Size != nil || more[1].Author != nil || *more[1].Size != "3" || more[2] != (extra{}) {
		t.Errorf("%+v", more)
	}
	var columns []string
	if err := parquetfile.Open(path, func(f *parquet.File) error {
		for _, c := range f.Root().Columns() {
			columns = append(columns, c.Name())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(columns)
	if len(slices.Compact(slices.Clone(columns))) != len(columns) || slices.ContainsFunc(columns, func(c string) bool { return strings.Contains(c, `"`) }) {
		t.Errorf("columns %q", columns)
	}
	if err := writeRows(filepath.Join(t.TempDir(), "no", "x.parquet"), rows); err == nil {
		t.Error("written to no folder")
	}
}

// TestNamesOfStrangers: a sample with any number of names costs no shard; the
// names of most samples stay.
func TestNamesOfStrangers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metadata_0.parquet")
	odd := map[string]string{}
	for i := range 2 * maxMeta {
		odd[fmt.Sprintf("exif %d", i)] = "x"
	}
	rows := []Row{{Key: "a", Meta: odd}, {Key: "b", Meta: map[string]string{"zoom": "2"}}, {Key: "c", Meta: map[string]string{"zoom": "3"}}}
	if err := writeRows(path, rows); err != nil {
		t.Fatal(err)
	}
	type extra struct {
		Zoom *string `parquet:"zoom,optional"`
		EXIF *string `parquet:"exif 0,optional"`
	}
	more, err := parquetfile.Read[extra](path, "zoom", "exif 0")
	if err != nil || *more[1].Zoom != "2" || *more[2].Zoom != "3" || *more[0].EXIF != "x" {
		t.Errorf("%+v, %v", more, err)
	}
	if names, left := metaNames(rows); len(names) != maxMeta || len(left) != maxMeta+1 {
		t.Errorf("%d names, %d left out", len(names), len(left))
	}
}

// TestShardNames: as many digits as clip-retrieval's ⌊log10(shards)⌋ + 1.
func TestShardNames(t *testing.T) {
	for shards, want := range map[int]string{1: "img_emb_7.npy", 9: "img_emb_7.npy", 10: "img_emb_07.npy", 99: "img_emb_07.npy", 100: "img_emb_007.npy", 1000: "img_emb_0007.npy"} {
		w := &writer{shards: shards}
		if got := w.path("img_emb", 7, ".npy"); filepath.Base(got) != want {
			t.Errorf("%d shards: %s, want %s", shards, got, want)
		}
	}
}
