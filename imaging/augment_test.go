package imaging

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
)

func noise(w, h, channels int, seed uint64) *Image {
	rng := rand.New(rand.NewPCG(seed, 0))
	m := &Image{Width: w, Height: h, Channels: channels, Pix: make([]uint8, w*h*channels)}
	for i := range m.Pix {
		m.Pix[i] = uint8(rng.Uint32())
	}
	return m
}

// cut copies a box into a picture of its own.
func cut(m *Image, x, y, w, h int) *Image {
	out := &Image{Width: w, Height: h, Channels: m.Channels}
	for row := y; row < y+h; row++ {
		out.Pix = append(out.Pix, m.Pix[(row*m.Width+x)*m.Channels:][:w*m.Channels]...)
	}
	return out
}

// TestTrainIsCropThenResize: RandomResizedCrop must be what TestPillow checked,
// applied to the box that was drawn.
func TestTrainIsCropThenResize(t *testing.T) {
	p := CLIP(24)
	squash := p
	squash.ResizeMode = Squash
	a := Augment{ScaleMin: 0.2, ScaleMax: 1}
	got, want := make([]uint8, p.Bytes()), make([]uint8, p.Bytes())
	for _, channels := range []int{1, 3} {
		m := noise(50, 31, channels, 1)
		for seed := range uint64(50) {
			if err := p.TrainInto(got, m, a, rand.New(rand.NewPCG(seed, 0))); err != nil {
				t.Fatal(err)
			}
			x, y, w, h := a.crop(m.Width, m.Height, rand.New(rand.NewPCG(seed, 0)))
			if err := squash.EvalInto(want, cut(m, x, y, w, h)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("seed %d, %d channels: crop (%d, %d, %d, %d) differs from crop, then resize", seed, channels, x, y, w, h)
			}
		}
	}
}

func TestGreyEqualsColour(t *testing.T) {
	p := CLIP(20)
	grey := noise(33, 47, 1, 2)
	colour := &Image{Width: 33, Height: 47, Channels: 3, Pix: grey.RGB()}
	a, b := make([]uint8, p.Bytes()), make([]uint8, p.Bytes())
	for _, augment := range []Augment{{}, {Flip: 1}, {ScaleMin: 0.5, ScaleMax: 0.9, Flip: 0.5}} {
		if err := p.TrainInto(a, grey, augment, rand.New(rand.NewPCG(3, 3))); err != nil {
			t.Fatal(err)
		}
		if err := p.TrainInto(b, colour, augment, rand.New(rand.NewPCG(3, 3))); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%+v: a grey picture differs from the same in RGB", augment)
		}
	}
}

func TestFlip(t *testing.T) {
	p := CLIP(16)
	m := noise(16, 16, 3, 4)
	plain, flipped := make([]uint8, p.Bytes()), make([]uint8, p.Bytes())
	rng := rand.New(rand.NewPCG(0, 0))
	if err := p.TrainInto(plain, m, Augment{}, rng); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(plain, m.Pix) {
		t.Error("a picture of the right size must stay as it is")
	}
	if err := p.TrainInto(flipped, m, Augment{Flip: 1}, rng); err != nil {
		t.Fatal(err)
	}
	for y := range 16 {
		for x := range 16 {
			if !bytes.Equal(flipped[(y*16+x)*3:][:3], plain[(y*16+15-x)*3:][:3]) {
				t.Fatalf("pixel (%d, %d) isn't mirrored", x, y)
			}
		}
	}
	count := 0
	for range 1000 {
		if err := p.TrainInto(flipped, m, Augment{Flip: 0.3}, rng); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(flipped, plain) {
			count++
		}
	}
	if count < 250 || count > 350 {
		t.Errorf("%d of 1000 flipped at probability 0.3", count)
	}
}

