package eval

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/dataset"
	"arf/internal/cliptest"
)

// captioned writes n pictures and a table with several captions of each.
func captioned(t *testing.T, n int) (table string, captions [][]string) {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	b.WriteString("filepath,title\n")
	for i := range n {
		color, shape := cliptest.Colors[i%5], cliptest.Shapes[(i/5+i)%5]
		name := fmt.Sprintf("%02d.png", i)
		if err := os.WriteFile(filepath.Join(dir, name), cliptest.Picture(t, color, shape, uint64(i)), 0o644); err != nil {
			t.Fatal(err)
		}
		own := []string{"a " + color + " " + shape, fmt.Sprintf("the drawing of %s %s no. %s", shape, color, strings.Repeat("a ", i%3)), "photo of " + color}[:1+i%3]
		for _, c := range own {
			fmt.Fprintf(&b, "%s,%s\n", name, c)
		}
		captions = append(captions, own)
	}
	table = filepath.Join(dir, "captions.csv")
	if err := os.WriteFile(table, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return table, captions
}

// Every rank worked out by plain loops; ties count against.
func TestRetrieveEqualsPlainLoops(t *testing.T) {
	const seed = 5
	table, captions := captioned(t, 17)
	d := openData(t, table)
	r, err := Retrieve(t.Context(), cliptest.Model(t, seed), Captions{Name: "c", Data: d, ByKey: true}, Options{BatchSize: 4})
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	var imageOf []int
	var pictures [][]byte
	for i, own := range captions {
		for _, c := range own {
			texts, imageOf = append(texts, c), append(imageOf, i)
		}
		image, err := os.ReadFile(filepath.Join(filepath.Dir(table), fmt.Sprintf("%02d.png", i)))
		if err != nil {
			t.Fatal(err)
		}
		pictures = append(pictures, image)
	}
	s := scores(t, pictures, texts, seed)
	// Equal captions have equal features, up to rounding.
	ahead := func(other, own float64) bool { return other > own-1e-6 }
	for k, n := range RecallAt {
		var image, text float64
		for j, i := range imageOf {
			rank := 0
			for other := range s {
				if other != i && ahead(s[other][j], s[i][j]) {
					rank++
				}
			}
			if rank < n {
				image++
			}
		}
		for i := range s {
			best := -2.0
			for j, own := range imageOf {
				if own == i {
					best = max(best, s[i][j])
				}
			}
			rank := 0
			for j, own := range imageOf {
				if own != i && ahead(s[i][j], best) {
					rank++
				}
			}
			if rank < n {
				text++
			}
		}
		nearly(t, fmt.Sprintf("image retrieval @%d", n), r.Metrics.Image[k], image/float64(len(texts)))
		nearly(t, fmt.Sprintf("text retrieval @%d", n), r.Metrics.Text[k], text/float64(len(s)))
	}
	if r.Images != 17 || r.Texts != len(texts) || r.Metrics.Text[2] == 0 || r.Metrics.Image[0] == 1 {
		t.Errorf("%+v", r)
	}
	path := filepath.Join(t.TempDir(), "c.json")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	back, err := LoadRetrievalResult(path)
	if err != nil || *back != *r {
		t.Errorf("%+v, %v; want %+v", back, err, r)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var keys struct {
		Task    string
		Metrics map[string]float64
	}
	if err := json.Unmarshal(data, &keys); err != nil || keys.Task != "zeroshot_retrieval" || len(keys.Metrics) != 6 {
		t.Errorf("%s, %v", data, err)
	}
}

func TestRetrieveLeavesOutWhatHasNoCaption(t *testing.T) {
	m := cliptest.Model(t, 1)
	table, _ := captioned(t, 6)
	both, err := dataset.Concat(shapes(t, 2, 0, "disc"), openData(t, table))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(table), "03.png"), []byte("no picture"), 0o644); err != nil {
		t.Fatal(err)
	}
	quiet := Options{Log: slog.New(slog.DiscardHandler)}
	r, err := Retrieve(t.Context(), m, Captions{Name: "c", Data: both, ByKey: true}, quiet)
	if err != nil {
		t.Fatal(err)
	}
	if r.Images != 5 || r.LeftOut != 2 || r.Broken != 1 || r.Texts != 1+2+3+2+3 {
		t.Errorf("%+v", r)
	}
	if _, err := Retrieve(t.Context(), m, Captions{Name: "c", Data: shapes(t, 2, 0, "disc")}, Options{}); err == nil || !strings.Contains(err.Error(), "caption") {
		t.Errorf("no captions: %v", err)
	}
	lines := Captions{Name: "c", Data: openData(t, table), Split: func(s string) []string { return slices.Repeat([]string{s}, 2) }}
	if r, err = Retrieve(t.Context(), m, lines, quiet); err != nil || r.Texts <= r.Images {
		t.Errorf("split captions: %+v, %v", r, err)
	}
}
