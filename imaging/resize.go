package imaging

// #include "lines.h"
import "C"

import (
	"math"
	"sync"
	"unsafe"
)

// filter is a resampling kernel with its support in output pixels at scale 1.
type filter struct {
	support float64
	at      func(float64) float64
}

var (
	bilinear = filter{1, func(x float64) float64 {
		if x = math.Abs(x); x < 1 {
			return 1 - x
		}
		return 0
	}}
	// Keys' cubic with a = −0.5, as in Pillow.
	bicubic = filter{2, func(x float64) float64 {
		const a = -0.5
		x = math.Abs(x)
		switch {
		case x < 1:
			return ((a+2)*x-(a+3))*x*x + 1
		case x < 2:
			return (((x-5)*x+8)*x - 4) * a
		}
		return 0
	}}
)

// precision is the number of fraction bits of the weights: 8 bits for the
// pixel and 2 for overshoot leave 22 of 32 (Pillow, libImaging/Resample.c).
const precision = 32 - 8 - 2

// job is one resize: the box (x, y, srcW, srcH) of the source becomes fullW ×
// fullH, of which only the size × size square at (left, top) is computed.
type job struct {
	x, y, srcW, srcH int
	fullW, fullH     int
	left, top, size  int
	mirror           bool // left and right swapped
}

// taps are the weights of consecutive output pixels: output i is the sum of
// weights[i*width+k]·source[first[i]+k], k < count[i]; other weights are 0.
type taps struct {
	width   int
	first   []int32
	count   []int32
	weights []int32
	raw     []float64
}

// fill computes the weights for outputs [from, from+n) of a line of in pixels
// resized to out.
func (t *taps) fill(in, out, from, n int, f filter) {
	scale := float64(in) / float64(out)
	filterScale := max(scale, 1)
	support := f.support * filterScale
	t.width = (int(math.Ceil(support))*2 + C.ARF_VECTOR) / C.ARF_VECTOR * C.ARF_VECTOR
	t.first, t.count = grow(t.first, n), grow(t.count, n)
	t.weights, t.raw = grow(t.weights, n*t.width), grow(t.raw, t.width)
	inverse := 1 / filterScale
	for i := range n {
		center := (float64(from+i) + 0.5) * scale
		lo := max(int(center-support+0.5), 0)
		hi := min(int(center+support+0.5), in)
		sum := 0.0
		for k := range hi - lo {
			w := f.at((float64(k+lo) - center + 0.5) * inverse)
			t.raw[k] = w
			sum += w
		}
		row := t.weights[i*t.width:]
		for k := range hi - lo {
			w := t.raw[k]
			if sum != 0 {
				w /= sum
			}
			row[k] = int32(math.Round(w * (1 << precision)))
		}
		clear(row[hi-lo : t.width])
		t.first[i], t.count[i] = int32(lo), int32(hi-lo)
	}
}

// scratch is what one resize needs; pooled, since the loader resizes thousands
// of pictures a second.
type scratch struct {
	h, v   taps
	lines  []uint8
	planes []int32 // a line by channels
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// resample writes the square of j into dst ([size, size, 3]).
func resample(dst []uint8, m *Image, j job, f filter) {
	s := scratches.Get().(*scratch)
	defer scratches.Put(s)
	ch := m.Channels
	stride := m.Width * ch
	source := m.Pix[j.y*stride+j.x*ch:]

	// Rows of the source box that the vertical pass reads.
	row0, rows := j.top, j.size
	vertical := j.fullH != j.srcH
	if vertical {
		s.v.fill(j.srcH, j.fullH, j.top, j.size, f)
		row0 = int(s.v.first[0])
		last := j.size - 1
		rows = int(s.v.first[last]+s.v.count[last]) - row0
	}

	lines, lineStride := source[row0*stride:], stride
	if j.fullW != j.srcW {
		s.h.fill(j.srcW, j.fullW, j.left, j.size, f)
		s.lines = grow(s.lines, rows*j.size*ch)
		s.resampleLines(s.lines, lines, stride, rows, j.srcW, j.size, ch)
		lines, lineStride = s.lines, j.size*ch
	} else {
		lines = lines[j.left*ch:]
	}

	width := j.size * ch
	for y := range j.size {
		out := dst[y*j.size*3 : (y+1)*j.size*3]
		var line []uint8
		if vertical {
			// The square's rows are written where they will stay; grey ones are
			// widened in place below, from the right.
			line = out[:width]
			first := int(s.v.first[y]) - row0
			weights := s.v.weights[y*s.v.width:][:s.v.count[y]]
			sumLines(line, lines[first*lineStride:], lineStride, weights)
		} else {
			line = out[:width]
			copy(line, lines[y*lineStride:])
		}
		if ch == 1 {
			for x := j.size - 1; x >= 0; x-- {
				v := line[x]
				out[3*x], out[3*x+1], out[3*x+2] = v, v, v
			}
		}
		if j.mirror {
			for a, b := 0, j.size-1; a < b; a, b = a+1, b-1 {
				out[3*a], out[3*b] = out[3*b], out[3*a]
				out[3*a+1], out[3*b+1] = out[3*b+1], out[3*a+1]
				out[3*a+2], out[3*b+2] = out[3*b+2], out[3*a+2]
			}
		}
	}
}

// resampleLines resamples rows lines of in pixels at a distance of stride bytes from
// src into dst ([rows, n, ch]).
func (s *scratch) resampleLines(dst, src []uint8, stride, rows, in, n, ch int) {
	t := &s.h
	s.planes = grow(s.planes, int(C.arf_shrink_scratch(C.int(in), C.int(t.width), C.int(ch))))
	C.arf_shrink(cBytes(dst), cBytes(src), C.int64_t(stride), C.int(rows), C.int(in), C.int(n), C.int(ch),
		cInts(t.first), cInts(t.weights), C.int(t.width), cInts(s.planes))
}

// sumLines sums weighted lines of src into dst.
func sumLines(dst, src []uint8, stride int, weights []int32) {
	C.arf_sum(cBytes(dst), cBytes(src), C.int64_t(stride), C.int(len(dst)), cInts(weights), C.int(len(weights)))
}

func cBytes(s []uint8) *C.uint8_t { return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(s))) }
func cInts(s []int32) *C.int32_t  { return (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(s))) }

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
