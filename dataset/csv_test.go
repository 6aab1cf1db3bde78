package dataset

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCSV(t *testing.T) {
	root := tree(t, map[string]string{
		"img/a.png": "A", "img/b c.png": "B",
		"list.csv":  "\uFEFFid,Image_Path,caption,class\n1,img/a.png,\"A cat, sitting\",cat\n2,img/b c.png,\"two\nlines\",dog\n\n3,img/a.png,,cat\n",
		"list.tsv":  "filepath\ttitle\nimg/a.png\tone \"quoted\" word\n",
		"semi.csv":  "file;words;k\na.png;x;1\nb c.png;y;0\n",
		"label.csv": "path,label\nimg/a.png,1\nimg/a.png,0\n",
		"both.csv":  "path,class,label\nimg/a.png,cat,1\nimg/a.png,dog,0\n",
	})
	at := func(name string) string { return filepath.Join(root, name) }
	d := open(t, Source{Path: at("list.csv")})
	want := []string{"img/a.png:0:cat", "img/b c.png:1:dog", "img/a.png:0:cat"}
	if got := keys(t, d); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	s, err := d.Sample(1)
	if err != nil || string(s.Image) != "B" || s.Text != "two\nlines" || !slices.Equal(s.Texts, []string{"two\nlines"}) {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := d.Sample(2); err != nil || s.Text != "" || s.Texts != nil {
		t.Errorf("%+v, %v", s, err)
	}
	d = open(t, Source{Path: at("list.csv"), RequireText: true})
	if _, err := d.Sample(0); err != nil {
		t.Error(err)
	}
	_, err = d.Sample(2)
	wantError(t, "no text", err, "img/a.png", "no text")
	_, err = Describe(d, 2)
	wantError(t, "no text", err, "no text")

	d = open(t, Source{Path: at("semi.csv"), Separator: ";", ImageColumn: "file", TextColumn: "words", LabelColumn: "k",
		Root: at("img"), Classes: []string{"zero", "one"}})
	if got := keys(t, d); !slices.Equal(got, []string{"a.png:1:one", "b c.png:0:zero"}) {
		t.Errorf("%q", got)
	}
	if s, err := d.Sample(1); err != nil || string(s.Image) != "B" || s.Text != "y" {
		t.Errorf("%+v, %v", s, err)
	}
	d = open(t, Source{Path: at("label.csv")})
	if got := keys(t, d); !slices.Equal(got, []string{"img/a.png:1:", "img/a.png:0:"}) || Classes(d) != nil {
		t.Errorf("%q", got)
	}
	d = open(t, Source{Path: at("both.csv")})
	if got := keys(t, d); !slices.Equal(got, []string{"img/a.png:1:cat", "img/a.png:0:dog"}) || !slices.Equal(Classes(d), []string{"dog", "cat"}) {
		t.Errorf("%q %q", got, Classes(d))
	}
}

// TestOpenCLIPTable: a table as open_clip expects it by default (tabs, whatever
// its name; columns filepath and title) opens without options, and with
// open_clip's options as ours.
func TestOpenCLIPTable(t *testing.T) {
	root := tree(t, map[string]string{
		"img/a.png": "A", "img/b.png": "B",
		"train.csv":  "filepath\ttitle\nimg/a.png\tone, two; \"three\"\nimg/b.png\t\"a \"\"quoted\"\" field\"\n",
		"commas.csv": "path,words\nimg/a.png,\"one, two\tthree\"\n",
		"tabs.csv":   "path\twords\nimg/a.png\tone\n",
	})
	at := func(name string) string { return filepath.Join(root, name) }
	for _, source := range []Source{
		{Path: at("train.csv")}, {Path: at("train.csv"), ImageColumn: "filepath", TextColumn: "title", Separator: `\t`},
	} {
		d := open(t, source)
		for i, want := range []string{`one, two; "three"`, `a "quoted" field`} {
			if s, err := d.Sample(i); err != nil || s.Text != want || string(s.Image) != string("AB"[i]) {
				t.Errorf("%+v, %v; want %q", s, err, want)
			}
		}
	}
	for name, separator := range map[string]string{"commas.csv": ",", "tabs.csv": "tab"} {
		for _, s := range []string{"", separator} {
			d := open(t, Source{Path: at(name), ImageColumn: "path", TextColumn: "words", Separator: s})
			if s, err := d.Sample(0); err != nil || !strings.HasPrefix(s.Text, "one") || string(s.Image) != "A" {
				t.Errorf("%s: %+v, %v", name, s, err)
			}
		}
	}
	// open_clip's paths start at the current folder.
	t.Chdir(root)
	below := tree(t, map[string]string{"lists/train.csv": "filepath\ttitle\nimg/a.png\tx\n"})
	_, err := Open(Source{Path: filepath.Join(below, "lists/train.csv")})
	wantError(t, "current folder", err, "img/a.png", `root "."`, "--root")
	if s, err := open(t, Source{Path: filepath.Join(below, "lists/train.csv"), Root: "."}).Sample(0); err != nil || string(s.Image) != "A" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestTSVQuotes(t *testing.T) {
	root := tree(t, map[string]string{"list.tsv": "filepath\ttitle\nimg/a.png\tone \"quoted\" word\nb.png\t5\" disk\n"})
	d := open(t, Source{Path: filepath.Join(root, "list.tsv")})
	for i, want := range []string{`one "quoted" word`, `5" disk`} {
		if s, err := Describe(d, i); err != nil || s.Text != want {
			t.Errorf("%q, %v; want %q", s.Text, err, want)
		}
	}
}

func TestCSVErrors(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		source  Source
		want    []string
	}{
		"empty":            {"", Source{}, []string{"empty file", "header"}},
		"header only":      {"image,text\n", Source{}, []string{"no samples"}},
		"no image":         {"a,b\n1,2\n", Source{}, []string{"line 1", `"a", "b"`, "image_column"}},
		"wrong column":     {"image,text\nx,y\n", Source{TextColumn: "words"}, []string{"line 1", `"words"`, `"image", "text"`}},
		"wrong comma":      {"image;text\nx;y\n", Source{}, []string{"line 1", `"image;text"`}},
		"short line":       {"image,text\na.png,x\nb.png\n", Source{}, []string{"line 3", "columns"}},
		"empty path":       {"image,text\na.png,x\n ,x\n", Source{}, []string{"line 3, column 1 (image)", "no image path"}},
		"quote":            {"image,text\na.png,x\"y\n", Source{}, []string{"line 2", "column"}},
		"open quote":       {"image,text\na.png,\"y\n", Source{}, []string{"line 2, column 10: a quote before here isn't closed", "close it"}},
		"quote to the end": {"image,text\na.png,x\nb.png,\"y\nc.png,z\nd.png,z\n", Source{}, []string{": line 3: a quote that is opened in the row that begins here", "up to line 5", "close it"}},
		"quote to another": {"image,text\na.png,\"y\nb.png,\"z\"\n", Source{}, []string{": line 2: a quote that is opened", "up to line 3, column 7"}},
		"url":              {"image,text\nhttp://x/a.png,y\n", Source{}, []string{"line 2, column 1 (image)", "URL"}},
		"bytes":            {"image,text\na.png,\xff\xfe\n", Source{}, []string{"line 2, column 7 (text)", "UTF-8"}},
		"label":            {"image,label\na.png,cat\n", Source{}, []string{"line 2, column 7 (label)", `"cat"`}},
		"negative label":   {"image,label\na.png,-1\n", Source{}, []string{"line 2", `"-1"`}},
		"no class":         {"image,class\na.png,\n", Source{}, []string{"line 2, column 7 (class)"}},
		"two labels":       {"image,class,label\na,x,0\nb,x,1\n", Source{}, []string{`"x"`, "0 and 1"}},
		"shared label":     {"image,class,label\na,x,0\nb,y,0\n", Source{}, []string{`"x" and "y"`, "label 0"}},
		"gap":              {"image,class,label\na,x,0\nb,y,2\n", Source{}, []string{"no class has label 1"}},
		"huge label":       {"image,class,label\na,x,999999999\n", Source{}, []string{"999999999"}},
		"label above":      {"image,label\na,3\n", Source{Classes: []string{"x"}}, []string{"label 3", "1 classes"}},
		"unknown class":    {"image,class\na,x\n", Source{Classes: []string{"y"}}, []string{`"x"`}},
		"missing class":    {"image,class\na,x\n", Source{Classes: []string{"x", "y"}}, []string{`"y"`}},
		"separator":        {"image\na\n", Source{Separator: "ab"}, []string{`"ab"`, "one character"}},
	} {
		root := tree(t, map[string]string{"list.csv": c.content})
		c.source.Path = filepath.Join(root, "list.csv")
		_, err := Open(c.source)
		wantError(t, name, err, append(c.want, "list.csv")...)
	}
	_, err := Open(Source{Path: "none.csv"})
	wantError(t, "no file", err, "none.csv")
}

func FuzzCSV(f *testing.F) {
	f.Add("image,text,class,label\na.png,\"x\ny\",cat,0\n", "")
	f.Add("\uFEFFpath\ttitle\na\tb\n", "tab")
	f.Add("path;label\na;1\n", ";")
	f.Fuzz(func(t *testing.T, content, separator string) {
		d, err := readCSV(strings.NewReader(content), Source{Separator: separator})
		if err != nil {
			return
		}
		for i := range d.Len() {
			s := d.row(i)
			if s.Key == "" || s.Label < -1 || s.Class != "" && d.classes[s.Label] != s.Class {
				t.Errorf("%+v", s)
			}
		}
	})
}

// Columns that are none of the usual ones are metadata, by which pairs are left out.
func TestCSVMetadata(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "pairs.csv")
	table := "image,title,caption,NSFW,,author\na.png,A,a dog,NSFW,x,Zo\u00eb\nb.png,B,a cat,,x,\xff!\n"
	if err := os.WriteFile(path, []byte(table), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := Open(Source{Path: path, TextColumn: "caption"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []map[string]string{
		{"title": "A", "NSFW": "NSFW", "author": "Zo\u00eb"},
		{"title": "B", "author": "\uFFFD!"}, // an empty cell says nothing
	} {
		if s, err := Describe(d, i); err != nil || !maps.Equal(s.Meta, want) {
			t.Errorf("row %d: %v, want %v (%v)", i, s.Meta, want, err)
		}
	}
}
