package results

import (
	"bytes"
	"fmt"
	"math"
	"slices"

	"arf/report"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Figure draws ID accuracy against another axis as SVG: every method, its
// learning rates joined by a line, and the WiSE-FT curves. At equal ID, right
// below and above each other, methods can be compared.
func (t *Table) Figure(axis Axis, sweep []Point) ([]byte, error) {
	p := plot.New()
	p.X.Label.Text = "ID top-1, %"
	p.Y.Label.Text = map[Axis]string{Shift: "average shift top-1, %", ZeroShot: "zero-shot top-1, %"}[axis]
	p.Add(plotter.NewGrid())
	at := func(id, other Score) plotter.XY { return plotter.XY{X: 100 * id.Mean, Y: 100 * other.Mean} }
	look := 0
	add := func(name string, xys plotter.XYs, joined bool) error {
		// What wasn't evaluated on both axes has no place.
		xys = slices.DeleteFunc(xys, func(xy plotter.XY) bool { return math.IsNaN(xy.X) || math.IsNaN(xy.Y) })
		if len(xys) == 0 {
			return nil
		}
		points, err := plotter.NewScatter(xys)
		if err != nil {
			return fmt.Errorf("results: draw %s: %w", name, err)
		}
		points.Color, points.Shape, points.Radius = plotutil.Color(look), plotutil.Shape(look), vg.Points(4)
		thumbs := []plot.Thumbnailer{points}
		if joined && len(xys) > 1 {
			line, err := plotter.NewLine(xys)
			if err != nil {
				return fmt.Errorf("results: draw %s: %w", name, err)
			}
			line.Color, line.Dashes = plotutil.Color(look), plotutil.Dashes(look)
			p.Add(line)
			thumbs = append(thumbs, line)
		}
		p.Add(points)
		p.Legend.Add(name, thumbs...)
		look++
		return nil
	}
	score := func(key string) plotter.XY { return at(t.Score(key, t.on(ID)), t.Score(key, t.on(axis))) }
	var swept []string
	for _, point := range sweep {
		if !slices.Contains(swept, point.Method) {
			swept = append(swept, point.Method)
		}
	}
	for _, key := range t.Methods {
		if isWise(key) || slices.Contains(swept, key) {
			continue
		}
		if err := add(key, plotter.XYs{score(key)}, false); err != nil {
			return nil, err
		}
	}
	for _, method := range swept {
		var xys plotter.XYs
		for _, point := range sweep {
			if point.Method == method {
				xys = append(xys, at(point.Score[ID], point.Score[axis]))
			}
		}
		if err := add(method+", learning rates", xys, true); err != nil {
			return nil, err
		}
	}
	for _, method := range t.Methods {
		xys := plotter.XYs{}
		for _, key := range t.curve(method) {
			xys = append(xys, score(key))
		}
		if len(xys) == 0 {
			continue
		}
		ends := plotter.XYs{score(report.Pretrained)}
		if err := add(method+", WiSE-FT", append(append(ends, xys...), score(method)), true); err != nil {
			return nil, err
		}
	}
	// Room around the marks.
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		pad := 0.08 * (a.Max - a.Min)
		a.Min, a.Max = a.Min-pad, a.Max+pad
	}
	// The legend stands beside the plot, where it hides nothing.
	legend := p.Legend
	legend.Top, legend.Left, legend.Padding = true, true, vg.Points(2)
	p.Legend = plot.NewLegend()
	const width, height, beside = 25 * vg.Centimeter, 12 * vg.Centimeter, 8.5 * vg.Centimeter
	canvas := vgsvg.New(width, height)
	all := draw.New(canvas)
	p.Draw(draw.Crop(all, 0, -beside, 0, 0))
	legend.Draw(draw.Crop(all, width-beside+vg.Points(8), 0, 0, -vg.Points(4)))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("results: draw: %w", err)
	}
	return b.Bytes(), nil
}
