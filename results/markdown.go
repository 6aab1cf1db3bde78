package results

import (
	"fmt"
	"math"
	"strings"

	"arf/report"
)

// Document replaces the tables in a Markdown text, which stand between
//
//	<!-- results: NAME -->
//	<!-- end -->
//
// with NAME main, shifts, differences, drift or sweep. The text around them is
// written by hand.
func (t *Table) Document(text string, comparisons []Comparison, sweep []Point) (string, error) {
	tables := map[string]func() string{
		"main": t.mainTable, "shifts": t.shiftTable, "drift": t.driftTable,
		"differences": func() string { return differenceTable(comparisons) },
		"sweep":       func() string { return sweepTable(sweep) },
	}
	var out strings.Builder
	for rest := text; ; {
		before, after, found := strings.Cut(rest, "<!-- results: ")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		name, after, ok := strings.Cut(after, " -->\n")
		table := tables[name]
		if !ok || table == nil {
			return "", fmt.Errorf("results: table %q in the document is not known; known are main, shifts, differences, drift and sweep", firstLine(name))
		}
		_, after, ok = strings.Cut(after, "<!-- end -->")
		if !ok {
			return "", fmt.Errorf("results: table %s in the document has no <!-- end -->", name)
		}
		fmt.Fprintf(&out, "<!-- results: %s -->\n%s<!-- end -->", name, table())
		rest = after
	}
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// points writes a share as percent points.
func points(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	text := fmt.Sprintf("%.1f", 100*v)
	if text == "-0.0" {
		text = "0.0"
	}
	return strings.Replace(text, "-", "−", 1)
}

func signed(v float64) string {
	if s := points(v); v > 0 && s != "0.0" {
		return "+" + s
	} else {
		return s
	}
}

func (s Score) String() string {
	if math.IsNaN(s.Std) {
		return points(s.Mean)
	}
	return points(s.Mean) + " ± " + points(s.Std)
}

// header is a table's first two lines.
func header(titles ...string) string {
	return "| " + strings.Join(titles, " | ") + " |\n|" + strings.Repeat("---|", len(titles)) + "\n"
}

// mainTable has the axes of every method; of the WiSE-FT models those halfway.
func (t *Table) mainTable() string {
	var b strings.Builder
	b.WriteString(header("method", "models", "ID", "average shift", "zero-shot"))
	for _, key := range t.Methods {
		if isWise(key) && !strings.HasSuffix(key, "-0.5") {
			continue
		}
		fmt.Fprintf(&b, "| %s | %d |", key, len(t.models[key]))
		for _, axis := range axes {
			fmt.Fprintf(&b, " %s |", t.Score(key, t.on(axis)))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// shiftTable has every shift.
func (t *Table) shiftTable() string {
	var b strings.Builder
	suites := t.on(Shift)
	titles := []string{"method"}
	for _, s := range suites {
		titles = append(titles, s.Name)
	}
	b.WriteString(header(titles...))
	for _, key := range t.Methods {
		if isWise(key) && !strings.HasSuffix(key, "-0.5") {
			continue
		}
		fmt.Fprintf(&b, "| %s |", key)
		for _, s := range suites {
			fmt.Fprintf(&b, " %s |", t.Score(key, []report.Suite{s}))
		}
		b.WriteString("\n")
	}
	b.WriteString("| *images, largest s.e.* |")
	for _, s := range suites {
		fmt.Fprintf(&b, " %d, %.1f |", s.Images, 50/math.Sqrt(float64(s.Images)))
	}
	b.WriteString("\n")
	return b.String()
}

// differenceTable sets differences whose interval leaves out zero in bold.
func differenceTable(comparisons []Comparison) string {
	var b strings.Builder
	b.WriteString(header("difference", "says", "ID", "average shift", "zero-shot"))
	for _, c := range comparisons {
		fmt.Fprintf(&b, "| %s − %s | %s |", c.A, c.B, c.Why)
		for _, axis := range axes {
			d, ok := c.On[axis]
			cell := "–"
			if ok {
				cell = fmt.Sprintf("%s (%s … %s)", signed(d.Mean), signed(d.Low), signed(d.High))
				if d.Clear() {
					cell = "**" + cell + "**"
				}
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// driftTable is of the finetuned models themselves.
func (t *Table) driftTable() string {
	columns := []struct{ key, label string }{
		{"image_cosine", "cosine of image features"}, {"text_cosine", "cosine of text features"},
		{"recall_image_to_text@1", "recall@1 image → text"}, {"recall_text_to_image@1", "recall@1 text → image"},
	}
	var b strings.Builder
	titles := []string{"method"}
	for _, c := range columns {
		titles = append(titles, c.label)
	}
	b.WriteString(header(titles...))
	for _, key := range t.Methods {
		drift := t.drift(key)
		if drift == nil {
			continue
		}
		fmt.Fprintf(&b, "| %s |", key)
		for _, c := range columns {
			v, ok := drift[c.key]
			if !ok {
				v = number(math.NaN())
			}
			fmt.Fprintf(&b, " %s |", points(float64(v)))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func sweepTable(sweep []Point) string {
	var b strings.Builder
	b.WriteString(header("method", "learning rate", "ID", "average shift", "zero-shot"))
	for _, p := range sweep {
		fmt.Fprintf(&b, "| %s | %g | %s | %s | %s |\n", p.Method, p.LR, p.Score[ID], p.Score[Shift], p.Score[ZeroShot])
	}
	return b.String()
}
