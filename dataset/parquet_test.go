package dataset

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"arf/internal/parquetfile"
)

const parquetDir = "testdata/parquet"

// parquetGolden is expected.json of scripts/golden/parquet.py.
type parquetGolden struct {
	Files map[string]struct {
		RowGroups int `json:"row_groups"`
		Names     map[string][]string
		Rows      []struct {
			Image, Path, Caption, License, Class *string
			Captions                             []string
			Label                                *int
			FineLabel                            *int `json:"fine_label"`
			CoarseLabel                          *int `json:"coarse_label"`
			Similarity                           *float64
			NSFW                                 *bool `json:"nsfw"`
			Width                                *int
		}
	}
}

func readGolden(t testing.TB) parquetGolden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parquetDir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden parquetGolden
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	return golden
}

// TestParquetGolden: every file gives what Hugging Face's datasets reads of it.
func TestParquetGolden(t *testing.T) {
	golden := readGolden(t)
	if len(golden.Files) < 8 {
		t.Fatalf("%d files", len(golden.Files))
	}
	for name, want := range golden.Files {
		source := Source{Path: filepath.Join(parquetDir, name)}
		if name == "cifar.parquet" {
			source.LabelColumn = "coarse_label"
		}
		d := open(t, source)
		if n := len(d.(*parquetSet).files[0].ends); d.Len() != len(want.Rows) || n != want.RowGroups {
			t.Fatalf("%s: %d samples in %d groups, want %d in %d", name, d.Len(), n, len(want.Rows), want.RowGroups)
		}
		names := want.Names["label"]
		if name == "cifar.parquet" {
			names = want.Names["coarse_label"]
		}
		if names != nil && !slices.Equal(Classes(d), names) {
			t.Errorf("%s: classes %q, want %q", name, Classes(d), names)
		}
		for i, row := range want.Rows {
			s, err := d.Sample(i)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			sum := sha256.Sum256(s.Image)
			if hex.EncodeToString(sum[:]) != *row.Image {
				t.Errorf("%s: image %d is another", name, i)
			}
			w := Sample{Key: fmt.Sprintf("%s#%d", filepath.Base(name), i), Image: s.Image, Label: -1}
			label := row.Label
			if name == "cifar.parquet" {
				label = row.CoarseLabel
				w.meta("fine_label", fmt.Sprint(*row.FineLabel))
			}
			if label != nil && *label >= 0 {
				w.Label, w.Class = *label, names[*label]
			}
			if row.Class != nil {
				w.Class = *row.Class
				w.Label = slices.Index(Classes(d), w.Class)
			}
			if row.Caption != nil {
				w.Text = strings.TrimSpace(*row.Caption)
			}
			if w.Text != "" {
				w.Texts = []string{w.Text}
			}
			if len(row.Captions) > 0 {
				w.Text, w.Texts = row.Captions[0], row.Captions
			}
			if row.Path != nil {
				w.meta("path", *row.Path)
			}
			if row.License != nil {
				w.meta("license", *row.License)
			}
			if row.Similarity != nil {
				w.meta("similarity", fmt.Sprint(*row.Similarity))
			}
			if row.NSFW != nil {
				w.meta("nsfw", fmt.Sprint(*row.NSFW))
			}
			if row.Width != nil {
				w.meta("width", fmt.Sprint(*row.Width))
			}
			if !equal(s, w) {
				t.Errorf("%s: %+v, want %+v", name, s, w)
			}
			described, err := Describe(d, i)
			w.Image = nil
			if err != nil || !equal(described, w) {
				t.Errorf("%s: described %+v, %v", name, described, err)
			}
		}
	}
}

