package dataset

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/internal/parquetfile"
)

// metadata writes a folder of features as far as a dataset looks at it: rows
// that name images, in two files whose numbers text would sort wrongly.
func metadata(t *testing.T, paths []string) string {
	t.Helper()
	type row struct {
		Path    string `parquet:"image_path"`
		Caption string `parquet:"caption,optional"`
		URL     string `parquet:"url"`
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "metadata"), 0o755); err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, part := range [][]string{paths[:2], paths[2:]} {
		var rows []row
		for _, p := range part {
			rows = append(rows, row{p, fmt.Sprintf("caption %d", n), fmt.Sprintf("https://example.org/%d", n)})
			n++
		}
		if err := parquetfile.Write(filepath.Join(dir, "metadata", fmt.Sprintf("metadata_%d.parquet", 2+8*i)), rows); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEmbeddings(t *testing.T) {
	images := t.TempDir()
	var tars []entry
	var files, keys []string
	for i := range 5 {
		name := fmt.Sprintf("%02d.png", i)
		if err := os.WriteFile(filepath.Join(images, name), picture(t, i, 8), 0o644); err != nil {
			t.Fatal(err)
		}
		// The tar has them backwards.
		key := fmt.Sprintf("%09d", 4-i)
		tars = append(tars, entry{name: key + ".png", content: string(picture(t, 4-i, 8))}, entry{name: key + ".txt", content: "another text"})
		files, keys = append(files, name), append(keys, fmt.Sprintf("%09d", i))
	}
	tar := filepath.Join(t.TempDir(), "00000.tar")
	if err := os.WriteFile(tar, tarOf(t, tars...), 0o644); err != nil {
		t.Fatal(err)
	}
	absolute := make([]string, len(files))
	for i, f := range files {
		absolute[i] = filepath.Join(images, f)
	}
	for name, c := range map[string]struct {
		paths []string
		root  string
	}{
		"relative paths": {files, images}, "absolute paths": {absolute, ""},
		"keys of a tar": {keys, tar}, "keys of a folder of tars": {keys, filepath.Dir(tar)},
	} {
		t.Run(name, func(t *testing.T) {
			dir := metadata(t, c.paths)
			for _, kind := range []string{"", Embeddings} {
				d, err := Open(Source{Type: kind, Path: dir, Root: c.root})
				if err != nil {
					t.Fatal(err)
				}
				if EmbeddingsOf(d) != dir || d.Len() != 5 || !HasTexts(d) || len(Classes(d)) > 0 {
					t.Fatalf("%d samples of %q", d.Len(), EmbeddingsOf(d))
				}
				for i := range 5 {
					s, err := d.Sample(i)
					if err != nil {
						t.Fatal(err)
					}
					if s.Key != c.paths[i] || string(s.Image) != string(picture(t, i, 8)) || s.Text != fmt.Sprintf("caption %d", i) ||
						s.Meta["url"] != fmt.Sprintf("https://example.org/%d", i) || s.Label != -1 {
						t.Errorf("sample %d: %s, %q, %v", i, s.Key, s.Text, s.Meta)
					}
					if s, err := Describe(d, i); err != nil || s.Image != nil || s.Key != c.paths[i] {
						t.Errorf("description %d: %+v, %v", i, s, err)
					}
				}
			}
		})
	}
	other := metadata(t, []string{"a.jpg", "b.jpg", "c.jpg"})
	for root, want := range map[string]string{"": "a.jpg", images: "a.jpg", tar: "isn't in the source", filepath.Join(images, "none.tar"): "root"} {
		if _, err := Open(Source{Path: other, Root: root}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "root") {
			t.Errorf("root %q: %v", root, err)
		}
	}
	if _, err := Open(Source{Type: Embeddings, Path: images}); err == nil || !strings.Contains(err.Error(), "metadata_0.parquet") {
		t.Errorf("no features: %v", err)
	}
}
