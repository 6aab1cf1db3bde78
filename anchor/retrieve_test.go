package anchor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"arf/clip"
	"arf/dataset"
	"arf/index"
	"arf/internal/cliptest"
	"arf/torch"
)

// world is a small finetune set, a pool with planted troubles and a guarded set.
type world struct {
	model                 *clip.Model
	pool, finetune, guard *index.Store
	captions              map[string][]string
	prompts               map[string][]float32 // their mean features
}

// Rows of the pool that are planted after its 60 ordinary ones.
const (
	plantedLeak     = 60 + iota // a guarded picture
	plantedOwn                  // a finetune picture
	plantedNear                 // a guarded picture with a faint change
	plantedCopy                 // row 7 again, other text
	plantedTextless             // no text
)

// newWorld gives the one world of all tests; they don't change it.
func newWorld(t testing.TB) *world {
	t.Helper()
	if shared == nil {
		shared = makeWorld(t, filepath.Join(testFolder, "world"))
	}
	return shared
}

var shared *world

func makeWorld(t testing.TB, dir string) *world {
	t.Helper()
	w := &world{model: cliptest.Model(t, 1), captions: map[string][]string{}, prompts: map[string][]float32{}}
	cliptest.Folder(t, filepath.Join(dir, "finetune"), []string{"disc", "bar", "ring"}, 6, 1000)
	cliptest.Folder(t, filepath.Join(dir, "test"), []string{"disc", "bar", "ring"}, 4, 2000)
	table := cliptest.Pairs(t, filepath.Join(dir, "pool"), 60, 0)
	copyFile := func(from, to string, change func([]byte) []byte) {
		data, err := os.ReadFile(filepath.Join(dir, from))
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			data = change(data)
		}
		if err := os.WriteFile(filepath.Join(dir, "pool", to), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	copyFile("test/bar/002.png", "leak.png", nil)
	copyFile("finetune/ring/001.png", "own.png", nil)
	copyFile("test/disc/001.png", "near.png", func(png []byte) []byte { return faint(t, png) })
	copyFile("pool/0007.png", "copy.png", nil)
	copyFile("pool/0008.png", "textless.png", func(png []byte) []byte { return faint(t, png) })
	f, err := os.OpenFile(table, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("leak.png,a bar\nown.png,a ring\nnear.png,a disc\ncopy.png,drawing of the cross\ntextless.png,\n"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	embed := func(name, path string, texts bool) *index.Store {
		s, err := index.Embed(t.Context(), filepath.Join(dir, "features", name), openData(t, path), Encoder{Model: w.model}, index.EmbedOptions{Texts: texts, ShardRows: 20})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	w.pool = embed("pool", table, true)
	w.finetune = embed("finetune", filepath.Join(dir, "finetune"), false)
	w.guard = embed("test", filepath.Join(dir, "test"), false)
	rows, err := w.finetune.Rows()
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range rows {
		if i != 3 { // one without captions
			w.captions[r.Key] = []string{"a red " + r.Class, "drawing of the " + r.Class}
		}
	}
	return w
}

// faint changes a picture by a grey level here and there, and encodes it anew.
func faint(t testing.TB, png []byte) []byte {
	t.Helper()
	return cliptest.Change(t, png, func(i int, v uint8) uint8 {
		if i%7 == 0 && v > 100 {
			return v - 2
		}
		return v
	})
}

func (w *world) input() PairInput {
	return PairInput{
		Pool: w.pool, Finetune: w.finetune, Guards: []Guard{{"test", w.guard}}, Model: w.model,
		Templates: []string{"a photo of a {}.", "{}"}, Captions: w.captions,
	}
}

func open() PairOptions { return PairOptions{K: 5, MinSimilarity: -1, MinCLIPScore: -1} }

func (w *world) retrieve(t testing.TB, o PairOptions) ([]Pair, *PairSummary) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pairs.parquet")
	s, err := Retrieve(t.Context(), path, w.input(), o)
	if err != nil {
		t.Fatal(err)
	}
	pairs, err := ReadPairs(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(pairs) != s.Pairs {
		t.Fatalf("%d pairs, the summary says %d", len(pairs), s.Pairs)
	}
	return pairs, s
}

func byQuery(pairs []Pair) map[string][]Pair {
	out := map[string][]Pair{}
	for _, p := range pairs {
		out[p.QueryKey] = append(out[p.QueryKey], p)
	}
	return out
}

func load(t testing.TB, v index.Vectors) index.Dense {
	t.Helper()
	d, err := index.Load(v)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// scores works the queries' scores out from the definition, [query][row].
func (w *world) scores(t testing.TB, q Query) [][]float64 {
	t.Helper()
	images, texts, own := load(t, w.pool.Images()), load(t, w.pool.Texts()), load(t, w.finetune.Images())
	rows, err := w.finetune.Rows()
	if err != nil {
		t.Fatal(err)
	}
	mean := func(prompts ...string) []float32 {
		name := strings.Join(prompts, "\n")
		if f, ok := w.prompts[name]; ok {
			return f
		}
		f, err := w.model.ClassFeatures(t.Context(), [][]string{prompts}, []string{"{}"}, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.prompts[name] = f
		return f
	}
	out := make([][]float64, len(rows))
	for i, r := range rows {
		class := mean("a photo of a "+r.Class+".", r.Class)
		var caption []float32
		weight := 0.0
		if len(w.captions[r.Key]) > 0 {
			caption, weight = mean(w.captions[r.Key]...), q.CaptionText
		}
		total := q.Image + q.ImageText + q.ClassText + weight
		out[i] = make([]float64, images.Len())
		for j := range out[i] {
			s := q.Image*dot(own.Row(i), images.Row(j)) + q.ImageText*dot(own.Row(i), texts.Row(j)) + q.ClassText*dot(class, texts.Row(j))
			if weight > 0 {
				s += weight * dot(caption, texts.Row(j))
			}
			out[i][j] = s / total
		}
	}
	return out
}

func TestPairsEqualBruteForce(t *testing.T) {
	w := newWorld(t)
	rows, _ := w.finetune.Rows()
	images, texts := load(t, w.pool.Images()), load(t, w.pool.Texts())
	dropped := func(j int) bool {
		// The copy and row 7 have one image; the better text stays.
		if j == plantedCopy || j == 7 {
			return (dot(images.Row(7), texts.Row(7)) < dot(images.Row(7), texts.Row(plantedCopy))) == (j == 7)
		}
		return j == plantedLeak || j == plantedOwn || j == plantedTextless
	}
	for _, c := range []struct {
		name string
		o    PairOptions
	}{
		{"image", PairOptions{}},
		{"image-text", PairOptions{Query: Queries["image-text"]}},
		{"class-text", PairOptions{Query: Queries["class-text"]}},
		{"mix", PairOptions{Query: Queries["mix"]}},
		{"weights", PairOptions{Query: Query{Image: 3, CaptionText: 1.5, ClassText: 0.5}}},
		{"csls", PairOptions{CSLS: true}},
		{"csls of a mix", PairOptions{CSLS: true, Query: Queries["mix"]}},
		{"clip score", PairOptions{CLIPScoreWeight: 0.7}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.K, c.o.MinSimilarity, c.o.MinCLIPScore = 5, -1, -1
			pairs, s := w.retrieve(t, c.o)
			q := c.o.Query
			if q == (Query{}) {
				q.Image = 1
			}
			scores := w.scores(t, q)
			ranking := func(i, j int) float64 {
				r := scores[i][j] + c.o.CLIPScoreWeight*dot(images.Row(j), texts.Row(j))
				if c.o.CSLS {
					var near []float64
					for k := range scores {
						near = append(near, scores[k][j])
					}
					slices.SortFunc(near, func(a, b float64) int { return -cmpFloat(a, b) })
					mean := 0.0
					for _, v := range near[:10] {
						mean += v / 10
					}
					r += scores[i][j] - mean
				}
				return r
			}
			found := byQuery(pairs)
			for i, row := range rows {
				var order []int
				for j := range scores[i] {
					if !dropped(j) {
						order = append(order, j)
					}
				}
				slices.SortStableFunc(order, func(a, b int) int { return -cmpFloat(ranking(i, a), ranking(i, b)) })
				got := found[row.Key]
				if len(got) != 5 {
					t.Fatalf("%s has %d pairs", row.Key, len(got))
				}
				for rank, p := range got {
					if p.Rank != int64(rank)+1 || p.QueryClass != row.Class {
						t.Fatalf("%+v", p)
					}
					j := int(p.Row)
					if dropped(j) {
						t.Errorf("%s retrieved the dropped row %d", row.Key, j)
					}
					// Equal but for float32 rounding.
					if want := ranking(i, order[rank]); math.Abs(ranking(i, j)-want) > 1e-5 {
						t.Errorf("%s, rank %d: row %d with %v, want row %d with %v", row.Key, rank, j, ranking(i, j), order[rank], want)
					}
					if math.Abs(p.Score-scores[i][j]) > 1e-5 || math.Abs(p.CLIPScore-dot(images.Row(j), texts.Row(j))) > 1e-5 {
						t.Errorf("%s, rank %d: scores %v and %v, want %v", row.Key, rank, p.Score, p.CLIPScore, scores[i][j])
					}
				}
			}
			if s.Dropped[LeakPixels] != 2 || s.Dropped[NoText] != 1 || s.Dropped[DuplicatePixels] != 1 || s.Eligible != 61 || s.Short != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func cmpFloat(a, b float64) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

func TestCaptionQueryWithoutCaptions(t *testing.T) {
	w := newWorld(t)
	o := open()
	o.Query = Queries["caption-text"]
	pairs, s := w.retrieve(t, o)
	rows, _ := w.finetune.Rows()
	if found := byQuery(pairs); len(found) != len(rows)-1 || len(found[rows[3].Key]) != 0 || s.Silent != 1 || s.Without != 1 {
		t.Errorf("%d queries found pairs; %+v", len(found), s)
	}
	scores := w.scores(t, o.Query)
	for i, row := range rows {
		for _, p := range byQuery(pairs)[row.Key] {
			if math.Abs(p.Score-scores[i][p.Row]) > 1e-5 {
				t.Errorf("%s: %v, want %v", row.Key, p.Score, scores[i][p.Row])
			}
		}
	}
}

func TestLeakGuard(t *testing.T) {
	w := newWorld(t)
	_, s := w.retrieve(t, open())
	if s.Leaks["test"][LeakPixels] != 1 || s.Leaks["finetune"][LeakPixels] != 1 || len(s.Examples) != 2 {
		t.Errorf("by pixels: %+v", s.Leaks)
	}
	has := func(key, guard, guardKey, reason string) {
		t.Helper()
		for _, e := range s.Examples {
			if e.PairKey == key {
				if e.Guard != guard || e.GuardKey != guardKey || e.Reason != reason {
					t.Errorf("%s leaks as %+v", key, e)
				}
				return
			}
		}
		t.Errorf("%s isn't among the examples %+v", key, s.Examples)
	}
	has("leak.png", "test", "bar/002.png", LeakPixels)
	has("own.png", "finetune", "ring/001.png", LeakPixels)

	o := open()
	o.Guard.Print = 0.9995
	pairs, s := w.retrieve(t, o)
	has("near.png", "test", "disc/001.png", LeakPrint)
	if slices.ContainsFunc(pairs, func(p Pair) bool { return p.Row == plantedNear }) {
		t.Error("the faintly changed guarded picture was retrieved")
	}

	o = open()
	o.Guard.Cosine = 0.9999
	pairs, s = w.retrieve(t, o)
	has("near.png", "test", "disc/001.png", LeakCosine)
	guarded, own := load(t, w.guard.Images()), load(t, w.finetune.Images())
	images := load(t, w.pool.Images())
	for _, p := range pairs {
		for _, set := range []index.Dense{guarded, own} {
			for i := range set.Len() {
				if c := dot(images.Row(int(p.Row)), set.Row(i)); c >= 0.9999+1e-5 {
					t.Errorf("%s was retrieved, with a cosine of %v to a guarded picture", p.PairKey, c)
				}
			}
		}
	}
}

func TestNearDuplicatesGoAndAreReplaced(t *testing.T) {
	w := newWorld(t)
	images := load(t, w.pool.Images())
	// A threshold that many pictures exceed.
	var cosines []float64
	for i := range images.Len() {
		for j := range i {
			cosines = append(cosines, dot(images.Row(i), images.Row(j)))
		}
	}
	slices.Sort(cosines)
	o := open()
	o.DuplicateCosine = min(cosines[len(cosines)*3/4], 1)
	pairs, s := w.retrieve(t, o)
	if s.Dropped[DuplicateCosine] == 0 {
		t.Error("no near duplicates")
	}
	row := map[string]int{}
	all, err := w.pool.Rows()
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range all {
		row[r.Key] = i
	}
	examples := map[string]int{}
	for _, d := range s.DroppedExamples {
		examples[d.Reason]++
		if d.Reason != DuplicateCosine && d.Reason != DuplicatePixels {
			continue
		}
		c := dot(images.Row(row[d.PairKey]), images.Row(row[d.Kept]))
		if d.Kept == "" || d.Kept == d.PairKey || math.Abs(c-d.Similarity) > 1e-2 || c < o.DuplicateCosine-1e-5 {
			t.Errorf("%+v, whose cosine is %v", d, c)
		}
	}
	if examples[DuplicateCosine] != min(s.Dropped[DuplicateCosine], droppedShown) || examples[DuplicatePixels] != 1 || examples[NoText] != 1 || examples[LeakPixels] != 0 {
		t.Errorf("examples %v", examples)
	}
	rows := map[int]bool{}
	for _, p := range pairs {
		rows[int(p.Row)] = true
	}
	for a := range rows {
		for b := range rows {
			if c := dot(images.Row(a), images.Row(b)); a < b && c >= o.DuplicateCosine+1e-5 {
				t.Errorf("rows %d and %d have the cosine %v", a, b, c)
			}
		}
	}
	for key, list := range byQuery(pairs) {
		// The search goes on until the whole pool has been seen.
		if len(list) != min(5, s.Eligible) {
			t.Errorf("%s has %d pairs of %d eligible ones", key, len(list), s.Eligible)
		}
	}
}

func TestClassQuota(t *testing.T) {
	w := newWorld(t)
	free, _ := w.retrieve(t, open())
	for _, quota := range []int{1, 3, 7, 100} {
		o := open()
		o.ClassQuota = quota
		pairs, _ := w.retrieve(t, o)
		classes := map[string]map[int64]bool{}
		for _, p := range pairs {
			if classes[p.QueryClass] == nil {
				classes[p.QueryClass] = map[int64]bool{}
			}
			classes[p.QueryClass][p.Row] = true
		}
		for class, rows := range classes {
			if len(rows) > quota {
				t.Errorf("quota %d: %s keeps %d pairs", quota, class, len(rows))
			}
		}
		if found := byQuery(pairs); len(found) != 18 {
			t.Errorf("quota %d: %d images have pairs", quota, len(found))
		}
		scores := w.scores(t, Query{Image: 1})
		rows, _ := w.finetune.Rows()
		for i, row := range rows {
			list := byQuery(pairs)[row.Key]
			if len(list) != min(5, len(classes[row.Class])) {
				t.Errorf("quota %d: %s has %d pairs of its class's %d", quota, row.Key, len(list), len(classes[row.Class]))
			}
			// The best of what the class keeps.
			worst := list[len(list)-1].Score
			for r := range classes[row.Class] {
				inList := slices.ContainsFunc(list, func(p Pair) bool { return p.Row == r })
				if !inList && scores[i][r] > worst+1e-5 {
					t.Errorf("quota %d: %s lacks row %d of its class, which is better than its last", quota, row.Key, r)
				}
			}
		}
		if quota == 100 && !slices.EqualFunc(pairs, free, func(a, b Pair) bool { return a.QueryKey == b.QueryKey && a.Row == b.Row }) {
			t.Error("a quota that isn't reached changes the pairs")
		}
	}
}

func TestLeastSimilarities(t *testing.T) {
	w := newWorld(t)
	all, s := w.retrieve(t, open())
	scores := make([]float64, 0, len(all))
	for _, p := range all {
		scores = append(scores, p.Score)
	}
	slices.Sort(scores)
	o := open()
	o.MinSimilarity = scores[len(scores)/2]
	some, cut := w.retrieve(t, o)
	if len(some) == 0 || len(some) >= len(all) || cut.Short == 0 || s.Short != 0 {
		t.Errorf("%d pairs of %d", len(some), len(all))
	}
	for _, p := range some {
		if p.Score < o.MinSimilarity {
			t.Errorf("score %v", p.Score)
		}
	}
	o = open()
	o.MinCLIPScore = s.CLIPScore
	some, cut = w.retrieve(t, o)
	if cut.Dropped[LowCLIPScore] == 0 {
		t.Errorf("%+v", cut.Dropped)
	}
	for _, p := range some {
		if p.CLIPScore < o.MinCLIPScore-1e-6 {
			t.Errorf("CLIP score %v", p.CLIPScore)
		}
	}
	o.MinCLIPScore = 1
	if _, err := Retrieve(t.Context(), filepath.Join(t.TempDir(), "p.parquet"), w.input(), o); err == nil || !strings.Contains(err.Error(), "low_clip_score") {
		t.Errorf("nothing left: %v", err)
	}
}

func TestRetrieveAgain(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "anchors", "pairs.parquet")
	read := func(p string) string {
		data, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	calls := 0
	o := open()
	last := 0
	o.Progress = func(done, total int) {
		calls++
		if done < last || done > total {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last = done
	}
	first, err := Retrieve(t.Context(), path, w.input(), o)
	if err != nil {
		t.Fatal(err)
	}
	pairs, summary := read(path), read(filepath.Join(dir, "anchors", "pairs.json"))
	before := calls
	second, err := Retrieve(t.Context(), path, w.input(), o)
	if err != nil || calls != before || fmt.Sprint(second.NamesClass, second.Hubness, second.Pairs) != fmt.Sprint(first.NamesClass, first.Hubness, first.Pairs) {
		t.Errorf("done again: %d calls, %v", calls-before, err)
	}
	// Deterministic, byte by byte.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	last = 0
	if _, err := Retrieve(t.Context(), path, w.input(), o); err != nil || read(path) != pairs || read(filepath.Join(dir, "anchors", "pairs.json")) != summary {
		t.Errorf("made anew it differs (%v)", err)
	}
	o.K, last = 3, 0
	if s, err := Retrieve(t.Context(), path, w.input(), o); err != nil || s.Pairs != 18*3 {
		t.Errorf("another k: %+v, %v", s, err)
	}
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPairs(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a damaged file: %v", err)
	}
	last = 0
	if _, err := Retrieve(t.Context(), path, w.input(), o); err != nil {
		t.Error(err)
	}
	if pairs, err := ReadPairs(path); err != nil || len(pairs) != 18*3 {
		t.Errorf("a damaged file isn't made anew: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Retrieve(ctx, filepath.Join(dir, "other.parquet"), w.input(), o); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestFeaturesOfAnotherPrecisionAreOfTheModel(t *testing.T) {
	w := newWorld(t)
	in := w.input()
	in.Pool.Manifest.Model += bfloat16
	if _, err := Retrieve(t.Context(), filepath.Join(t.TempDir(), "p.parquet"), in, open()); err != nil {
		t.Error(err)
	}
}

func TestRetrieveRefuses(t *testing.T) {
	w := newWorld(t)
	other, err := index.Embed(t.Context(), t.TempDir(), openData(t, folder(t, []string{"disc"}, 2, 0)), Encoder{Model: cliptest.Model(t, 9)}, index.EmbedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		change func(*PairInput, *PairOptions)
		want   string
	}{
		{"no pool", func(in *PairInput, o *PairOptions) { in.Pool = nil }, "needed"},
		{"pool without texts", func(in *PairInput, o *PairOptions) { in.Pool = w.finetune }, "embed it with texts"},
		{"another model", func(in *PairInput, o *PairOptions) { in.Finetune = other }, "different models"},
		{"guard of another model", func(in *PairInput, o *PairOptions) { in.Guards = []Guard{{"x", other}} }, "different models"},
		{"no guard", func(in *PairInput, o *PairOptions) { in.Guards = []Guard{{Name: "x"}} }, "guard x"},
		{"no templates", func(in *PairInput, o *PairOptions) { in.Templates, o.Query = nil, Queries["class-text"] }, "templates"},
		{"no captions", func(in *PairInput, o *PairOptions) { in.Captions, o.Query = nil, Queries["caption-text"] }, "arf caption"},
		{"no model", func(in *PairInput, o *PairOptions) { in.Model, o.Query = nil, Queries["mix"] }, "model"},
		{"k", func(in *PairInput, o *PairOptions) { o.K = -1 }, "negative"},
		{"similarity", func(in *PairInput, o *PairOptions) { o.MinSimilarity = 2 }, "min_similarity"},
		{"NaN", func(in *PairInput, o *PairOptions) { o.Guard.Cosine = math.NaN() }, "guard cosine"},
		{"weight", func(in *PairInput, o *PairOptions) { o.Query = Query{Image: -1, ImageText: 2} }, "weight"},
	} {
		t.Run(c.name, func(t *testing.T) {
			in, o := w.input(), open()
			c.change(&in, &o)
			if _, err := Retrieve(t.Context(), filepath.Join(t.TempDir(), "p.parquet"), in, o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	if _, err := ParseQuery("image-image"); err == nil || !strings.Contains(err.Error(), "caption-text") {
		t.Errorf("unknown query: %v", err)
	}
	if q, err := ParseQuery(""); err != nil || q != (Query{Image: 1}) {
		t.Errorf("default query: %v, %v", q, err)
	}
}

func TestQueryInWords(t *testing.T) {
	for name, q := range Queries {
		if got := q.String(); got != name && name != "mix" {
			t.Errorf("%s is called %s", name, got)
		}
	}
	for want, q := range map[string]Query{
		"image":                             {},
		"class-text":                        {ClassText: 0.5},
		"mix of image 1 and class-text 0.5": {Image: 1, ClassText: 0.5},
		"mix of image 1, image-text 1 and class-text 1": Queries["mix"],
	} {
		if got := q.String(); got != want {
			t.Errorf("%+v is called %q, want %q", q, got, want)
		}
	}
}

func TestSummariesByHand(t *testing.T) {
	// Occurrences 0, 0, 0, 4: mean 1, σ² = 3, third moment (−1−1−1+27)/4 = 6.
	if got, want := skewness([]int{0, 0, 0, 4}), 6/math.Pow(3, 1.5); math.Abs(got-want) > 1e-12 {
		t.Errorf("skewness %v, want %v", got, want)
	}
	if got := skewness([]int{2, 2, 2}); got != 0 {
		t.Errorf("skewness of equal counts %v", got)
	}
	got := namesClass([]Pair{
		{QueryClass: "fire truck", Rank: 1, Text: "red fire trucks"},
		{QueryClass: "fire truck", Rank: 2, Text: "engine", Texts: []string{"engine", "Fire-Truck"}},
		{QueryClass: "cat", Rank: 1, Text: "catalogue"},
		{QueryClass: "cat", Rank: 7, Text: "dog"},
	}, 10)
	if got["@1"] != 0.5 || got["@5"] != 2.0/3 || got["@k"] != 0.5 {
		t.Errorf("%v", got)
	}
	var p index.Row
	p.Print = make([]byte, 256)
	dst := make([]float32, 256)
	unitPrint(dst, p.Print)
	if slices.Max(dst) != 0 {
		t.Error("a blank picture has a print")
	}
}

func TestPairsRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pairs.parquet")
	want := []Pair{
		{QueryKey: "a", QueryClass: "x", Rank: 1, PairKey: "p", Row: 3, Text: "t", Texts: []string{"t", "u"}, Score: 0.5, CLIPScore: -0.25, Set: "s", License: "MIT", URL: "https://example.org"},
		{QueryKey: "b", Rank: 1, PairKey: "q", Row: 4, Text: "v", Texts: []string{}},
	}
	if err := WritePairs(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := ReadPairs(path)
	if err != nil || len(got) != 2 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v", got, err)
	}
	// A row of the pool is a sample of its dataset even after broken ones.
	dir := t.TempDir()
	table := cliptest.Pairs(t, dir, 4, 0)
	if err := os.WriteFile(filepath.Join(dir, "0001.png"), []byte("no picture"), 0o644); err != nil {
		t.Fatal(err)
	}
	model := cliptest.Model(t, 1)
	pool, err := index.Embed(t.Context(), filepath.Join(t.TempDir(), "pool"), openData(t, table), Encoder{Model: model}, index.EmbedOptions{Texts: true})
	if err != nil {
		t.Fatal(err)
	}
	finetune, err := index.Embed(t.Context(), filepath.Join(t.TempDir(), "finetune"), openData(t, folder(t, []string{"bar"}, 1, 77)), Encoder{Model: model}, index.EmbedOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Retrieve(t.Context(), path, PairInput{Pool: pool, Finetune: finetune}, open()); err != nil {
		t.Fatal(err)
	}
	if got, err = ReadPairs(path); err != nil || len(got) != 3 {
		t.Fatalf("%d pairs, %v", len(got), err)
	}
	data := openData(t, table)
	for _, p := range got {
		s, err := dataset.Describe(data, int(p.Row))
		if err != nil || s.Key != p.PairKey || s.Text != p.Text {
			t.Errorf("row %d is %s, the pair says %s (%v)", p.Row, s.Key, p.PairKey, err)
		}
	}
}

// A search in bfloat16 finds what one in float32 does, and says what it was.
func TestRetrieveInBFloat16(t *testing.T) {
	w, o := newWorld(t), open()
	o.CLIPScoreWeight, o.DuplicateCosine, o.CSLS, o.Guard.Cosine = 0.3, 0.97, true, 0.98
	want, s := w.retrieve(t, o)
	if s.Exact == nil || s.Exact.Precision != "float32" {
		t.Errorf("in float32: %+v", s.Exact)
	}
	o.Precision = torch.BFloat16
	got, s := w.retrieve(t, o)
	for i := range got {
		// Scores are added up in another order.
		if math.Abs(got[i].Score-want[i].Score) > 1e-6 {
			t.Errorf("pair %d has score %v, in float32 %v", i, got[i].Score, want[i].Score)
		}
		got[i].Score = want[i].Score
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("pairs %v, in float32 %v", got, want)
	}
	precision := "float32"
	if torch.CPU.HasBF16() {
		precision = "bfloat16"
	}
	if s.Exact == nil || s.Exact.Precision != precision || !strings.Contains(s.Exact.String(), "exact search in "+precision) {
		t.Errorf("in bfloat16: %+v", s.Exact)
	}
}

// A search through FAISS finds what the exact one does: in a pool this small
// the index is exact.
func TestRetrieveWithFAISS(t *testing.T) {
	w := newWorld(t)
	for name, query := range Queries {
		if name == "random" {
			continue
		}
		o := open()
		o.Query, o.CLIPScoreWeight, o.DuplicateCosine = query, 0.3, 0.97
		want, _ := w.retrieve(t, o)
		o.FAISS = true
		got, s := w.retrieve(t, o)
		if len(got) != len(want) {
			t.Fatalf("%s: %d pairs, exact search has %d", name, len(got), len(want))
		}
		for i := range got {
			if got[i].QueryKey != want[i].QueryKey || got[i].Rank != want[i].Rank || math.Abs(got[i].Score-want[i].Score) > 1e-5 {
				t.Errorf("%s: pair %d is %+v, exact search has %+v", name, i, got[i], want[i])
			}
		}
		parts := 1
		if query.Image > 0 && query.ImageText+query.ClassText+query.CaptionText > 0 {
			parts = 2
		}
		if s.FAISS == nil || s.Exact != nil || s.FAISS.Recall.Recall < recallWanted || s.FAISS.Recall.K != 5 || len(s.FAISS.Indexes) != parts || s.FAISS.Indexes[0].Rows != s.Pool {
			t.Errorf("%s: summary %+v", name, s.FAISS)
		}
	}
}
