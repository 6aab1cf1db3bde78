package suite

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"arf/eval"
	"arf/internal/atomicfile"
)

// Row is a line of the table: a test, or a mean over several.
type Row struct {
	Suite, Set string
	Role       string
	Sets       int    // that a mean is over; 0 for a test
	Images     int    // measured
	Of         int    // images of the complete set; 0 is unknown
	Classes    int    // that competed
	Metric     string // that Value is; named as in the JSON
	Value      float64
	Class      *eval.Result
	Captions   *eval.RetrievalResult
	// Effective is the effective robustness, Difference the plain difference to
	// the baselines' mean; nil without baseline.
	Effective, Difference *float64
}

// Table is the results of a model and their means.
type Table struct{ Rows []Row }

// Tabulate lists the outcomes by suite, with the means: over all sets in their
// own metrics; over the shifts (average OOD) where a suite has any; over base and
// new classes, and their harmonic mean (Zhou et al., CVPR 2022: of the means), in
// a suite of halves.
func Tabulate(outcomes []Outcome) Table {
	var t Table
	for from := 0; from < len(outcomes); {
		to := from
		for to < len(outcomes) && outcomes[to].Test.Suite == outcomes[from].Test.Suite {
			to++
		}
		t.Rows = append(t.Rows, tabulate(outcomes[from:to])...)
		from = to
	}
	return t
}

func tabulate(outcomes []Outcome) []Row {
	var rows []Row
	halves := map[string][]float64{}
	for i := range outcomes {
		row := outcomes[i].row()
		rows = append(rows, row)
		half := outcomes[i].Test.Half
		if half == "" {
			continue
		}
		halves[half] = append(halves[half], row.Value)
		// The two halves of a set follow each other.
		if half == "new" && i > 0 && outcomes[i-1].Test.Set == outcomes[i].Test.Set {
			rows = append(rows, Row{
				Suite: row.Suite, Set: outcomes[i].Test.Set.Name + " H", Sets: 2, Metric: "harmonic mean",
				Value: harmonic(rows[len(rows)-2].Value, row.Value),
			})
		}
	}
	suite := rows[0].Suite
	if len(halves["base"]) > 0 && len(halves["new"]) > 0 {
		base, fresh := mean(halves["base"]), mean(halves["new"])
		return append(rows,
			Row{Suite: suite, Set: "average base", Sets: len(halves["base"]), Metric: eval.Acc1, Value: base},
			Row{Suite: suite, Set: "average new", Sets: len(halves["new"]), Metric: eval.Acc1, Value: fresh},
			Row{Suite: suite, Set: "average H", Sets: len(halves["base"]) + len(halves["new"]), Metric: "harmonic mean", Value: harmonic(base, fresh)})
	}
	var all, shifts []float64
	metric := ""
	for _, r := range rows {
		if r.Captions != nil {
			continue
		}
		all = append(all, r.Value)
		if r.Role == "shift" {
			shifts = append(shifts, r.Value)
		}
		if metric == "" || metric == r.Metric {
			metric = r.Metric
		} else {
			metric = "each set's"
		}
	}
	switch {
	case len(shifts) > 0:
		rows = append(rows, Row{Suite: suite, Set: "average OOD", Role: "shift", Sets: len(shifts), Metric: metric, Value: mean(shifts)})
	case len(all) > 1:
		rows = append(rows, Row{Suite: suite, Set: "average", Sets: len(all), Metric: metric, Value: mean(all)})
	}
	return rows
}

func (o *Outcome) row() Row {
	r := Row{Suite: o.Test.Suite, Set: o.Test.Name(), Role: o.Test.Set.Role, Of: o.Test.Set.Images, Class: o.Class, Captions: o.Captions}
	if c := o.Captions; c != nil {
		r.Images, r.Metric, r.Value = c.Images, c.MainMetric, c.Metrics.Text[0]
		return r
	}
	r.Images, r.Classes, r.Metric, r.Value = o.Class.Images, o.Class.Classes, o.Class.MainMetric, o.Class.Main()
	if o.Test.Half != "" {
		r.Of = 0
	}
	return r
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

func harmonic(a, b float64) float64 {
	if a+b == 0 {
		return 0
	}
	return 2 * a * b / (a + b)
}

// metricNames are the headings of a row's metric.
var metricNames = map[string]string{eval.Acc1: "accuracy", eval.MeanPerClassRecall: "mean per class", "text_retrieval_recall@1": "recall@1"}

// Print writes the table for people, in per cent.
func (t Table) Print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	suite, retrieval := "", false
	for i, r := range t.Rows {
		if i == 0 || r.Suite != suite || (r.Captions != nil) != retrieval {
			if i > 0 {
				fmt.Fprintln(w)
			}
			suite, retrieval = r.Suite, r.Captions != nil
			if retrieval {
				fmt.Fprintf(w, "%s\timages\tcaptions\timage to text @1\t@5\t@10\ttext to image @1\t@5\t@10\n", heading(suite))
			} else {
				fmt.Fprintf(w, "%s\timages\tclasses\tmetric\tvalue\tacc1\tacc5\tmean per class\tECE\thead%s\n", heading(suite), t.robustnessHeading(suite))
			}
		}
		r.print(w)
	}
	return w.Flush()
}

