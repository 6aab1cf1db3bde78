package faiss

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// unit gives rows of length 1.
func unit(n, dim int, seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 0))
	out := make([]float32, n*dim)
	for i := range n {
		norm := 0.0
		for j := range dim {
			v := rng.NormFloat64()
			out[i*dim+j] = float32(v)
			norm += v * v
		}
		for j := range dim {
			out[i*dim+j] /= float32(math.Sqrt(norm))
		}
	}
	return out
}

// widest has an index look at everything.
func widest(t *testing.T, x *Index) {
	t.Helper()
	_, _ = x.Set("nprobe", 8), x.Set("efSearch", 400)
	_ = x.Set("quantizer_efSearch", 64)
}

// Indexes that Python's faiss wrote find here what they found there.
func TestPythonsIndexes(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Queries [][]float32
		Kinds   map[string]struct {
			File   string
			Scores [][]float64
			Rows   [][]int64
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Kinds) != 4 {
		t.Fatalf("%d kinds", len(golden.Kinds))
	}
	queries := slices.Concat(golden.Queries...)
	for kind, want := range golden.Kinds {
		for _, onDisk := range []bool{false, true} {
			x, err := Open(filepath.Join("testdata", want.File), onDisk)
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			defer x.Close()
			widest(t, x)
			if x.Len() != 300 || x.Dim() != 8 || !x.Trained() {
				t.Errorf("%s: %d×%d", kind, x.Len(), x.Dim())
			}
			scores, rows, err := x.Search(t.Context(), queries, 5)
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			for q := range want.Rows {
				for i, row := range want.Rows[q] {
					if math.Abs(float64(scores[q*5+i])-want.Scores[q][i]) > 1e-4 {
						t.Errorf("%s, query %d: score %v, want %v", kind, q, scores[q*5+i], want.Scores[q][i])
					}
					// Quantised scores tie.
					if !strings.Contains(kind, "PQ") && rows[q*5+i] != row {
						t.Errorf("%s, query %d: row %d, want %d", kind, q, rows[q*5+i], row)
					}
				}
			}
		}
	}
}

