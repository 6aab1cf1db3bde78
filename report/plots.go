package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// allMethods are those evaluated and those only trained, in display order.
func (r *Run) allMethods() []string {
	out := slices.Clone(r.Methods)
	for method := range r.training {
		if !slices.Contains(out, method) {
			out = append(out, method)
		}
	}
	slices.SortFunc(out, compareMethods)
	return out
}

// scatter plots ID accuracy against the average over the test sets of role: the
// pretrained model, every finetuned one, and the WiSE-FT curve between them.
// nil when there are fewer than two points.
func (r *Run) scatter(id, role, label string) *chart {
	if len(r.suites(RoleID)) == 0 || len(r.suites(role)) == 0 {
		return nil
	}
	type series struct {
		method string
		points []curvePoint
	}
	var all []series
	lox, hix, loy, hiy := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	count := 0
	for _, method := range r.Methods {
		s := series{method, r.curve(method, role)}
		for _, p := range s.points {
			lox, hix = min(lox, p.X.Mean), max(hix, p.X.Mean)
			loy, hiy = min(loy, p.Y.Mean), max(hiy, p.Y.Mean)
			count++
		}
		all = append(all, s)
	}
	if count < 2 {
		return nil
	}
	c := &chart{ID: id, Title: "ID against " + strings.ToLower(label), W: 560, H: 416, Left: 62, Right: 540, Top: 18, Base: 362,
		XLabel: "ID top-1, %", YLabel: label + " top-1, %"}
	padX, padY := 0.06*(hix-lox), 0.10*(hiy-loy)
	x, xt := niceAxis(lox-padX, hix+padX, 6, c.Left, c.Right, percentTick)
	y, yt := niceAxis(loy-padY, hiy+padY, 6, c.Base, c.Top, percentTick)
	c.XTicks, c.YTicks = xt, yt
	var said []string
	var ends []mark // drawn last, on top
	for _, s := range all {
		look := r.look(s.method)
		var px, py []float64
		for _, p := range s.points {
			c.Table = append(c.Table, []string{s.method, fmt.Sprintf("%.4g", p.Alpha), points(p.X.Mean), points(p.Y.Mean)})
			at := [2]float64{x.at(p.X.Mean), y.at(p.Y.Mean)}
			px, py = append(px, at[0]), append(py, at[1])
			m := mark{X: at[0], Y: at[1], Class: fmt.Sprintf("m%d", look), D: shape(look, at[0], at[1], 3.2),
				Tip: tip(s.method, p, label)}
			switch {
			case p.Alpha == 1:
				m.End = true
				m.Class += " end"
				m.D = shape(look, at[0], at[1], 6.5)
				said = append(said, fmt.Sprintf("%s: ID %s, %s %s", s.method, points(p.X.Mean), strings.ToLower(label), points(p.Y.Mean)))
				if s.method == Pretrained {
					c.Guides = append(c.Guides, guide{c.Left, at[1], c.Right, at[1]}, guide{at[0], c.Top, at[0], c.Base})
				}
			case p.Alpha == halfway:
				m.Label, m.Anchor, m.DX, m.DY = "α=0.5", "middle", 0, -10
			case p.Alpha == 0:
				continue // the pretrained model's own mark is there
			}
			if m.End {
				ends = append(ends, m)
			} else {
				c.Marks = append(c.Marks, m)
			}
		}
		if len(px) > 1 {
			c.Lines = append(c.Lines, stroke{fmt.Sprintf("m%d", look), polyline(px, py)})
		}
	}
	c.Marks = append(c.Marks, ends...)
	c.Desc = "Scatter plot, top-1 accuracy in percent. " + strings.Join(said, "; ") + "."
	return c
}

