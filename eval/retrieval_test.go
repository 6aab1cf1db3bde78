package eval

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
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

// Every rank worked out by plain loops, over many random orders of what ties.
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
	rng := rand.New(rand.NewPCG(1, 2))
	// first tells whether a right answer is among the first n, in one order.
	first := func(scores []float64, right func(int) bool, n int) float64 {
		order := rng.Perm(len(scores))
		// Equal captions have equal features, up to rounding.
		slices.SortStableFunc(order, func(a, b int) int {
			if math.Abs(scores[a]-scores[b]) < 1e-6 {
				return 0
			}
			return cmp.Compare(scores[b], scores[a])
		})
		if slices.ContainsFunc(order[:n], right) {
			return 1
		}
		return 0
	}
	const orders = 1000
	for k, n := range RecallAt {
		var image, text float64
		for range orders {
			for j, i := range imageOf {
				column := make([]float64, len(s))
				for other := range s {
					column[other] = s[other][j]
				}
				image += first(column, func(other int) bool { return other == i }, n)
			}
			for i := range s {
				text += first(s[i], func(j int) bool { return imageOf[j] == i }, n)
			}
		}
		near := func(what string, got, want float64) {
			t.Helper()
			if math.Abs(got-want) > 0.02 {
				t.Errorf("%s @%d is %v, want %v", what, n, got, want)
			}
		}
		near("image retrieval", r.Metrics.Image[k], image/orders/float64(len(texts)))
		near("text retrieval", r.Metrics.Text[k], text/orders/float64(len(s)))
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

// Among n wrong and p right answers of equal score, k places.
func TestTies(t *testing.T) {
	for _, c := range []struct {
		r    rank
		want [3]float64
	}{
		{rank{right: 1}, [3]float64{1, 1, 1}},
		{rank{right: 1, wrong: 1}, [3]float64{0.5, 1, 1}},
		{rank{right: 1, wrong: 9}, [3]float64{0.1, 0.5, 1}},
		{rank{right: 2, wrong: 8, before: 1}, [3]float64{0, 1 - 8.0/10*7/9*6/8*5/7, 1 - 0.0}},
		{rank{right: 1, before: 4}, [3]float64{0, 1, 1}},
		{rank{right: 1, before: 5}, [3]float64{0, 0, 1}},
		{rank{right: 1, before: 10}, [3]float64{}},
		{rank{right: 3, wrong: 100}, [3]float64{3.0 / 103, 1 - 100.0*99*98*97*96/(103*102*101*100*99), 1 - 93.0*92*91/(103*102*101)}},
	} {
		var got [3]float64
		c.r.count(&got)
		for k := range got {
			nearly(t, fmt.Sprintf("%+v @%d", c.r, RecallAt[k]), got[k], c.want[k])
		}
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
}