func TestBuildWriteOpen(t *testing.T) {
	const n, dim = 2000, 16
	rows := unit(n, dim, 1)
	for _, kind := range []string{"Flat", "HNSW16", "IVF32,Flat", "IVF16_HNSW8,PQ8x4np"} {
		x, err := New(dim, kind)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if !x.Trained() {
			if err := x.Train(t.Context(), rows); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Reserve(n); err != nil {
			t.Fatal(err)
		}
		for from := 0; from < n; from += 700 {
			if err := x.Add(t.Context(), rows[from*dim:min(from+700, n)*dim], nil); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(t.TempDir(), "x.index")
		if err := x.Write(path); err != nil {
			t.Fatal(err)
		}
		y, err := Open(path, false)
		if err != nil {
			t.Fatal(err)
		}
		defer y.Close()
		for _, z := range []*Index{x, y} {
			widest(t, z)
			scores, found, err := z.Search(t.Context(), rows[:100*dim], 3)
			if err != nil || z.Len() != n || z.Dim() != dim {
				t.Fatalf("%s: %d×%d, %v", kind, z.Len(), z.Dim(), err)
			}
			self := 0
			for q := range 100 {
				if slices.Contains(found[q*3:q*3+3], int64(q)) {
					self++
				}
				if scores[q*3] < scores[q*3+2] {
					t.Errorf("%s: worst first", kind)
				}
			}
			if self < 60 {
				t.Errorf("%s: %d of 100 rows find themselves", kind, self)
			}
		}
		if _, err := os.ReadDir(filepath.Dir(path)); err != nil {
			t.Fatal(err)
		}
		left, _ := os.ReadDir(filepath.Dir(path))
		if len(left) != 1 {
			t.Errorf("%d files left beside the index", len(left)-1)
		}
	}
}

func TestErrors(t *testing.T) {
	if _, err := New(8, "HNSW8x,Nonsense"); err == nil || !strings.Contains(err.Error(), "Nonsense") {
		t.Errorf("unknown kind: %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none.index"), false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	if _, err := Open("testdata/distance.index", false); err == nil || !strings.Contains(err.Error(), "inner product") {
		t.Errorf("an index of distances: %v", err)
	}
	whole, err := os.ReadFile("testdata/python1.index")
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{0, 3, 50, len(whole) / 2, len(whole) - 1} {
		path := filepath.Join(t.TempDir(), "cut.index")
		if err := os.WriteFile(path, whole[:length], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, false); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("cut to %d bytes: %v", length, err)
		}
	}
	huge, err := New(1<<12, "Flat")
	if err != nil {
		t.Fatal(err)
	}
	defer huge.Close()
	if err := huge.Reserve(1 << 40); err == nil || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("16 PiB: %v", err)
	}
	x, err := New(8, "IVF4,Flat")
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	if err := x.Add(t.Context(), unit(10, 8, 1), nil); err == nil {
		t.Error("vectors are added to an untrained index")
	}
	if err := x.Train(t.Context(), make([]float32, 9)); err == nil {
		t.Error("9 numbers are rows of 8")
	}
	if err := x.Set("nprobes", 1); err == nil {
		t.Error("an unknown parameter is set")
	}
	if err := x.Write(filepath.Join(t.TempDir(), "no", "folder")); err == nil {
		t.Error("written into a folder that isn't there")
	}
}

// A build ends soon after its context does, and the library works afterwards.
func TestInterrupt(t *testing.T) {
	rows := unit(60_000, 64, 1)
	x, err := New(64, "HNSW32")
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := x.Add(ctx, rows, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("ended after %v", d)
	}
	if err := x.Add(ctx, rows, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call after the end: %v", err)
	}
	y, err := New(64, "Flat")
	if err != nil {
		t.Fatal(err)
	}
	defer y.Close()
	if err := y.Add(t.Context(), rows[:640], nil); err != nil || y.Len() != 10 {
		t.Errorf("after an interruption: %d rows, %v", y.Len(), err)
	}
}

// TestAssignedListsAreTheOnes compares an index whose lists were assigned and
// reserved first with one that was filled at once: the files are the same.
func TestAssignedListsAreTheOnes(t *testing.T) {
	const n, dim = 3000, 16
	rows := unit(n, dim, 3)
	file := func(kind string, assigned bool) []byte {
		x, err := New(dim, kind)
		if err != nil {
			t.Fatal(err)
		}
		defer x.Close()
		if err := x.Train(t.Context(), rows); err != nil {
			t.Fatal(err)
		}
		var lists []int64
		if assigned {
			if x.Lists() != 32 {
				t.Fatalf("%d lists", x.Lists())
			}
			if lists, err = x.Assign(t.Context(), rows); err != nil {
				t.Fatal(err)
			}
			if err := x.ReserveLists(lists); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Add(t.Context(), rows, lists); err != nil || x.Len() != n {
			t.Fatal(x.Len(), err)
		}
		path := filepath.Join(t.TempDir(), "lists.index")
		if err := x.Write(path); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, kind := range []string{"IVF32,Flat", "IVF32,SQ8", "IVF32,PQ4x4"} {
		if !bytes.Equal(file(kind, true), file(kind, false)) {
			t.Errorf("%s: the indexes differ", kind)
		}
	}
	packed, err := New(dim, "IVF32,PQ4x4fs")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	if packed.Lists() != 0 {
		t.Error("packed lists would be filled as if they weren't")
	}
	flat, err := New(dim, "Flat")
	if err != nil {
		t.Fatal(err)
	}
	defer flat.Close()
	if flat.Lists() != 0 {
		t.Errorf("a flat index has %d lists", flat.Lists())
	}
	if _, err := flat.Assign(t.Context(), rows); err == nil {
		t.Error("a flat index assigns lists")
	}
}