func TestParquetSplits(t *testing.T) {
	dir := filepath.Join(parquetDir, "labelled")
	for _, c := range []struct {
		source Source
		n      int
		first  string
	}{
		{Source{Path: dir, Split: "train"}, 12, "train-00000-of-00002.parquet#0:0:maine_coon"},
		{Source{Path: filepath.Join(dir, "data"), Split: "test"}, 4, "test-00000-of-00001.parquet#0:-1:"},
		{Source{Path: dir + "/data/train-*.parquet"}, 12, "train-00000-of-00002.parquet#0:0:maine_coon"},
		{Source{Path: dir + "/data/train-0000{0..1}-of-00002.parquet"}, 12, "train-00000-of-00002.parquet#0:0:maine_coon"},
		{Source{Path: dir + "/data/*.parquet", Split: "test"}, 4, "test-00000-of-00001.parquet#0:-1:"},
		{Source{Path: dir + "/data/*.parquet"}, 16, "test-00000-of-00001.parquet#0:-1:"},
		{Source{Path: dir, Split: "train", Half: HalfNew}, 6, "train-00000-of-00002.parquet#2:0:Faces_easy"},
		{Source{Path: dir, Split: "train", Shots: 1}, 4, ""},
		{Source{Path: dir, Split: "train", Classes: []string{"sea horse", "Faces_easy", "Faces", "maine_coon"}}, 12, "train-00000-of-00002.parquet#0:3:maine_coon"},
	} {
		d := open(t, c.source)
		got := keys(t, d)
		if len(got) != c.n || c.first != "" && got[0] != c.first {
			t.Errorf("%+v: %q", c.source, got)
		}
	}
	// Folders as the Hub's conversion to Parquet has them.
	root := t.TempDir()
	for from, to := range map[string]string{"test-00000-of-00001": "test/0000", "train-00000-of-00002": "train/0000", "train-00001-of-00002": "train/0001"} {
		data, err := os.ReadFile(filepath.Join(dir, "data", from+".parquet"))
		if err != nil {
			t.Fatal(err)
		}
		to = filepath.Join(root, to+".parquet")
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if d := open(t, Source{Path: root, Split: "train"}); d.Len() != 12 {
		t.Errorf("%d", d.Len())
	}
	if d := open(t, Source{Path: filepath.Join(root, "test")}); d.Len() != 4 {
		t.Errorf("%d", d.Len())
	}
	if s := keys(t, open(t, Source{Path: root + "/*/0000.parquet"})); !strings.HasSuffix(s[0], "test/0000.parquet#0:-1:") {
		t.Errorf("%q: keys must tell files of one name apart", s)
	}
}

func TestParquetClassesAndPaths(t *testing.T) {
	d := open(t, Source{Path: filepath.Join(parquetDir, "plain.parquet")})
	if !slices.Equal(Classes(d), []string{"ant", "bee", "yak"}) {
		t.Errorf("%q", Classes(d))
	}
	d = open(t, Source{Path: filepath.Join(parquetDir, "numbered.parquet")})
	if got := keys(t, d); !slices.Equal(Classes(d), []string{"yak", "bee", "ant"}) || got[3] != "numbered.parquet#3:1:bee" {
		t.Errorf("%q, %q", Classes(d), got)
	}
	d = open(t, Source{Path: filepath.Join(parquetDir, "numbered.parquet"), Classes: []string{"ant", "yak", "bee"}})
	if got := keys(t, d); got[3] != "numbered.parquet#3:2:bee" {
		t.Errorf("%q", got)
	}
	// Numbers alone, with names given.
	path := filepath.Join(t.TempDir(), "x.parquet")
	type row struct {
		Image []byte `parquet:"image"`
		Label int32  `parquet:"label"`
	}
	if err := parquetfile.Write(path, []row{{[]byte("a"), 1}, {[]byte("b"), 0}}); err != nil {
		t.Fatal(err)
	}
	d = open(t, Source{Path: path, Classes: []string{"cat", "dog"}})
	if s, err := d.Sample(0); err != nil || s.Label != 1 || s.Class != "dog" || string(s.Image) != "a" {
		t.Errorf("%+v, %v", s, err)
	}
	_, err := Open(Source{Path: path, Classes: []string{"cat"}})
	wantError(t, "label", err, "x.parquet: row 0", "label 1", "1 classes", "classnames.txt")
	if got := keys(t, open(t, Source{Path: path})); got[0] != "x.parquet#0:1:" {
		t.Errorf("%q", got)
	}
	// Images beside the file.
	d = open(t, Source{Path: filepath.Join(parquetDir, "paths.parquet")})
	if s, err := d.Sample(0); err != nil || !bytes.HasPrefix(s.Image, []byte("\x89PNG")) || s.Text != "a" {
		t.Errorf("%+v, %v", s, err)
	}
	_, err = d.Sample(1)
	wantError(t, "missing", err, "row 1", "files/none.png", "no such file")
	_, err = d.Sample(2)
	wantError(t, "URL", err, "row 2", "https://x/y.png", "img2dataset")
}

func TestParquetErrors(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("text.parquet"), []byte("not a Parquet file at all"), 0o644); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(parquetDir, "old.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("cut.parquet"), whole[:len(whole)-50], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at("empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	type other struct {
		Picture int64  `parquet:"picture"`
		Text    string `parquet:"text"`
	}
	if err := parquetfile.Write(at("other.parquet"), []other{{1, "a"}}); err != nil {
		t.Fatal(err)
	}
	type contradicting struct {
		Image []byte `parquet:"image"`
		Class string `parquet:"class"`
		Label int64  `parquet:"label"`
	}
	if err := parquetfile.Write(at("two-labels.parquet"), []contradicting{{[]byte("a"), "cat", 0}, {[]byte("b"), "cat", 1}}); err != nil {
		t.Fatal(err)
	}
	if err := parquetfile.Write(at("shared.parquet"), []contradicting{{[]byte("a"), "cat", 0}, {[]byte("b"), "dog", 0}}); err != nil {
		t.Fatal(err)
	}
	if err := parquetfile.Write(at("none.parquet"), []contradicting{}); err != nil {
		t.Fatal(err)
	}
	labelled := filepath.Join(parquetDir, "labelled")
	for name, c := range map[string]struct {
		source Source
		want   []string
	}{
		"not Parquet":   {Source{Path: at("text.parquet")}, []string{"text.parquet", "PAR1"}},
		"cut":           {Source{Path: at("cut.parquet")}, []string{"cut.parquet", "PAR1"}},
		"folder":        {Source{Path: at("empty"), Type: Parquet}, []string{"no .parquet files"}},
		"no file":       {Source{Path: at("q.parquet")}, []string{"q.parquet", "no such file"}},
		"no image":      {Source{Path: at("other.parquet")}, []string{`"picture", "text"`, "image_column"}},
		"wrong column":  {Source{Path: at("other.parquet"), ImageColumn: "img"}, []string{`"img"`, `"picture", "text"`}},
		"wrong kind":    {Source{Path: at("other.parquet"), ImageColumn: "picture"}, []string{`"picture"`, "can't be the image"}},
		"wrong label":   {Source{Path: filepath.Join(parquetDir, "captions.parquet"), LabelColumn: "license"}, []string{`"license"`, "can't be the label"}},
		"two labels":    {Source{Path: at("two-labels.parquet")}, []string{`"cat"`, "0 and 1"}},
		"shared label":  {Source{Path: at("shared.parquet")}, []string{`"cat" and "dog"`, "label 0"}},
		"no rows":       {Source{Path: at("none.parquet")}, []string{"no samples"}},
		"no split":      {Source{Path: labelled}, []string{`"test", "train"`, "split"}},
		"unknown split": {Source{Path: labelled, Split: "val"}, []string{`"val"`, `"test", "train"`}},
		"other classes": {Source{Path: labelled, Split: "train", Classes: []string{"cat"}}, []string{"maine_coon"}},
		"other names":   {Source{Path: parquetDir + "/{old,cifar}.parquet"}, []string{"other class names", "old.parquet", "cifar.parquet"}},
	} {
		_, err := Open(c.source)
		wantError(t, name, err, c.want...)
	}
	if d := open(t, Source{Path: filepath.Join(parquetDir, "cifar.parquet")}); !slices.Equal(Classes(d), []string{"apple", "bee", "cup"}) {
		t.Errorf("%q", Classes(d))
	}
}

// TestParquetBlocks: whatever is kept, in whatever order samples are asked for,
// they are the same; and what is kept stays within its bound.
func TestParquetBlocks(t *testing.T) {
	for _, name := range []string{"old.parquet", "pages.parquet", "labelled/data/train-00000-of-00002.parquet"} {
		d := open(t, Source{Path: filepath.Join(parquetDir, name)}).(*parquetSet)
		var want []string
		for i := range d.Len() {
			s, err := d.Sample(i)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, string(s.Image))
		}
		for _, limit := range []int64{0, 700, 1 << 20} {
			d.blocks = newBlockCache(limit)
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() {
					for k := range 3 * d.Len() {
						i := (k*7 + w*5) % d.Len()
						if s, err := d.Sample(i); err != nil || string(s.Image) != want[i] {
							t.Errorf("%s: image %d is another: %v", name, i, err)
							return
						}
					}
				})
			}
			wg.Wait()
			held := int64(0)
			for e := d.blocks.used.Front(); e != nil; e = e.Next() {
				held += e.Value.(*cachedBlock).size
			}
			if held != d.blocks.held || held > limit && d.blocks.used.Len() > 1 {
				t.Errorf("%s: %d bytes are kept, counted as %d, the limit is %d", name, held, d.blocks.held, limit)
			}
		}
	}
	// Pages are read alone where the file tells where they are.
	f := open(t, Source{Path: filepath.Join(parquetDir, "labelled/data/train-00000-of-00002.parquet")}).(*parquetSet).files[0]
	if first, err := f.pageOf(1, 2); err != nil || first > 2 {
		t.Errorf("%d, %v", first, err)
	}
}

