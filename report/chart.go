package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// chart is a plot in SVG user units, ready for the template: every position is
// computed here, every colour comes from the page's style sheet, so that one
// drawing serves light, dark and print.
type chart struct {
	ID, Title, Desc        string // Desc is what a screen reader says
	W, H                   float64
	Left, Right, Top, Base float64 // edges of the plot area
	XLabel, YLabel         string
	XTicks, YTicks         []tick
	Guides                 []guide
	Areas, Lines           []stroke
	Marks                  []mark
	Hover                  *hover
	Table                  [][]string // method, α, x, y: the same for those who can't see
}

type tick struct {
	At    float64
	Label string
}

// guide is a dashed line across the plot at the pretrained model's value.
type guide struct{ X1, Y1, X2, Y2 float64 }

type stroke struct{ Class, D string }

// mark is a point with a tooltip; Tip's lines are joined by line breaks.
type mark struct {
	Class, D, Tip string
	X, Y          float64
	Label, Anchor string // text beside the mark, and where it starts
	DX, DY        float64
	End           bool // a whole model, not one on the way: large, can be focused
}

// hover is what a crosshair shows: one value a series at each x.
type hover struct {
	Name   string        `json:"name"` // of x
	X      []float64     `json:"x"`    // in user units
	Labels []string      `json:"labels"`
	Series []hoverSeries `json:"series"`
}

type hoverSeries struct {
	Name   string   `json:"name"`
	Values []string `json:"values"`
}

// axis maps data to user units.
type axis struct{ lo, hi, from, to float64 }

func (a axis) at(v float64) float64 {
	return a.from + (v-a.lo)/(a.hi-a.lo)*(a.to-a.from)
}

// niceStep is a round distance (1, 2 or 5 times a power of ten) that divides
// [lo, hi] into at most n parts.
func niceStep(lo, hi float64, n int) float64 {
	raw := (hi - lo) / float64(n)
	magnitude := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if raw <= m*magnitude*1.0001 {
			return m * magnitude
		}
	}
	return 10 * magnitude
}

// niceAxis widens [lo, hi] to round ticks, about n of them. With one value, or
// none, it makes some room around it.
func niceAxis(lo, hi float64, n int, from, to float64, label func(v, step float64) string) (axis, []tick) {
	if !(hi-lo > 1e-7*math.Max(math.Abs(lo), math.Abs(hi))) {
		pad := math.Max(math.Abs(lo)*0.1, 1e-3)
		lo, hi = lo-pad, hi+pad
	}
	step := niceStep(lo, hi, n)
	first, last := math.Floor(lo/step+1e-9), math.Ceil(hi/step-1e-9)
	a := axis{lo: first * step, hi: last * step, from: from, to: to}
	return a, a.ticks(step, label)
}

// ticks at the multiples of step.
func (a axis) ticks(step float64, label func(v, step float64) string) []tick {
	var out []tick
	for i := math.Ceil(a.lo/step - 1e-9); i*step <= a.hi*(1+1e-9)+1e-9*step; i++ {
		out = append(out, tick{At: a.at(i * step), Label: label(i*step, step)})
	}
	return out
}

// percentTick labels a share as percent.
func percentTick(v, step float64) string {
	decimals := 0
	if step < 0.0099 {
		decimals = 1
	}
	return strings.Replace(strconv.FormatFloat(100*v, 'f', decimals, 64), "-", "−", 1)
}

// plainTick labels any number with as many decimals as the step needs.
func plainTick(v, step float64) string {
	if math.Abs(v) < step/2 {
		return "0"
	}
	if step < 1e-3 || step >= 1e6 {
		return scientific(v)
	}
	decimals := max(0, int(math.Ceil(-math.Log10(step)-1e-9)))
	return strings.Replace(strconv.FormatFloat(v, 'f', decimals, 64), "-", "−", 1)
}

// scientific writes 0.00003 as 3e-5.
func scientific(v float64) string {
	s := fmt.Sprintf("%.3g", v)
	if math.Abs(v) < 1e-2 { // %g goes over to exponents only below 1e-4
		mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(v, 'e', 2, 64), "e")
		s = strings.TrimRight(strings.TrimRight(mantissa, "0"), ".") + "e" + exponent
	}
	s = strings.Replace(s, "e-0", "e-", 1)
	s = strings.Replace(s, "e+0", "e", 1)
	s = strings.Replace(s, "e+", "e", 1)
	return strings.ReplaceAll(s, "-", "−")
}

// polyline draws the finite points and leaves a gap at the others.
func polyline(x, y []float64) string {
	var b strings.Builder
	pen := byte('M')
	for i := range x {
		if math.IsNaN(y[i]) {
			pen = 'M'
			continue
		}
		fmt.Fprintf(&b, "%c%.1f %.1f", pen, x[i], y[i])
		pen = 'L'
	}
	return b.String()
}

// ribbon is the area between low and top, one piece a run of finite points.
func ribbon(x, low, top []float64) string {
	var b strings.Builder
	for start := 0; start < len(x); {
		if math.IsNaN(low[start]) {
			start++
			continue
		}
		end := start
		for end < len(x) && !math.IsNaN(low[end]) {
			end++
		}
		pen := byte('M')
		for i := start; i < end; i++ {
			fmt.Fprintf(&b, "%c%.1f %.1f", pen, x[i], top[i])
			pen = 'L'
		}
		for i := end - 1; i >= start; i-- {
			fmt.Fprintf(&b, "L%.1f %.1f", x[i], low[i])
		}
		b.WriteByte('Z')
		start = end
	}
	return b.String()
}

// looks are the shapes that tell the methods apart without colour, in the order
// of the style sheet's classes m0, m1, …: star, triangle, square, diamond,
// inverted triangle, circle, and a pentagon and a cross for methods of others.
const looks = 8

// look is a method's place among the looks.
func (r *Run) look(method string) int {
	own := known[:published]
	if i := slices.Index(own, method); i >= 0 {
		return i
	}
	others := slices.DeleteFunc(r.allMethods(), func(m string) bool { return slices.Contains(own, m) })
	return len(own) + slices.Index(others, method)%(looks-len(own))
}

// shape draws a method's marker around (x, y) with radius about s.
func shape(look int, x, y, s float64) string {
	polygon := func(n int, turn, radius, inner float64) string {
		var b strings.Builder
		points := n
		if inner > 0 {
			points = 2 * n
		}
		for i := range points {
			q := radius
			if inner > 0 && i%2 == 1 {
				q = inner
			}
			angle := turn + 2*math.Pi*float64(i)/float64(points)
			fmt.Fprintf(&b, "%c%.2f %.2f", "ML"[min(i, 1)], x+q*math.Cos(angle), y+q*math.Sin(angle))
		}
		return b.String() + "Z"
	}
	const up, down = -math.Pi / 2, math.Pi / 2
	switch look {
	case 0:
		return polygon(5, up, 1.6*s, 0.7*s)
	case 1:
		return polygon(3, up, 1.3*s, 0)
	case 2:
		return polygon(4, math.Pi/4, 1.25*s, 0)
	case 3:
		return polygon(4, 0, 1.3*s, 0)
	case 4:
		return polygon(3, down, 1.3*s, 0)
	case 5:
		return fmt.Sprintf("M%.2f %.2fa%.2f %.2f 0 1 0 %.2f 0a%.2f %.2f 0 1 0 %.2f 0Z", x-s, y, s, s, 2*s, s, s, -2*s)
	case 6:
		return polygon(5, up, 1.15*s, 0)
	}
	return polygon(4, 0, 1.5*s, 0.55*s)
}