func tip(method string, p curvePoint, label string) string {
	name := method
	switch {
	case method == Pretrained:
		name += " (pretrained)"
	case p.Alpha == 1:
		name += " (finetuned, α = 1)"
	default:
		name += fmt.Sprintf(", WiSE-FT α = %.4g", p.Alpha)
	}
	one := func(label string, s Score) string {
		text := label + " " + points(s.Mean) + " %"
		if !math.IsNaN(s.Spread) {
			text += fmt.Sprintf(" ± %s over %d seeds", points(s.Spread), s.Seeds)
		}
		if !math.IsNaN(s.Error) {
			text += ", standard error " + points(s.Error)
		}
		return text
	}
	return name + "\n" + one("ID", p.X) + "\n" + one(label, p.Y)
}

// trainingCharts draws one panel a quantity that was logged, all methods on
// one axis of steps.
func (r *Run) trainingCharts() []*chart {
	if len(r.training) == 0 {
		return nil
	}
	width, count := r.bins()
	var out []*chart
	for i, q := range r.quantities() {
		var bands []band
		lo, hi := math.Inf(1), math.Inf(-1)
		for _, method := range r.allMethods() {
			if len(r.training[method]) == 0 {
				continue
			}
			b, ok := r.band(method, q)
			if !ok {
				continue
			}
			bands = append(bands, b)
			for j := range b.Mean {
				if !math.IsNaN(b.Mean[j]) {
					lo, hi = min(lo, b.Low[j]), max(hi, b.Top[j])
				}
			}
		}
		if len(bands) == 0 {
			continue
		}
		c := &chart{ID: fmt.Sprintf("training-%d", i), Title: q.Label, W: 400, H: 250, Left: 54, Right: 388, Top: 12, Base: 204, XLabel: "step"}
		x := axis{0, width * float64(count), c.Left, c.Right}
		c.XTicks = x.ticks(niceStep(x.lo, x.hi, 5), plainTick)
		y, yt := niceAxis(lo, hi, 4, c.Base, c.Top, plainTick)
		c.YTicks = yt
		c.Hover = &hover{Name: "step"}
		px := make([]float64, count)
		for j := range px {
			px[j] = x.at((float64(j) + 0.5) * width)
			c.Hover.X = append(c.Hover.X, math.Round(px[j]*10)/10)
			c.Hover.Labels = append(c.Hover.Labels, stepLabel(float64(j)*width, float64(j+1)*width))
		}
		var said []string
		for _, b := range bands {
			class := fmt.Sprintf("m%d", r.look(b.Method))
			mean, low, top := make([]float64, count), make([]float64, count), make([]float64, count)
			values := make([]string, count)
			last := math.NaN()
			for j := range mean {
				mean[j], low[j], top[j] = y.at(b.Mean[j]), y.at(b.Low[j]), y.at(b.Top[j])
				if values[j] = "–"; !math.IsNaN(b.Mean[j]) {
					last = b.Mean[j]
					values[j] = short(last)
				}
			}
			if len(r.training[b.Method]) > 1 {
				c.Areas = append(c.Areas, stroke{class, ribbon(px, low, top)})
			}
			c.Lines = append(c.Lines, stroke{class, polyline(px, mean)})
			c.Hover.Series = append(c.Hover.Series, hoverSeries{b.Method, values})
			said = append(said, fmt.Sprintf("%s ends at %s", b.Method, short(last)))
		}
		c.Desc = fmt.Sprintf("Line plot of %s over steps. %s.", q.Label, strings.Join(said, "; "))
		out = append(out, c)
	}
	return out
}

// stepLabel names the steps of a bin.
func stepLabel(from, to float64) string {
	a, b := int(math.Ceil(from)), int(math.Ceil(to))-1
	if b <= a {
		return fmt.Sprintf("step %d", a)
	}
	return fmt.Sprintf("steps %d–%d", a, b)
}

// short is a number with four digits.
func short(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	if a := math.Abs(v); a != 0 && (a < 1e-3 || a >= 1e5) {
		return scientific(v)
	}
	return strings.Replace(fmt.Sprintf("%.4g", v), "-", "−", 1)
}
