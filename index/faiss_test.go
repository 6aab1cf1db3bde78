package index

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"arf/internal/parquetfile"
	"arf/torch"
)

// clustered gives rows of length 1 around centres, as features lie.
func clustered(n, dim int, seed uint64) Dense {
	centres, noise := random(40, dim, 99), random(n, dim, seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		centre, row := centres.Row(rng.IntN(40)), noise.Row(i)
		norm := 0.0
		for j := range row {
			row[j] = centre[j] + 0.8*row[j]
			norm += float64(row[j]) * float64(row[j])
		}
		for j := range row {
			row[j] /= float32(math.Sqrt(norm))
		}
	}
	return noise
}

// store writes features as another program would.
func store(t *testing.T, images, texts Dense) *Store {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"img_emb", "text_emb", "metadata"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	half := images.Len() / 2
	for shard, part := range [][2]int{{0, half}, {half, images.Len()}} {
		of := func(d Dense) []float32 { return d.Data[part[0]*d.Columns : part[1]*d.Columns] }
		file := func(name, ext string) string {
			return filepath.Join(dir, name, name+"_"+string(rune('0'+shard))+ext)
		}
		if err := errors.Join(
			writeMatrix(file("img_emb", ".npy"), of(images), images.Columns),
			writeMatrix(file("text_emb", ".npy"), of(texts), texts.Columns),
			parquetfile.Write(file("metadata", ".parquet"), make([]Row, part[1]-part[0])),
		); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFAISSOfAStore(t *testing.T) {
	const n, dim = 3000, 16
	s := store(t, clustered(n, dim, 1), clustered(n, dim, 2))
	x, info, err := s.FAISS(t.Context(), false, FAISSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	x.Close()
	file, err := os.Stat(filepath.Join(s.Dir, "image.index"))
	if err != nil || !info.Built || info.Kind != "HNSW15" || info.Rows != n || info.Bytes != file.Size() || info.Bytes < 4*n*dim {
		t.Fatalf("%+v, %v", info, err)
	}
	// It is there now.
	x, again, err := s.FAISS(t.Context(), false, FAISSOptions{})
	if err != nil || again.Built || again.AddSeconds != info.AddSeconds {
		t.Fatalf("%+v, %v", again, err)
	}
	x.Close()
	// Without the file that tells of it, it is one that another program built.
	if err := os.Remove(filepath.Join(s.Dir, "image.index.json")); err != nil {
		t.Fatal(err)
	}
	x, foreign, err := s.FAISS(t.Context(), false, FAISSOptions{})
	if err != nil || foreign.Built || foreign.Kind != "" || x.Len() != n {
		t.Fatalf("%+v, %v", foreign, err)
	}
	x.Close()
	// Of other features it is an error if not ours, and built anew if ours.
	other := store(t, clustered(500, dim, 1), clustered(500, dim, 2))
	data, err := os.ReadFile(filepath.Join(s.Dir, "image.index"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(other.Dir, "image.index")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.FAISS(t.Context(), false, FAISSOptions{}); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("an index of other features: %v", err)
	}
	os.Remove(path)
	for range 2 {
		x, info, err := other.FAISS(t.Context(), false, FAISSOptions{})
		if err != nil || !info.Built || info.Kind != "Flat" {
			t.Fatalf("%+v, %v", info, err)
		}
		x.Close()
		then := time.Unix(1e9, 0)
		if err := os.Chtimes(other.image[0].path, then, then); err != nil {
			t.Fatal(err)
		}
	}
	// A damaged one of ours is built anew.
	if err := os.Truncate(path, 5000); err != nil {
		t.Fatal(err)
	}
	if x, info, err = other.FAISS(t.Context(), false, FAISSOptions{}); err != nil || !info.Built {
		t.Fatalf("%+v, %v", info, err)
	}
	x.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := other.FAISS(ctx, true, FAISSOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(other.Dir, "*text.index*")); len(left) > 0 {
		t.Errorf("a cancelled build leaves %v", left)
	}
	// Features that are cleared take their index along.
	if err := clearStore(other.Dir); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(other.Dir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
}

func TestApproximateFindsWhatExactDoes(t *testing.T) {
	const n, dim, k = 6000, 16, 10
	rows, queries := clustered(n, dim, 1), clustered(120, dim, 7)
	exact, err := (&Exact{Vectors: rows}).Search(t.Context(), queries, k)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"Flat", "HNSW16", "IVF64,Flat", "IVF64_HNSW16,PQ8x4np"} {
		s := store(t, rows, rows)
		x, info, err := s.FAISS(t.Context(), false, FAISSOptions{Kind: kind})
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if info.Kind != kind || strings.HasPrefix(kind, "IVF") && info.TrainRows == 0 {
			t.Errorf("%+v", info)
		}
		a := &Approximate{Vectors: rows, Parts: []Part{{Index: x}}}
		least, err := a.Tune(t.Context(), queries, k, 0, torch.CPU)
		if err != nil || least.Effort != 0 {
			t.Fatalf("%+v, %v", least, err)
		}
		r, err := a.Tune(t.Context(), queries, k, 0.95, torch.CPU)
		if err != nil || r.Recall < 0.95 || r.Sample != 120 || r.K != k {
			t.Fatalf("%s: %+v, %v", kind, r, err)
		}
		if kind == "Flat" && r.Recall < 1 || kind == "IVF64,Flat" && least.Recall > 0.9 {
			t.Errorf("%s: recall %v with the least effort, %v with %d", kind, least.Recall, r.Recall, r.Effort)
		}
		got, err := a.Search(t.Context(), queries, k)
		if err != nil {
			t.Fatal(err)
		}
		same := 0
		for q := range queries.Len() {
			scores, found := got.Of(q)
			_, want := exact.Of(q)
			for i, row := range found {
				if math.Abs(float64(scores[i]-dot(queries.Row(q), rows.Row(int(row))))) > 1e-6 {
					t.Fatalf("%s: a score isn't exact", kind)
				}
				if slices.Contains(want, row) {
					same++
				}
			}
		}
		if share := float64(same) / float64(queries.Len()*k); math.Abs(share-r.Recall) > 1e-9 {
			t.Errorf("%s: recall is %v, Tune says %v", kind, share, r.Recall)
		}
	}
}

// The vectors may have a bias beside the indexed columns, and two indexes.
func TestApproximateWithBiasAndParts(t *testing.T) {
	const n, dim, k = 2000, 8, 5
	images, texts := clustered(n, dim, 1), clustered(n, dim, 2)
	s := store(t, images, texts)
	image, _, err := s.FAISS(t.Context(), false, FAISSOptions{Kind: "Flat"})
	if err != nil {
		t.Fatal(err)
	}
	defer image.Close()
	text, _, err := s.FAISS(t.Context(), true, FAISSOptions{Kind: "HNSW8"})
	if err != nil {
		t.Fatal(err)
	}
	defer text.Close()
	all, asking := Dense{Columns: 2*dim + 1}, Dense{Columns: 2*dim + 1}
	for i := range n {
		bias := float32(0)
		if i%10 != 0 { // nine of ten aren't to be found
			bias = Excluded
		}
		all.Data = append(append(append(all.Data, images.Row(i)...), texts.Row(i)...), bias)
	}
	q := clustered(60, 2*dim, 5)
	for i := range q.Len() {
		asking.Data = append(append(asking.Data, q.Row(i)...), 1)
	}
	a := &Approximate{Vectors: all, Parts: []Part{{image, 0}, {text, dim}}}
	r, err := a.Tune(t.Context(), asking, k, 0.95, torch.CPU)
	if err != nil || r.Recall < 0.95 {
		t.Fatalf("%+v, %v", r, err)
	}
	got, err := a.Search(t.Context(), asking, k)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range got.Rows {
		if row < 0 || row%10 != 0 || got.Scores[i] < -1 {
			t.Fatalf("place %d: row %d, score %v", i, row, got.Scores[i])
		}
	}
	// Fewer than k are to be found.
	for i := range n {
		if i != 70 && i != 1230 {
			all.Row(i)[2*dim] = Excluded
		}
	}
	if got, err = a.Search(t.Context(), asking, k); err != nil {
		t.Fatal(err)
	}
	for q := range asking.Len() {
		_, rows := got.Of(q)
		found := slices.Sorted(slices.Values(rows[:2]))
		if !slices.Equal(found, []int32{70, 1230}) || slices.Max(rows[2:]) != -1 {
			t.Fatalf("query %d: rows %v", q, rows)
		}
	}
}

func TestApproximateRefuses(t *testing.T) {
	rows := clustered(1200, 8, 1)
	s := store(t, rows, rows)
	x, _, err := s.FAISS(t.Context(), false, FAISSOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	a := &Approximate{Vectors: rows, Parts: []Part{{Index: x}}}
	if _, err := a.Search(t.Context(), clustered(2, 9, 1), 3); err == nil {
		t.Error("queries of another width are accepted")
	}
	if _, err := a.Search(t.Context(), rows, 0); err == nil {
		t.Error("k 0 is accepted")
	}
	a.Vectors = clustered(1000, 8, 1)
	if _, err := a.Search(t.Context(), rows, 3); err == nil {
		t.Error("an index of other rows is accepted")
	}
	if _, err := a.Tune(t.Context(), Dense{Columns: 8}, 3, 1, torch.CPU); err == nil {
		t.Error("tuned on nothing")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.Vectors = rows
	if _, err := a.Search(ctx, rows, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSpread(t *testing.T) {
	rows := Dense{Columns: 1}
	for i := range 1000 {
		rows.Data = append(rows.Data, float32(i))
	}
	for _, n := range []int{1, 64, 100, 1000} {
		d, err := spread(rows, n)
		if err != nil || d.Len() > n || d.Len() < min(n, n-64+1) || len(slices.Compact(slices.Sorted(slices.Values(d.Data)))) != d.Len() {
			t.Errorf("%d of 1000: %d, %v", n, d.Len(), err)
		}
	}
	if listsOf("OPQ64_384,IVF16384_HNSW32,PQ64x8np") != 16384 || listsOf("IVF64,Flat") != 64 || listsOf("HNSW32") != 0 {
		t.Error("clusters of a kind")
	}
	if freeMemory() < 1<<20 {
		t.Error("no memory is free")
	}
}