// TestCrop: the boxes have the areas and ratios that were asked for.
func TestCrop(t *testing.T) {
	a := Augment{ScaleMin: 0.3, ScaleMax: 0.8, RatioMin: 0.5, RatioMax: 2}
	rng := rand.New(rand.NewPCG(9, 9))
	const width, height, n = 400, 300, 5000
	var area, corners float64
	for range n {
		x, y, w, h := a.crop(width, height, rng)
		if x < 0 || y < 0 || w < 1 || h < 1 || x+w > width || y+h > height {
			t.Fatalf("box (%d, %d, %d, %d) is outside", x, y, w, h)
		}
		share, ratio := float64(w*h)/(width*height), float64(w)/float64(h)
		if share < 0.29 || share > 0.81 || ratio < 0.49 || ratio > 2.05 {
			t.Fatalf("box of %.3f of the area, ratio %.3f", share, ratio)
		}
		area += share
		corners += float64(x) / float64(width-w+1)
	}
	if mean := area / n; math.Abs(mean-0.53) > 0.03 {
		t.Errorf("mean share of the area %.3f", mean)
	}
	if mean := corners / n; math.Abs(mean-0.5) > 0.03 {
		t.Errorf("mean place of the box %.3f", mean)
	}
	// No box of these ratios fits: the fallback.
	for _, size := range [][2]int{{1000, 2}, {2, 1000}, {1, 1}} {
		x, y, w, h := Augment{ScaleMin: 0.9, ScaleMax: 1}.crop(size[0], size[1], rng)
		if x < 0 || y < 0 || w < 1 || h < 1 || x+w > size[0] || y+h > size[1] {
			t.Errorf("%v: box (%d, %d, %d, %d)", size, x, y, w, h)
		}
	}
}

func TestValidate(t *testing.T) {
	change := func(f func(*Preprocess)) Preprocess {
		p := CLIP(8)
		f(&p)
		return p
	}
	for name, p := range map[string]Preprocess{
		"size":          change(func(p *Preprocess) { p.ImageSize = 0 }),
		"huge":          change(func(p *Preprocess) { p.ImageSize = 1 << 20 }),
		"interpolation": change(func(p *Preprocess) { p.Interpolation = "lanczos" }),
		"mode":          change(func(p *Preprocess) { p.ResizeMode = "longest" }),
		"background":    change(func(p *Preprocess) { p.Background = "pink" }),
		"std":           change(func(p *Preprocess) { p.Std[1] = 0 }),
	} {
		if p.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if err := CLIP(224).Validate(); err != nil {
		t.Error(err)
	}
	for _, a := range []Augment{
		{ScaleMin: 0.5}, {ScaleMin: 0.9, ScaleMax: 0.5}, {ScaleMin: 0.5, ScaleMax: 2},
		{RatioMin: -1, RatioMax: 1}, {RatioMax: 1}, {Flip: 2}, {Flip: math.NaN()},
	} {
		if a.Validate() == nil {
			t.Errorf("%+v: accepted", a)
		}
	}
	if err := (Augment{}).Validate(); err != nil {
		t.Error(err)
	}
	p := CLIP(8)
	if p.EvalInto(make([]uint8, 5), noise(3, 3, 3, 0)) == nil {
		t.Error("a destination of the wrong size was accepted")
	}
	if p.EvalInto(make([]uint8, p.Bytes()), &Image{Width: 5, Height: 5, Channels: 3}) == nil {
		t.Error("an image without pixels was accepted")
	}
}

// TestSumLines compares the sums with plain ones, on the extremes.
func TestSumLines(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	var v taps
	for _, out := range []int{3, 7, 40, 90} {
		v.fill(40, out, 0, out, bicubic)
		for _, width := range []int{1, 7, 8, 9, 30} {
			src := make([]uint8, 40*width)
			for i := range src {
				if src[i] = uint8(rng.Uint32()); rng.IntN(3) > 0 {
					src[i] = uint8(rng.IntN(2)) * 255
				}
			}
			dst := make([]uint8, width)
			for y := range out {
				weights := v.weights[y*v.width:][:v.count[y]]
				rows := src[int(v.first[y])*width:]
				sumLines(dst, rows, width, weights)
				for x, got := range dst {
					sum := 0
					for k, w := range weights {
						sum += int(rows[k*width+x]) * int(w)
					}
					want := min(max((sum+1<<(precision-1))>>precision, 0), 255)
					if int(got) != want {
						t.Fatalf("%d lines to %d, width %d: line %d, byte %d: %d, want %d", 40, out, width, y, x, got, want)
					}
				}
			}
		}
	}
}
