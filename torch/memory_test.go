package torch

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// residentBytes is the process's resident set.
func residentBytes(t testing.TB) int64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// What Tidy gives outlives it, inside a scope and outside of all; the rest is
// freed at once.
func TestTidy(t *testing.T) {
	start := Live()
	var kept *Tensor
	Scope(func() {
		x := Full(CPU, 2, 3)
		before := Live()
		y := Tidy(func() *Tensor {
			return Tidy(func() *Tensor { return x.Exp().Exp() }).Scale(3).Scale(2)
		})
		if n := Live() - before; n != 1 {
			t.Errorf("%d handles are left, want 1", n)
		}
		want := To[float32](x.Exp().Exp().Scale(3).Scale(2))
		if got := To[float32](y); got[0] != want[0] {
			t.Errorf("%v, want %v", got, want)
		}
		if Tidy(func() *Tensor { return x }) != x || To[float32](x)[0] != 2 {
			t.Error("a tensor from outside is not left alone")
		}
		kept = Tidy(func() *Tensor { return x.Exp().Keep() })
	})
	if n := Live() - start; n != 1 {
		t.Errorf("%d handles after the scope, want the one that was kept", n)
	}
	loose := Tidy(func() *Tensor { return kept.Scale(2) })
	if len(To[float32](loose)) != 3 {
		t.Error("lost outside of a scope")
	}
	kept.Free()
	loose.Free()
	if n := Live() - start; n != 0 {
		t.Errorf("%d handles at the end", n)
	}
}
