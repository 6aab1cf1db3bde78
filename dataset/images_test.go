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
	// Texts beside images in folders: classes for those who label, texts for who wants pairs.
	captioned := tree(t, map[string]string{"a/1.png": "1", "a/2.png": "2", "a/2.txt": "two", "b/more/3.jpg": "3", "4.png": "4", "b/.x.png": "", "b/.x.txt": ""})
	bare := tree(t, map[string]string{"a/1.png": "1", "b/2.png": "2", "b/notes.txt": "", ".c/3.png": "", ".c/3.txt": ""})
	for _, c := range []struct {
		name   string
		source Source
		pairs  bool
		want   int
		texts  bool
	}{
		{"labelled", Source{Path: captioned}, false, 3, false},
		{"pairs", Source{Path: captioned}, true, 4, true},
		{"texts required", Source{Path: captioned, RequireText: true}, false, 4, true},
		{"pairs of two", Source{Path: captioned + "::" + captioned}, true, 8, true},
		{"pairs, but classes said", Source{Path: captioned, Type: ImageFolder}, true, 3, false},
		{"pairs, but classes given", Source{Path: captioned, Classes: []string{"a", "b"}}, true, 3, false},
		{"pairs without texts", Source{Path: bare}, true, 2, false},
	} {
		opened := OpenContext
		if c.pairs {
			opened = OpenPairs
		}
		d, err := opened(t.Context(), c.source)
		if err != nil || d.Len() != c.want || HasTexts(d) != c.texts || c.texts == (Classes(d) != nil) {
			t.Errorf("%s: %v, %+v", c.name, err, d)
		}
	}
	for root, want := range map[string]bool{captioned: true, bare: false, filepath.Join(captioned, "4.png"): false, "none": false} {
		if got := TextsBeside(root); got != want {
			t.Errorf("%s: texts beside images %t", root, got)
		}
	}
	if textsBeside(captioned, 2) || !textsBeside(captioned, 3) {
		t.Error("the first images aren't those that a guess looks at")
	}
	// With classes wanted, images without any are a mistake.
	_, err = Open(Source{Path: root, Classes: []string{"cat"}})
	wantError(t, "no class folders", err, "3 images but no class folders")
}