// TestParquetDamage: wherever a byte is turned over, an error or a sample.
func TestParquetDamage(t *testing.T) {
	for _, name := range []string{"pages.parquet", "lists.parquet"} {
		whole, err := os.ReadFile(filepath.Join(parquetDir, name))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), name)
		for i := 0; i < len(whole); i += 31 {
			turned := slices.Clone(whole)
			turned[i] ^= 0xff
			readDamaged(t, path, turned)
		}
	}
}

func readDamaged(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := Open(Source{Path: path})
	if err != nil {
		if !strings.Contains(err.Error(), filepath.Base(path)) {
			t.Errorf("%v doesn't name the file", err)
		}
		return
	}
	for i := range min(d.Len(), 100) {
		s, err := d.Sample(i)
		if s.Key == "" || err == nil && s.Label >= 0 && Classes(d) != nil && Classes(d)[s.Label] != s.Class {
			t.Errorf("%+v, %v", s, err)
		}
		if err != nil && !strings.Contains(err.Error(), filepath.Base(path)) && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%v doesn't name the file", err)
		}
	}
}

func FuzzParquet(f *testing.F) {
	for _, name := range []string{"old.parquet", "lists.parquet", "plain.parquet"} {
		data, err := os.ReadFile(filepath.Join(parquetDir, name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		readDamaged(t, filepath.Join(t.TempDir(), "x.parquet"), data)
	})
}

func FuzzHFFeatures(f *testing.F) {
	f.Add(`{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["a", "b"], "_type": "ClassLabel"}, "c": [{"_type": "Value"}]}}}`)
	f.Fuzz(func(t *testing.T, metadata string) {
		features, err := hfFeatures(metadata)
		if err != nil {
			return
		}
		for name, c := range features {
			sorted := slices.Sorted(slices.Values(c.Names))
			if c.Type == "" || len(slices.Compact(sorted)) != len(c.Names) {
				t.Errorf("%q: %+v", name, c)
			}
		}
	})
}