func heading(suite string) string {
	if suite == "" {
		return "test set"
	}
	return suite
}

func (t Table) robustnessHeading(suite string) string {
	text := ""
	for _, r := range t.Rows {
		switch {
		case r.Suite != suite:
		case r.Effective != nil:
			return "\tover baseline\teffective robustness"
		case r.Difference != nil:
			text = "\tover baseline"
		}
	}
	return text
}

func (r *Row) print(w io.Writer) {
	if c := r.Captions; c != nil {
		fmt.Fprintf(w, "%s\t%d%s\t%d", r.Set, c.Images, spokenBroken(c.Broken), c.Texts)
		for _, v := range [][3]float64{c.Metrics.Text, c.Metrics.Image} {
			for _, x := range v {
				fmt.Fprint(w, "\t"+percent(x))
			}
		}
		fmt.Fprintln(w)
		return
	}
	metric := r.Metric
	if name, ok := metricNames[metric]; ok {
		metric = name
	}
	if r.Class == nil {
		name := r.Set
		if strings.HasPrefix(name, "average") && name != "average H" {
			unit := "sets"
			if r.Sets == 1 {
				unit = "set"
			}
			name = fmt.Sprintf("%s (%d %s)", name, r.Sets, unit) // some may be missing
		}
		fmt.Fprintf(w, "%s\t\t\t%s\t%s\t\t\t\t\t", name, metric, percent(r.Value))
	} else {
		images := strconv.Itoa(r.Images)
		if r.Of > 0 && r.Of != r.Images {
			images += fmt.Sprintf(" of %d", r.Of)
		}
		images += spokenBroken(r.Class.Broken)
		m := r.Class.Metrics
		acc5 := ""
		if m.Acc5 != nil {
			acc5 = percent(*m.Acc5)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%.3f\t%s", r.Set, images, r.Classes, metric, percent(r.Value), percent(m.Acc1), acc5, percent(m.MeanPerClassRecall), m.ECE, r.Class.Head)
	}
	if r.Difference != nil {
		fmt.Fprint(w, "\t"+points(*r.Difference))
	}
	if r.Effective != nil {
		fmt.Fprint(w, "\t"+points(*r.Effective))
	}
	fmt.Fprintln(w)
}

// points is a difference in per cent with its sign; 0.00 has none.
func points(v float64) string {
	text := fmt.Sprintf("%+.2f", 100*v)
	if strings.Trim(text, "+-0.") == "" {
		return "0.00"
	}
	return text
}

func spokenBroken(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d broken)", n)
}

func percent(v float64) string { return fmt.Sprintf("%.2f", 100*v) }

// csvHeader is the columns of SaveCSV.
var csvHeader = []string{
	"suite", "set", "role", "sets", "num_images", "num_classes", "main_metric", "value", "acc1", "acc5", "mean_per_class_recall", "ece", "standard_error",
	"image_retrieval_recall@1", "image_retrieval_recall@5", "image_retrieval_recall@10",
	"text_retrieval_recall@1", "text_retrieval_recall@5", "text_retrieval_recall@10",
	"over_baseline", "effective_robustness",
}

// SaveCSV writes the table with all its digits, atomically; shares are in [0, 1],
// and what a row doesn't have is empty. Sets is how many sets a mean is over.
func (t Table) SaveCSV(path string) error {
	lines := [][]string{csvHeader}
	for _, r := range t.Rows {
		lines = append(lines, r.record())
	}
	var b bytes.Buffer
	if err := csv.NewWriter(&b).WriteAll(lines); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := atomicfile.Write(path, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func (r *Row) record() []string {
	none := math.NaN()
	count := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	values := []float64{r.Value, none, none, none, none, none, none, none, none, none, none, none, none, none}
	if c := r.Class; c != nil {
		values[1], values[3], values[4], values[5] = c.Metrics.Acc1, c.Metrics.MeanPerClassRecall, c.Metrics.ECE, c.StandardError
		if c.Metrics.Acc5 != nil {
			values[2] = *c.Metrics.Acc5
		}
	}
	if c := r.Captions; c != nil {
		copy(values[6:9], c.Metrics.Image[:])
		copy(values[9:12], c.Metrics.Text[:])
	}
	if r.Difference != nil {
		values[12] = *r.Difference
	}
	if r.Effective != nil {
		values[13] = *r.Effective
	}
	record := []string{r.Suite, r.Set, r.Role, count(r.Sets), count(r.Images), count(r.Classes), r.Metric}
	for _, v := range values {
		text := ""
		if !math.IsNaN(v) {
			text = strconv.FormatFloat(v, 'g', -1, 64)
		}
		record = append(record, text)
	}
	return record
}
