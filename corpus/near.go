package corpus

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

const (
	grid      = 16
	nearAlike = 0.97 // correlation of two prints from which on drawings count as one
	lowDims   = 24   // low-frequency coefficients that the search compares first
)

// fingerprint is a drawing at 16×16, as darkness: as it is on the canvas, and cut to its ink, which
// finds the same drawing with another margin.
type fingerprint struct{ Canvas, Cut [grid * grid]byte }

func fingerprintOf(rgb []byte) fingerprint {
	var ink [Size * Size]float32
	x0, y0, x1, y1 := Size, Size, -1, -1
	for i := range ink {
		r, g, b := float32(rgb[3*i]), float32(rgb[3*i+1]), float32(rgb[3*i+2])
		ink[i] = 255 - (0.299*r + 0.587*g + 0.114*b)
		if ink[i] > 24 {
			x0, x1 = min(x0, i%Size), max(x1, i%Size)
			y0, y1 = min(y0, i/Size), max(y1, i/Size)
		}
	}
	var p fingerprint
	shrink(&ink, 0, 0, Size, &p.Canvas)
	if x1 < 0 {
		return p
	}
	side := float32(max(x1-x0, y1-y0) + 1)
	shrink(&ink, float32(x0+x1+1)/2-side/2, float32(y0+y1+1)/2-side/2, side, &p.Cut)
	return p
}

// shrink averages the square at (left, top) down to the grid; what lies outside is white.
func shrink(ink *[Size * Size]float32, left, top, side float32, out *[grid * grid]byte) {
	cell := side / grid
	for gy := range grid {
		for gx := range grid {
			var sum, area float32
			ya, yb := top+float32(gy)*cell, top+float32(gy+1)*cell
			xa, xb := left+float32(gx)*cell, left+float32(gx+1)*cell
			for y := int(math.Floor(float64(ya))); float32(y) < yb; y++ {
				h := min(float32(y+1), yb) - max(float32(y), ya)
				for x := int(math.Floor(float64(xa))); float32(x) < xb; x++ {
					w := min(float32(x+1), xb) - max(float32(x), xa)
					area += w * h
					if x >= 0 && x < Size && y >= 0 && y < Size {
						sum += w * h * ink[y*Size+x]
					}
				}
			}
			out[gy*grid+gx] = byte(min(255, sum/area+0.5))
		}
	}
}

// unit is a print with mean 0 and length 1: the dot product of two is their correlation.
func unit(p *[grid * grid]byte, out *[grid * grid]float32) bool {
	var mean float32
	for _, v := range p {
		mean += float32(v)
	}
	mean /= grid * grid
	var norm float64
	for i, v := range p {
		out[i] = float32(v) - mean
		norm += float64(out[i]) * float64(out[i])
	}
	if norm < 1 {
		return false
	}
	scale := float32(1 / math.Sqrt(norm))
	for i := range out {
		out[i] *= scale
	}
	return true
}

// basis are the lowest 2-D cosine waves without the constant one, orthonormal, by frequency: a
// projection on them never makes two prints look further apart than they are.
var basis = sync.OnceValue(func() *[lowDims][grid * grid]float32 {
	type wave struct{ u, v int }
	var waves []wave
	for u := range grid {
		for v := range grid {
			if u+v > 0 {
				waves = append(waves, wave{u, v})
			}
		}
	}
	slices.SortStableFunc(waves, func(a, b wave) int { return a.u*a.u + a.v*a.v - b.u*b.u - b.v*b.v })
	var out [lowDims][grid * grid]float32
	for k, w := range waves[:lowDims] {
		for y := range grid {
			for x := range grid {
				c := math.Cos(math.Pi*(float64(y)+.5)*float64(w.u)/grid) * math.Cos(math.Pi*(float64(x)+.5)*float64(w.v)/grid) * 2 / grid
				if w.u == 0 {
					c /= math.Sqrt2
				}
				if w.v == 0 {
					c /= math.Sqrt2
				}
				out[k][y*grid+x] = float32(c)
			}
		}
	}
	return &out
})

func project(u *[grid * grid]float32, out *[lowDims]float32) {
	b := basis()
	for k := range out {
		var sum float32
		for i, v := range u {
			sum += v * b[k][i]
		}
		out[k] = sum
	}
}

// view picks one of the two prints of an icon.
type view func(*icon) *[grid * grid]byte

func canvasView(ic *icon) *[grid * grid]byte { return &ic.Print.Canvas }
func cutView(ic *icon) *[grid * grid]byte    { return &ic.Print.Cut }

