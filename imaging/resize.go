package imaging

import (
	"encoding/binary"
	"math"
	"sync"
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
// weights[i*width+k]·source[first[i]+k], k < count[i].
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
	t.width = int(math.Ceil(support))*2 + 1
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
		t.first[i], t.count[i] = int32(lo), int32(hi-lo)
	}
}

// scratch is what one resize needs; pooled, since the loader resizes thousands
// of pictures a second.
type scratch struct {
	h, v  taps
	lines []uint8
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
		for y := range rows {
			from, to := lines[y*stride:], s.lines[y*j.size*ch:(y+1)*j.size*ch]
			if ch == 1 {
				s.h.line1(to, from)
			} else {
				s.h.line3(to, from)
			}
		}
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
			column(line, lines[first*lineStride:], lineStride, weights)
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

func (t *taps) line1(dst, src []uint8) {
	for i := range dst {
		n := int(t.count[i])
		w := t.weights[i*t.width:][:n]
		p := src[t.first[i]:][:n]
		sum := int32(1 << (precision - 1))
		for k, v := range p {
			sum += int32(v) * w[k]
		}
		dst[i] = clip(sum)
	}
}

func (t *taps) line3(dst, src []uint8) {
	for i := 0; len(dst) >= 3; i++ {
		n := int(t.count[i])
		w := t.weights[i*t.width:][:n]
		p := src[3*int(t.first[i]):][:3*n]
		r, g, b := int32(1<<(precision-1)), int32(1<<(precision-1)), int32(1<<(precision-1))
		for k := 0; k < len(w) && len(p) >= 3; k++ {
			r += int32(p[0]) * w[k]
			g += int32(p[1]) * w[k]
			b += int32(p[2]) * w[k]
			p = p[3:]
		}
		dst[0], dst[1], dst[2] = clip(r), clip(g), clip(b)
		dst = dst[3:]
	}
}

// column sums weighted lines of src into one line. Two bytes share a 64-bit
// word, 32 bits each, so that one multiplication serves both; lanes keeps the
// lower sum from going below zero and borrowing from the upper one.
func column(dst, src []uint8, stride int, weights []int32) {
	const (
		pair  = 0x000000FF_000000FF
		bias  = 1 << 30
		start = bias + 1<<(precision-1)
		lanes = start<<32 | start
	)
	i := 0
	for ; i+8 <= len(dst); i += 8 {
		a, b, c, d := uint64(lanes), uint64(lanes), uint64(lanes), uint64(lanes)
		at := i
		for _, w := range weights {
			v, w := binary.LittleEndian.Uint64(src[at:]), uint64(int64(w))
			a += v & pair * w
			b += v >> 8 & pair * w
			c += v >> 16 & pair * w
			d += v >> 24 & pair * w
			at += stride
		}
		out := dst[i : i+8]
		for k, v := range [4]uint64{a, b, c, d} {
			out[k] = clip(int32(int64(v&(1<<32-1)) - bias))
			out[k+4] = clip(int32(int64(v>>32) - bias))
		}
	}
	for ; i < len(dst); i++ {
		sum := int32(1 << (precision - 1))
		for k, w := range weights {
			sum += int32(src[k*stride+i]) * w
		}
		dst[i] = clip(sum)
	}
}

func clip(v int32) uint8 {
	v >>= precision
	if uint32(v) > 255 {
		if v < 0 {
			return 0
		}
		return 255
	}
	return uint8(v)
}

func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
