package dataset

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFolder(t *testing.T) {
	root := tree(t, map[string]string{
		"dog/b.png": "B", "dog/a.JPG": "A", "dog/more/deep.webp": "D", "dog/notes.txt": "",
		"cat/x.png": "X", "cat/.hidden.png": "", ".git/y.png": "", "shopping cart/1.png": "1", "readme.md": "",
	})
	linked := tree(t, map[string]string{"z.png": "Z"})
	if err := os.Symlink(linked, filepath.Join(root, "eel")); err != nil {
		t.Fatal(err)
	}
	d := open(t, Source{Path: root})
	if c := Classes(d); !slices.Equal(c, []string{"cat", "dog", "eel", "shopping cart"}) {
		t.Errorf("classes %q", c)
	}
	want := []string{
		"cat/x.png:0:cat", "dog/a.JPG:1:dog", "dog/b.png:1:dog", "dog/more/deep.webp:1:dog",
		"eel/z.png:2:eel", "shopping cart/1.png:3:shopping cart",
	}
	if got := keys(t, d); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for i, content := range []string{"X", "A", "B", "D", "Z", "1"} {
		s, err := d.Sample(i)
		if err != nil || string(s.Image) != content || s.Text != "" || s.Texts != nil {
			t.Errorf("sample %d: %+v, %v", i, s, err)
		}
	}
	if err := os.Remove(filepath.Join(root, "cat", "x.png")); err != nil {
		t.Fatal(err)
	}
	_, err := d.Sample(0)
	wantError(t, "image gone", err, "x.png")
}

func TestFolderNumbers(t *testing.T) {
	d := open(t, Source{Path: tree(t, map[string]string{"10/a.png": "", "9/a.png": "", "0/a.png": ""})})
	if c := Classes(d); !slices.Equal(c, []string{"0", "9", "10"}) {
		t.Errorf("integers must sort as numbers: %q", c)
	}
	d = open(t, Source{Path: tree(t, map[string]string{"10/a.png": "", "9/a.png": "", "x/a.png": ""})})
	if c := Classes(d); !slices.Equal(c, []string{"10", "9", "x"}) {
		t.Errorf("others must sort as text: %q", c)
	}
}

func TestFolderClasses(t *testing.T) {
	root := tree(t, map[string]string{"cat/a.png": "", "dog/a.png": "", "fox/": ""})
	d := open(t, Source{Path: root, Classes: []string{"fox", "dog", "yak", "cat"}, AllowMissing: true})
	if got := keys(t, d); !slices.Equal(got, []string{"dog/a.png:1:dog", "cat/a.png:3:cat"}) {
		t.Errorf("labels must be those of the given classes: %q", got)
	}
	for name, c := range map[string]struct {
		source Source
		want   []string
	}{
		"empty class":   {Source{Path: root}, []string{"without images", `"fox"`, root}},
		"missing class": {Source{Path: root, Classes: []string{"fox", "dog", "yak", "cat"}}, []string{`"yak"`, "allow_missing_classes"}},
		"extra class":   {Source{Path: root, Classes: []string{"fox", "dog"}}, []string{`"cat"`, "2 expected"}},
		"double class":  {Source{Path: root, Classes: []string{"fox", "fox"}}, []string{"twice"}},
		"loose images":  {Source{Type: ImageFolder, Path: tree(t, map[string]string{"a.png": "", "b.jpg": ""})}, []string{"2 images but no class folders", "CSV"}},
		"nothing":       {Source{Path: t.TempDir()}, []string{"no class folders"}},
		"all empty":     {Source{Path: tree(t, map[string]string{"a/": "", "b/": ""}), AllowMissing: true}, []string{"no samples"}},
		"no folder":     {Source{Path: filepath.Join(root, "none")}, []string{"none", "no such file"}},
		"no path":       {Source{}, []string{"no path"}},
		"type":          {Source{Path: root, Type: "imagenet"}, []string{`"imagenet"`, "image-folder"}},
	} {
		_, err := Open(c.source)
		wantError(t, name, err, c.want...)
	}
}

func TestCombine(t *testing.T) {
	root := tree(t, map[string]string{"a/1.png": "1", "a/2.png": "2", "b/3.png": "3", "b/4.png": "4"})
	d := open(t, Source{Path: root})
	sub, err := Subset(d, []int{3, 0})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := sub.Sample(0); sub.Len() != 2 || err != nil || string(s.Image) != "4" {
		t.Errorf("subset: %d, %+v, %v", sub.Len(), s, err)
	}
	if _, err := Subset(d, []int{4}); err == nil {
		t.Error("a number beyond the end was accepted")
	}
	if Limit(d, 0).Len() != 4 || Limit(d, 9).Len() != 4 || Limit(d, 3).Len() != 3 {
		t.Error("limit")
	}
	all, err := Concat(sub, Limit(d, 1), d)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"b/4.png:1:b", "a/1.png:0:a", "a/1.png:0:a", "a/1.png:0:a", "a/2.png:0:a", "b/3.png:1:b", "b/4.png:1:b"}
	if got := keys(t, all); !slices.Equal(got, want) || !slices.Equal(Classes(all), []string{"a", "b"}) {
		t.Errorf("%q %q", got, Classes(all))
	}
	if s, err := all.Sample(5); err != nil || string(s.Image) != "3" {
		t.Errorf("%+v, %v", s, err)
	}
	other := open(t, Source{Path: tree(t, map[string]string{"z/1.png": ""})})
	_, err = Concat(d, other)
	wantError(t, "other classes", err, "part 1", "other classes")
}

// A limited folder has images of every class, not only of the first ones.
func TestLimitKeepsTheClassesShares(t *testing.T) {
	numbers := make(countTo, 100)
	for i := range numbers {
		numbers[i].Label = i / 25
	}
	counts := map[int]int{}
	limited := Limit(numbers, 20)
	for i := range limited.Len() {
		s, err := limited.Sample(i)
		if err != nil {
			t.Fatal(err)
		}
		counts[s.Label]++
	}
	for label := range 4 {
		if counts[label] != 5 {
			t.Errorf("label %d: %d samples of 5", label, counts[label])
		}
	}
}

type countTo []Sample

func (c countTo) Len() int                     { return len(c) }
func (c countTo) Sample(i int) (Sample, error) { return c[i], nil }

// Images beside the class folders are no samples, which is said with their
// number and the mend, once; other files and hidden ones are nobody's loss.
func TestFolderLooseImages(t *testing.T) {
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	root := tree(t, map[string]string{"dog/a.png": "A", "cat/a.png": "B", "x.PNG": "C", "y.jpg": "D", "notes.txt": "", ".z.png": ""})
	if d := open(t, Source{Path: root}); d.Len() != 2 {
		t.Errorf("%d samples", d.Len())
	}
	for _, want := range []string{root, "problems=2", "beside the class folders", `\"x.PNG\", \"y.jpg\"`, "move each into the folder of its class"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in %s", want, &log)
		}
	}
	if n := strings.Count(log.String(), "left out of the source"); n != 1 {
		t.Errorf("it's said %d times", n)
	}
	log.Reset()
	open(t, Source{Path: tree(t, map[string]string{"dog/a.png": "A", "cat/a.png": "B", "notes.txt": "", ".z.png": ""})})
	if log.Len() > 0 {
		t.Errorf("a warning without cause: %s", &log)
	}
}
