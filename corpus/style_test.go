package corpus

import (
	"math"
	"math/rand/v2"
	"testing"
)

// paint draws with a function of the pixel's centre that returns its colour.
func paint(colour func(x, y float64) [3]byte) []byte {
	rgb := make([]byte, Size*Size*3)
	for y := range Size {
		for x := range Size {
			c := colour(float64(x)+.5, float64(y)+.5)
			copy(rgb[3*(y*Size+x):], c[:])
		}
	}
	return rgb
}

var white, black, grey, red = [3]byte{255, 255, 255}, [3]byte{}, [3]byte{160, 160, 160}, [3]byte{220, 40, 30}

func disc(r float64, inside, rim [3]byte, stroke float64) []byte {
	return paint(func(x, y float64) [3]byte {
		switch d := math.Hypot(x-32, y-32); {
		case d > r:
			return white
		case d > r-stroke:
			return rim
		}
		return inside
	})
}

func TestStyleFromPixels(t *testing.T) {
	for name, c := range map[string]struct {
		rgb  []byte
		want Style
	}{
		"filled disc":      {disc(26, black, black, 0), StyleSolid},
		"ring":             {disc(26, white, black, 4), StyleLine},
		"grey with a rim":  {disc(26, grey, black, 4), StyleDuotone},
		"red disc":         {disc(26, red, red, 0), StyleColor},
		"red ring":         {disc(26, white, red, 4), StyleColor},
		"disc with a hole": {disc(28, white, black, 14), StyleSolid},
	} {
		if got := measure(c.rgb).style(""); got != c.want {
			t.Errorf("%s: %s, want %s (%+v)", name, got, c.want, measure(c.rgb))
		}
	}
	if !measure(paint(func(x, y float64) [3]byte { return white })).blank() || !measure(paint(func(x, y float64) [3]byte { return black })).blank() {
		t.Error("empty and full pictures aren't called blank")
	}
	if measure(disc(4, black, black, 0)).blank() {
		t.Error("a small dot is called blank")
	}
}

func TestTestStyle(t *testing.T) {
	solid, duotone, tinted := measure(disc(26, black, black, 0)), measure(disc(26, grey, black, 4)), measure(disc(26, black, black, 0))
	tinted.Colorful = 0.03
	for _, c := range []struct {
		name     string
		look     look
		set      Style
		palette  bool
		declared Style
		want     Style
	}{
		{"plain", solid, "", false, "", StyleSolid},
		{"black icon of a colour set", solid, "", true, "", StyleUnclear},
		{"a touch of colour", tinted, "", false, "", StyleUnclear},
		{"duotone in name only", solid, "", false, StyleDuotone, StyleUnclear},
		{"duotone", duotone, "", false, declaredStyle("bell-duotone"), StyleDuotone},
		{"black emoji", solid, StyleEmoji, true, "", StyleEmoji},
	} {
		if got := c.look.testStyle(c.set, c.palette, c.declared); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for name, want := range map[string]Style{"bell-duotone": StyleDuotone, "bell-two-tone": StyleDuotone, "bell-duo": StyleDuotone, "duo": StyleDuotone, "duolingo": "", "bell": ""} {
		if got := declaredStyle(name); got != want {
			t.Errorf("declaredStyle(%q) = %q, want %q", name, got, want)
		}
	}
}

// Real icons of sets that say their style in the name.
func TestStyleOfRealIcons(t *testing.T) {
	dir := packageDir(t)
	r, err := loadRules()
	if err != nil {
		t.Fatal(err)
	}
	r.keepSets([]string{"ph", "flat-color-icons"})
	p, err := openPackage(dir, r)
	if err != nil {
		t.Fatal(err)
	}
	icons, counts, err := p.read(t.Context(), r, Options{Progress: func(string, int, int) {}})
	if err != nil {
		t.Fatal(err)
	}
	icons, err = drawAll(t.Context(), icons, counts, Options{PackageDir: dir, CacheDir: t.TempDir(), Progress: func(string, int, int) {}})
	if err != nil {
		t.Fatal(err)
	}
	right, all := map[Style]int{}, map[Style]int{}
	for _, ic := range icons {
		want := StyleLine
		switch {
		case ic.Set == "flat-color-icons":
			want = StyleColor
		case declaredStyle(ic.Icon) != "":
			want = StyleDuotone
		case len(ic.Icon) > 5 && ic.Icon[len(ic.Icon)-5:] == "-fill":
			want = StyleSolid
		}
		all[want]++
		got := ic.Look.testStyle("", ic.Palette, declaredStyle(ic.Icon))
		if got == want {
			right[want]++
		}
		if want == StyleLine && got == StyleSolid {
			t.Logf("%s is called %s: %+v", ic.key(), got, ic.Look)
		}
	}
	for _, style := range []Style{StyleSolid, StyleLine, StyleDuotone, StyleColor} {
		if all[style] < 20 || float64(right[style]) < 0.85*float64(all[style]) {
			t.Errorf("%s: %d of %d right", style, right[style], all[style])
		}
	}
}

func BenchmarkMeasure(b *testing.B) {
	rgb := disc(26, grey, black, 4)
	b.ReportAllocs()
	for b.Loop() {
		measure(rgb)
	}
}

func BenchmarkFingerprint(b *testing.B) {
	rgb := disc(26, grey, black, 4)
	b.ReportAllocs()
	for b.Loop() {
		fingerprintOf(rgb)
	}
}

// blob is a random drawing: a few discs.
func blob(rng *rand.Rand) []byte {
	type circle struct{ x, y, r float64 }
	var cs []circle
	for range 2 + rng.IntN(4) {
		cs = append(cs, circle{12 + 40*rng.Float64(), 12 + 40*rng.Float64(), 3 + 9*rng.Float64()})
	}
	return paint(func(x, y float64) [3]byte {
		for _, c := range cs {
			if math.Hypot(x-c.x, y-c.y) < c.r {
				return black
			}
		}
		return white
	})
}