// nearIndex finds drawings that look like given ones. Prints lie in cells by their first three
// coefficients; what is alike lies in the same cell or one beside it.
type nearIndex struct {
	icons []*icon
	view  view
	alike float32
	reach float32 // distance of unit vectors with that correlation
	start []int32 // of every cell in entries
	first [][4]float32
	rest  [][lowDims - 4]float32
	order []int32 // index into icons
}

// newNearIndex indexes icons by one view, to find those that correlate by at least alike.
func newNearIndex(icons []*icon, v view, alike float32) *nearIndex {
	x := &nearIndex{icons: icons, view: v, alike: alike, reach: float32(math.Sqrt(float64(2 - 2*alike)))}
	low := make([][lowDims]float32, len(icons))
	cells := make([]int, len(icons))
	var u [grid * grid]float32
	for i, ic := range icons {
		if unit(v(ic), &u) {
			project(&u, &low[i])
			a, b, c := x.cell(low[i][0]), x.cell(low[i][1]), x.cell(low[i][2])
			cells[i] = x.index(a, b, c)
			x.order = append(x.order, int32(i))
		}
	}
	slices.SortStableFunc(x.order, func(a, b int32) int { return cells[a] - cells[b] })
	side := x.side()
	x.start = make([]int32, side*side*side+1)
	for _, i := range x.order {
		x.start[cells[i]+1]++
		x.first = append(x.first, [4]float32(low[i][:4]))
		x.rest = append(x.rest, [lowDims - 4]float32(low[i][4:]))
	}
	for c := 1; c < len(x.start); c++ {
		x.start[c] += x.start[c-1]
	}
	return x
}

// Coefficients of unit vectors lie in [-1,1].
func (x *nearIndex) cell(c float32) int    { return int((c + 1) / x.reach) }
func (x *nearIndex) side() int             { return x.cell(1) + 1 }
func (x *nearIndex) index(a, b, c int) int { return (a*x.side()+b)*x.side() + c }

// search calls found for icons of the index that look like ic, until found returns false.
func (x *nearIndex) search(ic *icon, found func(other *icon) bool) {
	var u, w [grid * grid]float32
	var low [lowDims]float32
	if !unit(x.view(ic), &u) {
		return
	}
	project(&u, &low)
	limit := x.reach * x.reach
	head, tail := low[:4], low[4:]
	last := x.side() - 1
	ca, cb, cc := x.cell(low[0]), x.cell(low[1]), x.cell(low[2])
	for a := max(0, ca-1); a <= min(last, ca+1); a++ {
		for b := max(0, cb-1); b <= min(last, cb+1); b++ {
			// Cells that differ in the last coefficient only lie side by side.
			from, to := x.start[x.index(a, b, max(0, cc-1))], x.start[x.index(a, b, min(last, cc+1))+1]
		candidates:
			for k := from; k < to; k++ {
				f := &x.first[k]
				d0, d1, d2, d3 := head[0]-f[0], head[1]-f[1], head[2]-f[2], head[3]-f[3]
				far := d0*d0 + d1*d1 + d2*d2 + d3*d3
				if far > limit {
					continue
				}
				r := &x.rest[k]
				for c := 0; c < len(r); c += 4 {
					d0, d1, d2, d3 := tail[c]-r[c], tail[c+1]-r[c+1], tail[c+2]-r[c+2], tail[c+3]-r[c+3]
					if far += d0*d0 + d1*d1 + d2*d2 + d3*d3; far > limit {
						continue candidates
					}
				}
				other := x.icons[x.order[k]]
				unit(x.view(other), &w)
				var dot float32
				for i := range u {
					dot += u[i] * w[i]
				}
				if dot >= x.alike && !found(other) {
					return
				}
			}
		}
	}
}

// nearDuplicates reports which of icons look like one of the others.
func nearDuplicates(ctx context.Context, icons, others []*icon, alike float32, progress func(done, total int)) ([]bool, error) {
	near := make([]bool, len(icons))
	var done atomic.Int64
	var mu sync.Mutex
	for _, v := range []view{canvasView, cutView} {
		index := newNearIndex(others, v, alike)
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(runtime.GOMAXPROCS(0))
		const block = 2048
		for start := 0; start < len(icons); start += block {
			group.Go(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				end := min(start+block, len(icons))
				for i := start; i < end; i++ {
					if !near[i] {
						index.search(icons[i], func(*icon) bool {
							near[i] = true
							return false
						})
					}
				}
				if progress != nil {
					mu.Lock()
					progress(int(done.Add(int64(end-start))), 2*len(icons))
					mu.Unlock()
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return nil, err
		}
	}
	return near, nil
}
