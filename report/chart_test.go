package report

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// TestNiceAxis: the ticks are round, ascending, inside the plot and cover the data.
func TestNiceAxis(t *testing.T) {
	rng := random("axes")
	for range 2000 {
		lo := rng.NormFloat64() * math.Pow(10, float64(rng.IntN(9)-4))
		hi := lo + rng.ExpFloat64()*math.Pow(10, float64(rng.IntN(9)-4))
		a, ticks := niceAxis(lo, hi, 5, 300, 20, plainTick)
		if slack := 1e-8 * (hi - lo); a.lo > lo+slack || a.hi < hi-slack {
			t.Fatalf("[%g, %g] isn't in [%g, %g]", lo, hi, a.lo, a.hi)
		}
		if len(ticks) < 3 || len(ticks) > 8 {
			t.Fatalf("[%g, %g]: %d ticks", lo, hi, len(ticks))
		}
		for i, tick := range ticks {
			if tick.At < 20-1e-6 || tick.At > 300+1e-6 || i > 0 && tick.At >= ticks[i-1].At {
				t.Fatalf("[%g, %g]: ticks %v", lo, hi, ticks)
			}
		}
	}
	if _, ticks := niceAxis(0.5, 0.5, 5, 0, 100, plainTick); len(ticks) < 3 {
		t.Errorf("one value: ticks %v", ticks)
	}
	if _, ticks := niceAxis(math.Inf(1), math.Inf(-1), 5, 0, 100, plainTick); len(ticks) > 20 {
		t.Errorf("no value: %d ticks", len(ticks))
	}
}

func TestTickLabels(t *testing.T) {
	for _, test := range []struct {
		got, want string
	}{
		{percentTick(0.345, 0.005), "34.5"}, {percentTick(0.35, 0.05), "35"}, {percentTick(-0.02, 0.01), "−2"},
		{plainTick(0, 0.5), "0"}, {plainTick(1e-17, 0.5), "0"}, {plainTick(1.5, 0.5), "1.5"}, {plainTick(2000, 500), "2000"},
		{plainTick(0.0003, 0.0001), "3e−4"}, {plainTick(2.5e-5, 5e-6), "2.5e−5"}, {short(1234.5678), "1235"}, {short(3e-6), "3e−6"}, {short(2.5e7), "2.5e7"},
		{points(0.1234), "12.3"}, {points(-0.0001), "0.0"}, {signed(0.0001), "0.0"}, {signed(-0.02), "−2.0"}, {points(math.NaN()), "–"},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}

// TestGaps: a line and a band stop at what isn't known and go on behind it.
func TestGaps(t *testing.T) {
	nan := math.NaN()
	x, y := []float64{0, 1, 2, 3, 4}, []float64{1, 2, nan, 4, 5}
	if got, want := polyline(x, y), "M0.0 1.0L1.0 2.0M3.0 4.0L4.0 5.0"; got != want {
		t.Errorf("line %q, want %q", got, want)
	}
	if got := ribbon(x, y, y); strings.Count(got, "M") != 2 || strings.Count(got, "Z") != 2 {
		t.Errorf("band %q", got)
	}
	if got := polyline(x, []float64{nan, nan, nan, nan, nan}); got != "" {
		t.Errorf("line of nothing %q", got)
	}
}

func TestLooks(t *testing.T) {
	seen := map[string]int{}
	for look := range looks {
		d := shape(look, 10, 10, 5)
		if strings.Contains(d, "NaN") || !strings.HasPrefix(d, "M") {
			t.Errorf("shape %d: %q", look, d)
		}
		if old, ok := seen[d]; ok {
			t.Errorf("shapes %d and %d are the same", old, look)
		}
		seen[d] = look
	}
	every := &Run{Methods: known}
	for _, m := range known {
		if look := every.look(m); look < 0 || look >= looks {
			t.Errorf("%s has the look %d", m, look)
		}
	}
	r := &Run{Methods: []string{"zeroshot", "flyp", "arf", "lora", "prompt"}}
	var got []int
	for _, m := range r.Methods {
		got = append(got, r.look(m))
	}
	if want := []int{0, 2, 5, 6, 7}; !slices.Equal(got, want) {
		t.Errorf("looks %v, want %v", got, want)
	}
}
