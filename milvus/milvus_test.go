package milvus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"arf/internal/milvustest"
)

// unit makes vectors of length 1, [n, dim].
func unit(n, dim int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 0))
	data := make([]float32, n*dim)
	for i := range n {
		row, sum := data[i*dim:(i+1)*dim], 0.0
		for j := range row {
			row[j] = float32(r.NormFloat64())
			sum += float64(row[j]) * float64(row[j])
		}
		for j := range row {
			row[j] /= float32(math.Sqrt(sum))
		}
	}
	return data
}

func reader(data []float32, dim int) func([]float32, int) error {
	return func(dst []float32, from int) error {
		copy(dst, data[from*dim:])
		return nil
	}
}

func connect(t *testing.T, address string, patience time.Duration) *Client {
	t.Helper()
	c, err := Connect(t.Context(), Options{Address: address, Patience: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func fill(t *testing.T, c *Client, s Spec, data []float32) *Collection {
	t.Helper()
	x, err := c.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Fill(t.Context(), reader(data, s.Dim), nil); err != nil {
		t.Fatal(err)
	}
	if err := x.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	return x
}

// exact ranks by brute force.
func exact(data, query []float32, dim, k int) []int64 {
	n := len(data) / dim
	scores, rows := make([]float64, n), make([]int64, n)
	for i := range rows {
		rows[i] = int64(i)
		for j, v := range query {
			scores[i] += float64(v) * float64(data[i*dim+j])
		}
	}
	slices.SortFunc(rows, func(a, b int64) int {
		if scores[a] > scores[b] {
			return -1
		}
		return 1
	})
	return rows[:k]
}

// Every kind of index that the server has finds rows by inner product, an exact
// one all of them, and an approximate one more of them with more effort.
func TestSearch(t *testing.T) {
	milvustest.Each(t, func(t *testing.T, server *milvustest.Server) {
		const rows, dim, k, queries = 3000, 24, 10, 40
		c := connect(t, server.Address, 0)
		data, asked := unit(rows, dim, 1), unit(queries, dim, 2)
		for _, kind := range []string{Auto, "FLAT", "IVF_FLAT", "HNSW"} {
			x, err := c.Open(t.Context(), Spec{Name: "search_" + kind, Content: "test", Rows: rows, Dim: dim, Kind: kind})
			if err != nil && kind == "HNSW" && server.Lite { // before version 3 it hasn't it
				t.Logf("%s: %v", kind, err)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			x = fill(t, c, x.Spec, data)
			last := 0.0
			for _, effort := range []int{1, 1 << 12} {
				_ = errors.Join(x.Set("nprobe", effort), x.Set("efSearch", effort))
				scores, found, err := x.Search(t.Context(), asked, k)
				if err != nil {
					t.Fatalf("%s: %v", kind, err)
				}
				hits := 0
				for q := range queries {
					want := exact(data, asked[q*dim:(q+1)*dim], dim, k)
					for i, row := range found[q*k : (q+1)*k] {
						if slices.Contains(want, row) {
							hits++
						}
						if i > 0 && row >= 0 && scores[q*k+i] > scores[q*k+i-1] {
							t.Errorf("%s: query %d: score %d is greater than the one before", kind, q, i)
						}
					}
				}
				share := float64(hits) / (queries * k)
				t.Logf("%s with effort %d: recall@%d %.3f", kind, effort, k, share)
				if share < last || effort > 1 && share < 0.99 {
					t.Errorf("%s with effort %d finds %.3f", kind, effort, share)
				}
				last = share
			}
		}
	})
}

// A search for more rows than there are says so by −1.
func TestSearchForMoreThanThereIs(t *testing.T) {
	milvustest.Each(t, func(t *testing.T, server *milvustest.Server) {
		c := connect(t, server.Address, 0)
		x := fill(t, c, Spec{Name: "few", Content: "test", Rows: 3, Dim: 4}, unit(3, 4, 1))
		_, rows, err := x.Search(t.Context(), unit(2, 4, 2), 5)
		if err != nil || len(rows) != 10 || slices.Max(rows[:3]) != 2 || rows[3] != -1 || rows[4] != -1 {
			t.Errorf("rows %v, %v", rows, err)
		}
	})
}

// A collection of anything else is refused, in words that say what to do.
func TestOther(t *testing.T) {
	milvustest.Each(t, func(t *testing.T, server *milvustest.Server) {
		c := connect(t, server.Address, 0)
		s := Spec{Name: "own", Content: "features a", Rows: 50, Dim: 8}
		fill(t, c, s, unit(50, 8, 1))
		if x, err := c.Open(t.Context(), s); err != nil || x.Present != 50 {
			t.Fatalf("the same: %+v, %v", x, err)
		}
		for name, change := range map[string]func(*Spec){
			"is of other features":     func(s *Spec) { s.Content = "features b" },
			"has vectors of 8 numbers": func(s *Spec) { s.Dim = 16 },
			"50 rows":                  func(s *Spec) { s.Rows = 60 },
			"index_type is IVF_FLAT":   func(s *Spec) { s.Kind = "IVF_FLAT" },
		} {
			other := s
			change(&other)
			_, err := c.Open(t.Context(), other)
			if !errors.Is(err, ErrOther) {
				t.Fatalf("%s: %v", name, err)
			}
			for _, part := range []string{name, server.Address, "anchors.pairs.milvus.collection", "drop"} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q isn't in: %v", part, err)
				}
			}
		}
	})
}

// Where nobody listens, the error names the address and the setting, within the patience.
func TestNobody(t *testing.T) {
	address := milvustest.FreeAddress(t)
	start := time.Now()
	_, err := Connect(t.Context(), Options{Address: address, Patience: time.Second})
	if !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "anchors.pairs.milvus.address") {
		t.Errorf("%v", err)
	}
	if spent := time.Since(start); spent > 30*time.Second {
		t.Errorf("it took %s", spent)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Connect(ctx, Options{Address: address}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("interrupted: %v", err)
	}
}

// A server that dies while it is filled: what came there is counted and not sent again.
func TestFillGoesOn(t *testing.T) {
	milvustest.Each(t, func(t *testing.T, server *milvustest.Server) {
		const rows, dim = 2050, 8
		data := unit(rows, dim, 1)
		s := Spec{Name: "halves", Content: "test", Rows: rows, Dim: dim, Kind: "FLAT", batchMax: 100 * 4 * dim}
		x, err := connect(t, server.Address, time.Second).Open(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		err = x.Fill(t.Context(), reader(data, dim), func(done, _ int) {
			if done == 1000 {
				server.Kill()
			}
		})
		if !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "insert rows 1000 to 1099 into halves") {
			t.Fatalf("%v", err)
		}
		t.Log(err)
		server.Run()
		c := connect(t, server.Address, 0)
		if x, err = c.Open(t.Context(), s); err != nil || x.Present < 1000 || x.Present >= rows {
			t.Fatalf("%+v, %v", x, err)
		}
		// Half a batch, as of a process that died while it was stored.
		if err := x.insert(t.Context(), data[x.Present*dim:(x.Present+37)*dim], x.Present, false); err != nil {
			t.Fatal(err)
		}
		was := x.Present
		if x, err = c.Open(t.Context(), s); err != nil || x.Present != was {
			t.Fatalf("%+v, %v", x, err)
		}
		sent := []int{}
		if err := x.Fill(t.Context(), func(dst []float32, from int) error {
			sent = append(sent, from)
			return reader(data, dim)(dst, from)
		}, nil); err != nil {
			t.Fatal(err)
		}
		if len(sent) == 0 || sent[0] != was {
			t.Errorf("sent from %v on, %d rows were there", sent, was)
		}
		if err := x.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, found, err := x.Search(t.Context(), data[:dim*rows], 1)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range found {
			if row != int64(i) {
				t.Fatalf("row %d is found as %d", i, row)
			}
		}
	})
}

// A server that dies in the middle of a search ends it in an error that says
// so; one that comes back in time doesn't; and nothing is lost of the collection.
func TestServerGoesAwayMidSearch(t *testing.T) {
	milvustest.Each(t, func(t *testing.T, server *milvustest.Server) {
		const rows, dim, k, queries = 20000, 64, 200, 1000
		c := connect(t, server.Address, time.Second)
		data := unit(rows, dim, 1)
		s := Spec{Name: "gone", Content: "test", Rows: rows, Dim: dim, Kind: "FLAT"}
		start := time.Now()
		x := fill(t, c, s, data)
		t.Logf("filled with %d rows of %d in %s", rows, dim, time.Since(start).Round(time.Millisecond))
		asked := unit(queries, dim, 2)
		start = time.Now()
		if _, _, err := x.Search(t.Context(), asked, k); err != nil {
			t.Fatal(err)
		}
		whole := time.Since(start)
		t.Logf("search of %d queries for %d rows: %s; the server has %s resident", queries, k, whole.Round(time.Millisecond), resident(server.Pid()))

		killed := make(chan struct{})
		go func() { time.Sleep(whole / 4); server.Kill(); close(killed) }()
		_, _, err := x.Search(t.Context(), asked, k)
		<-killed
		if !errors.Is(err, ErrGone) {
			t.Fatalf("%v", err)
		}
		t.Log(err)
		for _, part := range []string{server.Address, "search gone", "anchors.pairs.milvus.address", "the same command then goes on"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q isn't in: %v", part, err)
			}
		}
		server.Run()
		c = connect(t, server.Address, time.Minute)
		if x, err = c.Open(t.Context(), s); err != nil || x.Present != rows {
			t.Fatalf("after its return: %+v, %v", x, err)
		}
		returned := make(chan struct{})
		go func() { time.Sleep(whole / 4); server.Kill(); time.Sleep(time.Second); server.Run(); close(returned) }()
		_, found, err := x.Search(t.Context(), asked, k)
		<-returned
		if err != nil {
			t.Fatalf("a server that comes back: %v", err)
		}
		if want := exact(data, asked[:dim], dim, 5); !slices.Equal(found[:5], want) {
			t.Errorf("found %v, want %v", found[:5], want)
		}
	})
}

// resident is a process's memory in words.
func resident(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}
