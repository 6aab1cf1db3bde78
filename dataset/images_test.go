package dataset

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestImages(t *testing.T) {
	root := tree(t, map[string]string{
		"b.png": "B", "a.jpg": "A", "a.txt": " a cat\n", "a.json": `{"caption":"ignored","license":"MIT"}`,
		"c.gif": "C", "c.json": "not JSON", "notes.txt": "", ".hidden.png": "x",
	})
	deep := tree(t, map[string]string{"x/y/z.png": "Z", "x/.git/q.png": "q", "odd.name": "O"})
	d := open(t, Source{Path: root})
	if d.Len() != 3 || Classes(d) != nil {
		t.Fatalf("%q", keys(t, d))
	}
	s, err := d.Sample(0)
	if want := (Sample{Key: filepath.Join(root, "a.jpg"), Image: []byte("A"), Text: "a cat", Texts: []string{"a cat"}, Label: -1,
		Meta: map[string]string{"license": "MIT"}}); err != nil || !equal(s, want) {
		t.Errorf("%+v, %v; want %+v", s, err, want)
	}
	if s, err := d.Sample(2); err != nil || string(s.Image) != "C" || s.Text != "" {
		t.Errorf("%+v, %v", s, err)
	}
	if d := open(t, Source{Path: root + "/*.{png,gif}", Type: LooseImages}); d.Len() != 2 {
		t.Errorf("%q", keys(t, d))
	}
	several, err := Images(filepath.Join(deep, "odd.name"), deep, filepath.Join(root, "b.png"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(deep, "odd.name") + ":-1:", filepath.Join(deep, "x/y/z.png") + ":-1:", filepath.Join(root, "b.png") + ":-1:"}
	if got := keys(t, several); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	_, err = Images(filepath.Join(root, "none.png"))
	wantError(t, "missing", err, "none.png", "no such file")
	_, err = Images(t.TempDir())
	wantError(t, "empty", err, "no images")
	_, err = Images()
	wantError(t, "nothing", err, "none given")
	// With classes wanted, images without any are a mistake.
	_, err = Open(Source{Path: root, Classes: []string{"cat"}})
	wantError(t, "no class folders", err, "3 images but no class folders")
}
