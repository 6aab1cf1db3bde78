package report

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"arf/config"
)

// Table writes the results for a terminal: top-1 accuracy in percent, mean ±
// standard deviation over seeds, the best of each column marked with *, then
// the verdict on each finetuned method.
func (r *Run) Table(w io.Writer) error {
	out := bufio.NewWriter(w) // its first error sticks until Flush
	tab := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	columns, rows := r.columns(), r.rows(metrics[0])
	fmt.Fprint(tab, "top-1, %")
	for _, c := range columns {
		fmt.Fprintf(tab, "\t%s", plain(c.Label))
	}
	fmt.Fprint(tab, "\nrole")
	for _, c := range columns {
		fmt.Fprintf(tab, "\t%s", c.Role)
	}
	fmt.Fprint(tab, "\nimages")
	for _, c := range columns {
		if c.Average {
			fmt.Fprintf(tab, "\t%d sets", len(c.Suites))
		} else {
			fmt.Fprintf(tab, "\t%d", c.Suites[0].Images)
		}
	}
	fmt.Fprintln(tab)
	for _, row := range rows {
		fmt.Fprint(tab, plain(row.Label()))
		for _, c := range row.Cells {
			text := points(c.Mean)
			if !math.IsNaN(c.Spread) {
				text += " ± " + points(c.Spread)
			}
			if c.Best {
				text += " *"
			}
			fmt.Fprintf(tab, "\t%s", text)
		}
		fmt.Fprintln(tab)
	}
	fmt.Fprint(tab, "standard error")
	for _, e := range standardErrors(rows, len(columns)) {
		fmt.Fprintf(tab, "\t%s", points(e))
	}
	fmt.Fprintln(tab)
	if err := tab.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "* the best of its column")
	for _, p := range r.Prompts() {
		fmt.Fprintf(out, "prompts of %s: %s\n", plain(list(p.Suites)), plain(config.PromptsInWords(p.Templates)))
	}
	for _, method := range r.finetuned() {
		v := r.Verdict(method)
		fmt.Fprintf(out, "\nDid %s break anything? %s\n", plain(method), plain(v.Headline()))
		for _, a := range v.Axes {
			if d := a.Difference; !math.IsNaN(d.Delta) {
				fmt.Fprintf(out, "  %-18s %s ± %s points (%s)\n", a.Label, signed(d.Delta), points(z95*d.Error), d.Call())
			}
		}
	}
	fmt.Fprintf(out, "\n%s\n", spreadNote(len(r.Seeds)))
	for _, text := range r.Warnings {
		fmt.Fprintf(out, "warning: %s\n", plain(text))
	}
	return out.Flush()
}

// spreadNote says what ± means.
func spreadNote(seeds int) string {
	if seeds < 2 {
		return "One seed: the spread over seeds is unknown. In the verdict, ± is half of a 95% interval."
	}
	return fmt.Sprintf("In the table, ± is the standard deviation over %d seeds; in the verdict, half of a 95%% interval.", seeds)
}

// plain drops control characters, which a terminal would obey.
func plain(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 {
			return ' '
		}
		return c
	}, s)
}
