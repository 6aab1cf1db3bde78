package index

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"arf/torch"
)

func random(rows, dim int, seed uint64) Dense {
	rng := rand.New(rand.NewPCG(seed, 0))
	d := Dense{Columns: dim, Data: make([]float32, rows*dim)}
	for i := range rows {
		norm := 0.0
		for j := range dim {
			v := rng.NormFloat64()
			d.Row(i)[j] = float32(v)
			norm += v * v
		}
		for j := range dim {
			d.Row(i)[j] /= float32(math.Sqrt(norm))
		}
	}
	return d
}

func TestExactEqualsBruteForce(t *testing.T) {
	rows, queries := random(500, 16, 1), random(70, 16, 2)
	for _, c := range []struct{ k, blockRows, blockQueries int }{
		{1, 0, 0}, {7, 0, 0}, {7, 64, 13}, {7, 5, 70}, {500, 99, 33}, {800, 128, 7},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			calls, last := 0, 0
			e := Exact{Vectors: rows, BlockRows: c.blockRows, BlockQueries: c.blockQueries, Progress: func(done, total int) { calls++; last = total - done }}
			n, err := e.Search(t.Context(), queries, c.k)
			if err != nil {
				t.Fatal(err)
			}
			if n.K != min(c.k, 500) || calls == 0 || last != 0 {
				t.Fatalf("K %d, %d progress calls, %d left at the end", n.K, calls, last)
			}
			for q := range queries.Len() {
				scores, found := n.Of(q)
				exact := make([]float64, rows.Len())
				for r := range exact {
					for d := range 16 {
						exact[r] += float64(queries.Row(q)[d]) * float64(rows.Row(r)[d])
					}
				}
				order := make([]int, rows.Len())
				for i := range order {
					order[i] = i
				}
				slices.SortStableFunc(order, func(a, b int) int {
					if exact[a] > exact[b] {
						return -1
					}
					if exact[a] < exact[b] {
						return 1
					}
					return 0
				})
				seen := map[int32]bool{}
				for j := range found {
					if seen[found[j]] {
						t.Fatalf("query %d: row %d twice", q, found[j])
					}
					seen[found[j]] = true
					// float32 rounding may swap rows that are this near.
					if math.Abs(float64(scores[j])-exact[order[j]]) > 1e-5 || math.Abs(exact[found[j]]-exact[order[j]]) > 1e-5 {
						t.Fatalf("query %d, place %d: row %d (%v), want row %d (%v)", q, j, found[j], scores[j], order[j], exact[order[j]])
					}
				}
			}
		})
	}
}

// Equal rows come in their order whatever the blocks and whatever topk picks.
func TestExactBreaksTiesByRow(t *testing.T) {
	one := random(3, 8, 3)
	rows := Dense{Columns: 8}
	for i := range 90 {
		rows.Data = append(rows.Data, one.Row(i%3)...)
	}
	for _, block := range []int{0, 10, 31, 90} {
		n, err := (&Exact{Vectors: rows, BlockRows: block}).Search(t.Context(), Dense{8, one.Row(1)}, 5)
		if err != nil {
			t.Fatal(err)
		}
		if want := []int32{1, 4, 7, 10, 13}; !slices.Equal(n.Rows, want) {
			t.Errorf("blocks of %d: rows %v, want %v", block, n.Rows, want)
		}
	}
}

func TestExactStopsAndRefuses(t *testing.T) {
	rows := random(100, 8, 1)
	ctx, cancel := context.WithCancel(t.Context())
	e := Exact{Vectors: rows, BlockRows: 10, Progress: func(done, total int) {
		if done == 3 {
			cancel()
		}
		if done > 3 {
			t.Error("went on after the context ended")
		}
	}}
	if _, err := e.Search(ctx, rows, 2); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled search: %v", err)
	}
	if _, err := e.Search(t.Context(), random(2, 9, 1), 2); err == nil {
		t.Error("queries of another width are accepted")
	}
	if _, err := e.Search(t.Context(), rows, 0); err == nil {
		t.Error("k 0 is accepted")
	}
	if n, err := (&Exact{Vectors: Dense{Columns: 8}}).Search(t.Context(), rows, 3); err != nil || n.K != 0 {
		t.Errorf("an empty index gives %v, %v", n, err)
	}
}

func TestPick(t *testing.T) {
	rows := random(1000, 4, 5)
	want := []int{999, 0, 500, 501, 0, 63}
	got, err := Pick(rows, want)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range want {
		if !slices.Equal(got.Row(i), rows.Row(r)) {
			t.Errorf("place %d isn't row %d", i, r)
		}
	}
	for _, bad := range []int{-1, 1000} {
		if _, err := Pick(rows, []int{bad}); err == nil {
			t.Errorf("row %d is accepted", bad)
		}
	}
}

func TestJoin(t *testing.T) {
	rows := random(20, 4, 6)
	part := func(from, to int) Dense { return Dense{4, rows.Data[from*4 : to*4]} }
	j := Join(part(0, 7), part(7, 7), part(7, 8), part(8, 20))
	if j.Len() != 20 || j.Dim() != 4 {
		t.Fatalf("%d rows of %d", j.Len(), j.Dim())
	}
	for from := range 20 {
		for to := from; to <= 20; to++ {
			got := make([]float32, (to-from)*4)
			if err := j.Read(got, from); err != nil || !slices.Equal(got, part(from, to).Data) {
				t.Fatalf("rows %d to %d: %v", from, to, err)
			}
		}
	}
	if err := j.Read(make([]float32, 8), 19); err == nil {
		t.Error("a row beyond the end is read")
	}
	if err := j.Read(make([]float32, 4), -1); err == nil {
		t.Error("row −1 is read")
	}
	if Join().Len() != 0 {
		t.Error("nothing has rows")
	}
}

func BenchmarkExact(b *testing.B) {
	rows, queries := random(65536, 256, 1), random(1024, 256, 2)
	for _, precision := range []torch.DType{torch.Float32, torch.BFloat16} {
		b.Run(precision.String(), func(b *testing.B) {
			e := &Exact{Vectors: rows, Precision: precision}
			if precision == torch.BFloat16 && !e.InBF16() {
				b.Skip("this CPU has no bfloat16")
			}
			for b.Loop() {
				if _, err := e.Search(b.Context(), queries, 50); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*65536*1024/b.Elapsed().Seconds(), "comparisons/s")
		})
	}
}
