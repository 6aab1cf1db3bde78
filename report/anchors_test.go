package report

import (
	"bytes"
	"encoding/base64"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

func TestGalleryPicks(t *testing.T) {
	byClass := map[string][]string{"a": {"a1", "a2", "a3"}, "b": {"b1"}, "c": {"c1", "c2"}}
	for _, test := range []struct {
		limit int
		want  string
	}{{2, "a1 b1"}, {3, "a1 b1 c1"}, {5, "a1 b1 c1 a2 c2"}, {100, "a1 b1 c1 a2 c2 a3"}} {
		var keys []string
		for _, c := range pick(byClass, test.limit) {
			keys = append(keys, c.Key)
		}
		if got := strings.Join(keys, " "); got != test.want {
			t.Errorf("%d images: %s, want %s", test.limit, got, test.want)
		}
	}
}

func TestGallery(t *testing.T) {
	f := smallFixture(1)
	f.images, f.train, f.wise = 202, false, false
	r := load(t, f.write(t))
	cards, stats, err := r.gallery(60)
	if err != nil {
		t.Fatal(err)
	}
	if len(cards) != 60 || stats.Images != 202 || stats.Captions != 606 || stats.Pairs != 2020 || stats.DistinctPairs > 2020 || stats.MostUsed < 2 {
		t.Errorf("%d cards, %+v", len(cards), stats)
	}
	classes := map[string]bool{}
	for _, c := range cards {
		classes[c.Class] = true
		if len(c.Captions) != 3 || len(c.Pairs) != 10 {
			t.Fatalf("%s: %d captions, %d pairs", c.Key, len(c.Captions), len(c.Pairs))
		}
		for i, p := range c.Pairs {
			if p.Rank != int64(i+1) || p.QueryKey != c.Key {
				t.Fatalf("%s: pair %d is %+v", c.Key, i, p)
			}
		}
	}
	if len(classes) != 60 {
		t.Errorf("60 images show %d classes", len(classes))
	}
	if !strings.Contains(r.prompt()("cat"), "cat") {
		t.Errorf("prompt %q", r.prompt()("cat"))
	}
}

// A run whose only pairs were found by class prompt shows those.
func TestPairsByClassPrompt(t *testing.T) {
	dir := t.TempDir()
	evaluationFile(t, dir, "zeroshot", 0, "id", "id", 10, 0.5)
	writeText(t, filepath.Join(dir, "anchors/captions.jsonl"), "")
	path := filepath.Join(dir, "anchors/pairs-class-text.parquet")
	if err := parquet.WriteFile(path, []pairRecord{{QueryKey: "a", PairKey: "b", Rank: 1, Text: "a cat"}}); err != nil {
		t.Fatal(err)
	}
	r, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	if err := r.eachPair(func(p pairRecord) { texts = append(texts, p.Text) }); err != nil || len(texts) != 1 || texts[0] != "a cat" {
		t.Errorf("pairs %q, %v", texts, err)
	}
}

func TestPairsColumnMissing(t *testing.T) {
	dir := t.TempDir()
	evaluationFile(t, dir, "zeroshot", 0, "id", "id", 10, 0.5)
	type row struct {
		QueryKey string `parquet:"query_key"`
		Text     string `parquet:"text"`
	}
	writeText(t, filepath.Join(dir, "anchors/captions.jsonl"), "")
	path := filepath.Join(dir, "anchors/pairs.parquet")
	if err := parquet.WriteFile(path, []row{{"a", "b"}}); err != nil {
		t.Fatal(err)
	}
	_, err := Load(dir)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "query_class, rank, pair_key, score") {
		t.Errorf("error %v", err)
	}
}

// failing gives no picture, or bytes that are none.
type failing struct{}

func (failing) FinetuneImage(string) ([]byte, error) { return nil, errors.New("disk is gone") }
func (failing) PoolImage(string) ([]byte, error)     { return []byte("<svg onload=alert(1)>"), nil }

func TestGalleryWithoutPictures(t *testing.T) {
	f := smallFixture(1)
	f.train, f.wise, f.images = false, false, 4
	r := load(t, f.write(t))
	r.Images = failing{}
	v, err := r.galleryView(60, 60)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Notes) != 1 || !strings.Contains(v.Notes[0], "44 pictures could not be read") || !strings.Contains(v.Notes[0], "disk is gone") {
		t.Errorf("notes %q", v.Notes)
	}
	if v, err := r.galleryView(-1, -1); v != nil || err != nil {
		t.Errorf("gallery %v, error %v, want none", v, err)
	}
}

func TestDataURI(t *testing.T) {
	noise := func(w, h int) image.Image {
		m, rng := image.NewRGBA(image.Rect(0, 0, w, h)), random("noise")
		for i := range m.Pix {
			m.Pix[i] = uint8(rng.IntN(256))
		}
		return m
	}
	encoded := func(m image.Image, asJPEG bool) []byte {
		var b bytes.Buffer
		err := png.Encode(&b, m)
		if asJPEG {
			b.Reset()
			err = jpeg.Encode(&b, m, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	transparent := image.NewNRGBA(image.Rect(0, 0, 400, 400))
	for name, test := range map[string]struct {
		data   []byte
		w, h   int
		format string
		same   bool
	}{
		"small png":       {encoded(noise(32, 32), false), 32, 32, "png", true},
		"large png":       {encoded(noise(384, 192), false), 192, 96, "png", false},
		"large jpeg":      {encoded(noise(100, 1000), true), 19, 192, "jpeg", false},
		"very flat":       {encoded(noise(2000, 2), false), 192, 1, "png", false},
		"transparent png": {encoded(transparent, false), 192, 192, "png", false},
	} {
		got, err := dataURI(test.data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		text, ok := strings.CutPrefix(got, "data:image/"+test.format+";base64,")
		data, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil {
			t.Errorf("%s: %.40s, %v", name, got, err)
			continue
		}
		m, _, err := image.Decode(bytes.NewReader(data))
		if err != nil || m.Bounds().Dx() != test.w || m.Bounds().Dy() != test.h || bytes.Equal(data, test.data) != test.same {
			t.Errorf("%s: %v, error %v", name, m.Bounds(), err)
			continue
		}
		if name == "transparent png" {
			if c := color.NRGBAModel.Convert(m.At(5, 5)); c != (color.NRGBA{255, 255, 255, 255}) {
				t.Errorf("transparent became %v, want white", c)
			}
		}
	}
	huge := encoded(noise(4, 4), false)
	copy(huge[16:24], []byte{0, 1, 0, 0, 0, 1, 0, 0}) // a header of 65,536 × 65,536 pixels, checksum wrong
	for name, data := range map[string][]byte{"text": []byte("no picture"), "empty": nil, "cut off": encoded(noise(300, 300), false)[:500], "huge": huge} {
		if uri, err := dataURI(data); err == nil {
			t.Errorf("%s: %.60s, want an error", name, uri)
		}
	}
}
