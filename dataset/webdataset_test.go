package dataset

import (
	"archive/tar"
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestWebDataset(t *testing.T) {
	long := strings.Repeat("long/", 60) + "name" // needs a PAX header
	first := tarOf(t,
		entry{"dir/", "", tar.TypeDir},
		entry{"a.jpg", "A", 0},
		entry{"a.txt", " a cat \n", 0},
		entry{"a.json", `{"texts":["cat","a cat",""," kitten "],"license":"MIT","width":64,"nsfw":false,"similarity":0.25,"caption":"ignored","none":null,"deep":{"x":1}}`, 0},
		entry{"./sub.dir/b.PNG", "B", 0},
		entry{"./sub.dir/b.cls", "7\n", 0},
		entry{"./sub.dir/b.seg.png", "not the image", 0},
		entry{long + ".webp", "C", 0},
		entry{long + ".json", `{"caption":"from json","label":3,"class":"yak"}`, 0},
		entry{".DS_Store", "", 0},
	)
	second := tarOf(t, entry{"d.json", `{"texts":["only","texts"]}`, 0}, entry{"d.jpeg", "D", 0}, entry{"a.jpg", "A2", 0})
	root := tree(t, map[string]string{"00000.tar": string(first), "00001.tar": string(second), "readme.txt": ""})
	want := []Sample{
		{Key: "a", Image: []byte("A"), Text: "a cat", Texts: []string{"a cat", "cat", "kitten"}, Label: -1,
			Meta: map[string]string{"license": "MIT", "width": "64", "nsfw": "false", "similarity": "0.25"}},
		{Key: "sub.dir/b", Image: []byte("B"), Label: 7},
		{Key: long, Image: []byte("C"), Text: "from json", Texts: []string{"from json"}, Label: 3, Class: "yak"},
		{Key: "d", Image: []byte("D"), Text: "only", Texts: []string{"only", "texts"}, Label: -1},
		{Key: "a", Image: []byte("A2"), Label: -1},
	}
	for _, path := range []string{
		root, root + "/{00000..00001}.tar", root + "/0000{0,1}.tar", root + "/*.tar",
	} {
		d := open(t, Source{Path: path})
		if p := ProblemsOf(d); p.Count != 0 {
			t.Errorf("%s: problems %v", path, p)
		}
		if d.Len() != len(want) {
			t.Fatalf("%s: %d samples, want %d", path, d.Len(), len(want))
		}
		for i, w := range want {
			s, err := d.Sample(i)
			if err != nil || !equal(s, w) {
				t.Errorf("%s: sample %d: %+v, %v; want %+v", path, i, s, err, w)
			}
			s, err = Describe(d, i)
			w.Image = nil
			if err != nil || !equal(s, w) {
				t.Errorf("%s: sample %d described: %+v, %v; want %+v", path, i, s, err, w)
			}
		}
	}
	d := open(t, Source{Path: filepath.Join(root, "00000.tar"), Classes: []string{"0", "1", "2", "yak", "4", "5", "6", "seven"}})
	if s, err := d.Sample(1); err != nil || s.Class != "seven" || s.Label != 7 {
		t.Errorf("%+v, %v", s, err)
	}
}

func equal(a, b Sample) bool {
	return a.Key == b.Key && bytes.Equal(a.Image, b.Image) && a.Text == b.Text && slices.Equal(a.Texts, b.Texts) &&
		a.Label == b.Label && a.Class == b.Class && maps.Equal(a.Meta, b.Meta)
}

func TestWebDatasetRefuses(t *testing.T) {
	good := entry{"good.jpg", "fine", 0}
	for name, c := range map[string]struct {
		entry entry
		want  string
	}{
		"absolute":  {entry{"/etc/passwd.jpg", "x", 0}, "absolute"},
		"up":        {entry{"../up.jpg", "x", 0}, `".."`},
		"up inside": {entry{"a/../../up.jpg", "x", 0}, `".."`},
		"backslash": {entry{`..\up.jpg`, "x", 0}, `".."`},
		"symlink":   {entry{"link.jpg", "/etc/passwd", tar.TypeSymlink}, "link"},
		"hard link": {entry{"hard.jpg", "good.jpg", tar.TypeLink}, "link"},
		"fifo":      {entry{"pipe.jpg", "", tar.TypeFifo}, "link or device"},
		"long text": {entry{"long.txt", strings.Repeat("x", maxSidecar+1), 0}, "too many for a text"},
		"no image":  {entry{"lonely.txt", "x", 0}, "lonely: no image"},
	} {
		path := filepath.Join(tree(t, map[string]string{"x.tar": string(tarOf(t, c.entry, good))}), "x.tar")
		d := open(t, Source{Path: path})
		if got := keys(t, d); !slices.Equal(got, []string{"good:-1:"}) {
			t.Errorf("%s: %q", name, got)
		}
		if p := ProblemsOf(d); p.Count != 1 || !strings.Contains(p.First[0], c.want) || !strings.Contains(p.First[0], path) {
			t.Errorf("%s: %v; want %q", name, p, c.want)
		}
	}
}

func TestWebDatasetDamaged(t *testing.T) {
	var entries []entry
	for i := range 20 {
		entries = append(entries, entry{fmt.Sprintf("%02d.jpg", i), strings.Repeat("x", 700), 0}, entry{fmt.Sprintf("%02d.txt", i), "text", 0})
	}
	whole := tarOf(t, entries...)
	sampleSize := 512 + 1024 + 512 + 512
	for _, c := range []struct {
		name    string
		content []byte
		least   int // whole samples that must be found
		count   int
	}{
		{"cut in data", whole[:5*sampleSize+900], 5, 1},
		{"cut in header", whole[:5*sampleSize+100], 4, 1},
		{"cut in text", whole[:5*sampleSize+1536+514], 5, 1},
		{"garbage", append(slices.Clone(whole[:5*sampleSize]), bytes.Repeat([]byte("garbage!"), 500)...), 4, 1},
		{"no end", whole[:20*sampleSize], 20, 1},
		{"cut in padding", whole[:20*sampleSize-100], 20, 1},
		{"one block of zeros", whole[:20*sampleSize+512], 20, 0},
		{"whole", whole, 20, 0},
		{"long end", append(slices.Clone(whole), make([]byte, 9000)...), 20, 0},
	} {
		path := filepath.Join(tree(t, map[string]string{"x.tar": string(c.content)}), "x.tar")
		d := open(t, Source{Path: path})
		if d.Len() != c.least {
			t.Errorf("%s: %d samples, want %d", c.name, d.Len(), c.least)
		}
		if p := ProblemsOf(d); p.Count != c.count || c.count > 0 && !strings.Contains(p.First[0], path) {
			t.Errorf("%s: %v", c.name, p)
		}
		for i := range d.Len() {
			if s, err := d.Sample(i); err != nil || len(s.Image) != 700 || s.Text != "text" {
				t.Errorf("%s: sample %d: %d bytes, %q, %v", c.name, i, len(s.Image), s.Text, err)
			}
		}
	}
	// A text that was cut off whole leaves its image; the tar is named.
	noText := filepath.Join(tree(t, map[string]string{"x.tar": string(whole[:5*sampleSize-1024])}), "x.tar")
	if p := ProblemsOf(open(t, Source{Path: noText})); p.Count != 1 || !strings.Contains(p.First[0], noText) || !strings.Contains(p.First[0], "no end mark") {
		t.Errorf("%v", p)
	}
	// A sparse file claims more than there is of it in the tar.
	sparse := tarOf(t, entry{"good.jpg", "fine", 0}, entry{"pax", "30 GNU.sparse.realsize=999999\n22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n", 0}, entry{"9.jpg", "1\n0\n1\n" + strings.Repeat("\x00", 506) + "x", 0})
	retype(sparse[1024:1536], tar.TypeXHeader)
	d := open(t, Source{Path: filepath.Join(tree(t, map[string]string{"x.tar": string(sparse)}), "x.tar")})
	if p := ProblemsOf(d); p.Count != 1 || !strings.Contains(p.First[0], "9.jpg: sparse") {
		t.Errorf("sparse: %q", p.First)
	}
	// One damaged tar doesn't hide the others.
	root := tree(t, map[string]string{"0.tar": "nothing like a tar, but long enough to be read as a header" + strings.Repeat(".", 600), "1.tar": string(whole)})
	d = open(t, Source{Path: root})
	if p := ProblemsOf(d); d.Len() != 20 || p.Count != 1 || !strings.Contains(p.First[0], "0.tar") {
		t.Errorf("%d samples, %v", d.Len(), p)
	}
}

// retype makes an entry's header one of another kind.
func retype(header []byte, kind byte) {
	header[156] = kind
	copy(header[148:156], "        ")
	sum := 0
	for _, b := range header {
		sum += int(b)
	}
	copy(header[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

func TestWebDatasetErrors(t *testing.T) {
	root := tree(t, map[string]string{
		"z.tar": "\x1f\x8b\x08 compressed", "empty.tar": "", "bad.tar": strings.Repeat("x", 2000), "none/": "",
		"text.tar": string(tarOf(t, entry{"a.txt", "x", 0})),
	})
	for name, c := range map[string]struct {
		source Source
		want   []string
	}{
		"compressed": {Source{Path: root + "/z.tar"}, []string{"z.tar", "gunzip"}},
		"empty":      {Source{Path: root + "/empty.tar"}, []string{"empty.tar", "no samples"}},
		"bad":        {Source{Path: root + "/bad.tar"}, []string{"bad.tar", "1 problems"}},
		"no images":  {Source{Path: root + "/text.tar"}, []string{"no image"}},
		"no tars":    {Source{Path: root + "/none", Type: WebDataset}, []string{"none", "no .tar files"}},
		"range":      {Source{Path: root + "/{00000..00003}.tar"}, []string{"00000.tar", "no such file", "correct the range", root + "/*.tar"}},
		"two ranges": {Source{Path: root + "/x{a,b}-{0..3}.tar"}, []string{"xa-0.tar", root + "/x*-*.tar"}},
		"glob":       {Source{Path: root + "/q*.tar"}, []string{"q*.tar", "not exist"}},
		"brace":      {Source{Path: root + "/{0..3.tar"}, []string{"{ without its }"}},
		"backwards":  {Source{Path: root + "/{3..0}.tar"}, []string{"{3..0}", "first ≤ last"}},
	} {
		_, err := Open(c.source)
		wantError(t, name, err, c.want...)
	}
	for name, e := range map[string]entry{
		"json":  {"a.json", "{", 0},
		"cls":   {"a.cls", "cat", 0},
		"UTF-8": {"a.txt", "\xff\xfe", 0},
	} {
		path := filepath.Join(tree(t, map[string]string{"x.tar": string(tarOf(t, entry{"a.jpg", "x", 0}, e))}), "x.tar")
		_, err := open(t, Source{Path: path}).Sample(0)
		wantError(t, name, err, name, path, ": a: ")
	}
}

func TestExpand(t *testing.T) {
	for pattern, want := range map[string][]string{
		"a.tar":              {"a.tar"},
		"{08..11}.tar":       {"08.tar", "09.tar", "10.tar", "11.tar"},
		"{8..10}":            {"8", "9", "10"},
		"x{a,b}{0..1}y":      {"xa0y", "xa1y", "xb0y", "xb1y"},
		"{one}":              {"one"},
		"":                   {""},
		"{a,}":               {"a", ""},
		"{00000..00000}.t":   {"00000.t"},
		"{0..9999999}":       nil,
		"{a..b}":             nil,
		"{-1..3}":            nil,
		"{":                  nil,
		"{0..2000}{0..2000}": nil,
	} {
		got, err := expand(pattern)
		if pattern == "" {
			want = []string{""}
		}
		if want == nil {
			if err == nil {
				t.Errorf("%q: accepted", pattern)
			}
			continue
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v; want %q", pattern, got, err, want)
		}
	}
}

func TestWebDatasetConcurrent(t *testing.T) {
	files := map[string]string{}
	for shard := range shardsOpen + 3 { // also the way without open files
		files[fmt.Sprintf("%05d.tar", shard)] = string(tarOf(t, entry{"k.jpg", fmt.Sprint("image ", shard), 0}, entry{"k.txt", fmt.Sprint(shard), 0}))
	}
	root := tree(t, files)
	for _, path := range []string{root, root + "/{00000..00003}.tar"} {
		d := open(t, Source{Path: path})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i := range d.Len() {
					if s, err := d.Sample(i); err != nil || s.Text != fmt.Sprint(i) || string(s.Image) != "image "+s.Text {
						t.Errorf("%d: %+v, %v", i, s, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

// TestWebDatasetChanged: a tar that got shorter after it was indexed.
func TestWebDatasetChanged(t *testing.T) {
	path := filepath.Join(tree(t, map[string]string{"x.tar": string(tarOf(t, entry{"a.jpg", strings.Repeat("x", 5000), 0}))}), "x.tar")
	d := open(t, Source{Path: path})
	if err := os.Truncate(path, 1000); err != nil {
		t.Fatal(err)
	}
	_, err := d.Sample(0)
	wantError(t, "shorter", err, "x.tar", "EOF")
}

func FuzzTar(f *testing.F) {
	f.Add(tarOf(f, entry{"a.jpg", "A", 0}, entry{"a.txt", "t", 0}, entry{"a.json", `{"texts":["x"],"n":1}`, 0}, entry{"b.png", "B", 0}, entry{"b.cls", "1", 0}))
	f.Add(tarOf(f, entry{strings.Repeat("l/", 150) + "x.jpg", "A", 0}, entry{"../x.jpg", "", 0}, entry{"l.jpg", "x", tar.TypeSymlink}))
	f.Fuzz(func(t *testing.T, content []byte) {
		var problems Problems
		samples := indexTar(bytes.NewReader(content), int64(len(content)), "fuzz.tar", 0, &problems)
		for _, s := range samples {
			if s.key == "" || s.image.size < 0 {
				t.Errorf("%+v", s)
			}
			for _, p := range []part{s.image, s.text, s.info, s.class} {
				if p.size >= 0 && (p.offset < 512 || p.offset+p.size > int64(len(content))) {
					t.Errorf("%s: part %+v is outside of %d bytes", s.key, p, len(content))
				}
			}
			var sample Sample
			at := func(p part) []byte {
				if p.size < 0 {
					return nil
				}
				return content[p.offset : p.offset+p.size]
			}
			if err := sample.fill(at(s.text), at(s.info), at(s.class)); err == nil && len(sample.Texts) > 0 && sample.Texts[0] != sample.Text {
				t.Errorf("texts %q, text %q", sample.Texts, sample.Text)
			}
		}
	})
}

// Whoever opens a source is told what it lacks.
func TestWhatIsLeftOutIsSaid(t *testing.T) {
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	whole := tarOf(t, entry{"a.jpg", strings.Repeat("x", 700), 0}, entry{"../b.jpg", "x", 0}, entry{"/c.jpg", "x", 0})
	path := filepath.Join(tree(t, map[string]string{"x.tar": string(whole)}), "x.tar")
	open(t, Source{Path: path})
	for _, want := range []string{path, "problems=2", "../b.jpg", "/c.jpg"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in %s", want, &log)
		}
	}
	if n := strings.Count(log.String(), "left out of the source"); n != 1 {
		t.Errorf("it's said %d times", n)
	}
}
