package corpus

import (
	"math"
	"math/rand/v2"
	"testing"
)

func printed(rgb []byte) *icon { return &icon{drawn: drawn{Print: fingerprintOf(rgb)}} }

func near(t *testing.T, a, b *icon) bool {
	t.Helper()
	got, err := nearDuplicates(t.Context(), []*icon{a}, []*icon{b}, nearAlike, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got[0]
}

func TestNearDuplicates(t *testing.T) {
	cross := func(cx, cy, size float64) []byte {
		return paint(func(x, y float64) [3]byte {
			dx, dy := math.Abs(x-cx), math.Abs(y-cy)
			if dx < size && dy < size/4 || dy < size && dx < size/3 && y < cy {
				return black
			}
			return white
		})
	}
	a := printed(cross(32, 32, 28))
	for name, c := range map[string]struct {
		other []byte
		want  bool
	}{
		"itself":                     {cross(32, 32, 28), true},
		"smaller and in a corner":    {cross(20, 20, 18), true},
		"in grey":                    {invertGrey(cross(32, 32, 28)), true},
		"a disc":                     {disc(26, black, black, 0), false},
		"the same shape upside down": {flip(cross(32, 32, 28)), false},
	} {
		if got := near(t, a, printed(c.other)); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}

func invertGrey(rgb []byte) []byte {
	for i, v := range rgb {
		rgb[i] = 120 + v/2
	}
	return rgb
}

func flip(rgb []byte) []byte {
	out := make([]byte, len(rgb))
	for y := range Size {
		copy(out[(Size-1-y)*Size*3:(Size-y)*Size*3], rgb[y*Size*3:])
	}
	return out
}

// The search must find exactly what comparing every pair finds.
func TestNearIndexIsExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var icons []*icon
	for range 60 {
		rgb := blob(rng)
		icons = append(icons, printed(rgb))
		for range 4 { // the same a little worse
			worse := append([]byte(nil), rgb...)
			for range 40 + rng.IntN(500) {
				i := 3 * rng.IntN(Size*Size)
				worse[i], worse[i+1], worse[i+2] = 128, 128, 128
			}
			icons = append(icons, printed(worse))
		}
	}
	for _, v := range []view{canvasView, cutView} {
		index := newNearIndex(icons, v, nearAlike)
		pairs := 0
		for i, a := range icons {
			found := map[*icon]bool{}
			index.search(a, func(o *icon) bool {
				found[o] = true
				return true
			})
			var ua, ub [grid * grid]float32
			unit(v(a), &ua)
			for j, b := range icons {
				unit(v(b), &ub)
				var dot float64
				for k := range ua {
					dot += float64(ua[k]) * float64(ub[k])
				}
				if math.Abs(dot-nearAlike) < 1e-4 {
					continue
				}
				if (dot >= nearAlike) != found[b] {
					t.Fatalf("pair %d, %d with correlation %.4f: found %t", i, j, dot, found[b])
				}
				if i != j && dot >= nearAlike {
					pairs++
				}
			}
		}
		if pairs < 100 {
			t.Errorf("only %d alike pairs: the test tests nothing", pairs)
		}
	}
}

func TestBlankPrintsAreNearNothing(t *testing.T) {
	blank := printed(paint(func(x, y float64) [3]byte { return white }))
	if near(t, blank, blank) {
		t.Error("two empty pictures count as near duplicates")
	}
}

func BenchmarkNearSearch(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var icons []*icon
	for range 2000 {
		icons = append(icons, printed(blob(rng)))
	}
	index := newNearIndex(icons, canvasView, nearAlike)
	i := 0
	for b.Loop() {
		index.search(icons[i%len(icons)], func(*icon) bool { return true })
		i++
	}
}
