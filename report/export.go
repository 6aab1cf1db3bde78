package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// number is a float64 that JSON shows as null when it isn't finite.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

type jsonReport struct {
	Name     string        `json:"name"`
	Info     Info          `json:"run"`
	Methods  []string      `json:"methods"`
	Seeds    []int         `json:"seeds"`
	Suites   []jsonSuite   `json:"suites"`
	Summary  []jsonScore   `json:"summary"`
	Verdicts []jsonVerdict `json:"verdicts"`
	Compare  []jsonCompare `json:"comparisons,omitempty"` // of the focus with the other methods
	Drift    []jsonDrift   `json:"drift,omitempty"`
	Results  []jsonResult  `json:"results"`
	Warnings []string      `json:"warnings,omitempty"`
}

type jsonSuite struct {
	Name    string `json:"name"`
	Role    string `json:"role"`
	Images  int    `json:"num_images"`
	Classes int    `json:"num_classes"`
}

// jsonScore is one cell of the results table, top-1 in [0,1].
type jsonScore struct {
	Method string  `json:"method"`
	Alpha  float64 `json:"alpha"`
	Role   string  `json:"role"`
	Column string  `json:"column"`
	Mean   number  `json:"mean"`
	Spread number  `json:"std_over_seeds"`
	Error  number  `json:"standard_error"`
	Seeds  int     `json:"seeds"`
	Delta  number  `json:"delta_to_pretrained"`
	Best   bool    `json:"best"`
}

type jsonVerdict struct {
	Method   string     `json:"method"`
	State    string     `json:"state"`
	Headline string     `json:"headline"`
	Detail   string     `json:"detail"`
	Axes     []jsonAxis `json:"axes"`
	Worse    []jsonAxis `json:"worse_test_sets,omitempty"`
}

type jsonCompare struct {
	Method string     `json:"method"`
	Base   string     `json:"base"`
	Answer string     `json:"answer"`
	Axes   []jsonAxis `json:"axes"`
}

type jsonAxis struct {
	Role   string `json:"role"`
	Label  string `json:"label"`
	Before number `json:"base"`
	After  number `json:"method"`
	Delta  number `json:"delta"`
	Error  number `json:"standard_error"`
	Low    number `json:"low95"`
	High   number `json:"high95"`
	Paired bool   `json:"paired_by_class"`
	Call   Call   `json:"call"`
}

type jsonDrift struct {
	Method      string            `json:"method"`
	ImageCosine number            `json:"image_cosine"`
	TextCosine  number            `json:"text_cosine"`
	Recall      map[string]number `json:"recall"`
}

// jsonResult is one evaluation file.
type jsonResult struct {
	Method   string                 `json:"method"`
	Seed     int                    `json:"seed"`
	Alpha    float64                `json:"alpha"`
	Suite    string                 `json:"suite"`
	Role     string                 `json:"role"`
	Images   int                    `json:"num_images"`
	Metrics  map[string]number      `json:"metrics"`
	Error    number                 `json:"standard_error"`
	PerClass map[string]ClassResult `json:"per_class,omitempty"`
}

// WriteJSON writes everything that the report says, and the numbers behind it.
// Accuracies are in [0,1]; what isn't known is null.
func (r *Run) WriteJSON(path string) error {
	data, err := encode(r.document())
	if err != nil {
		return fmt.Errorf("report: encode %s: %w", path, err)
	}
	return writeFile(path, data)
}

func (r *Run) document() jsonReport {
	doc := jsonReport{Name: r.Name, Info: r.Info, Methods: r.Methods, Seeds: r.Seeds, Results: r.results(), Warnings: r.Warnings}
	for _, s := range r.Suites {
		doc.Suites = append(doc.Suites, jsonSuite{s.Name, s.Role, s.Images, s.Classes})
	}
	columns := r.columns()
	for _, w := range r.rows(metrics[0]) {
		for i, c := range w.Cells {
			doc.Summary = append(doc.Summary, jsonScore{w.Method, w.Alpha, columns[i].Role, columns[i].Label,
				number(c.Mean), number(c.Spread), number(c.Error), c.Seeds, number(c.Delta), c.Best})
		}
	}
	for _, method := range r.finetuned() {
		v := r.Verdict(method)
		doc.Verdicts = append(doc.Verdicts, jsonVerdict{method, v.State(), v.Headline(), v.Detail(), jsonAxes(v.Axes), jsonAxes(v.Worse)})
	}
	for _, base := range r.finetuned() {
		if focus := r.focus(); base != focus {
			c := r.Compare(base, focus)
			doc.Compare = append(doc.Compare, jsonCompare{focus, base, c.Answer(), jsonAxes(c.Axes)})
		}
	}
	recalls := r.driftColumns()
	for _, d := range r.driftTable() {
		recall := map[string]number{}
		for i, at := range recalls {
			recall[at.String()] = number(d.Recall[i])
		}
		doc.Drift = append(doc.Drift, jsonDrift{d.Method, number(d.ImageCosine), number(d.TextCosine), recall})
	}
	return doc
}

func jsonAxes(axes []Axis) []jsonAxis {
	var out []jsonAxis
	for _, a := range axes {
		d := a.Difference
		out = append(out, jsonAxis{a.Role, a.Label, number(d.Before), number(d.After), number(d.Delta),
			number(d.Error), number(d.Low()), number(d.High()), d.Paired, d.Call()})
	}
	return out
}

// results lists every evaluation by method, alpha, suite and seed.
func (r *Run) results() []jsonResult {
	var out []jsonResult
	for _, method := range r.Methods {
		for _, alpha := range r.alphas(method) {
			for _, s := range r.Suites {
				bySeed := r.evals[evalKey{method, alpha, s.Name}]
				for _, seed := range sortedKeys(bySeed) {
					e := bySeed[seed]
					values := map[string]number{}
					for _, m := range metrics {
						values[m.Key] = number(m.of(e))
					}
					out = append(out, jsonResult{method, seed, alpha, s.Name, s.Role, e.Images, values, number(e.standardError()), e.PerClass})
				}
			}
		}
	}
	return out
}

// alphas of a method's evaluations, ascending.
func (r *Run) alphas(method string) []float64 {
	var out []float64
	for key := range r.evals {
		if key.method == method && !slices.Contains(out, key.alpha) {
			out = append(out, key.alpha)
		}
	}
	slices.Sort(out)
	return out
}

// WriteCSV writes one line an evaluation: method, seed, alpha, suite, role,
// num_images, acc1, acc5, mean_per_class_recall, ece, standard_error. Numbers
// are in [0,1]; what isn't known is empty.
func (r *Run) WriteCSV(path string) error {
	var b bytes.Buffer
	if err := r.writeCSV(&b); err != nil {
		return fmt.Errorf("report: encode %s: %w", path, err)
	}
	return writeFile(path, b.Bytes())
}

func (r *Run) writeCSV(out io.Writer) error {
	w := csv.NewWriter(out)
	header := []string{"method", "seed", "alpha", "suite", "role", "num_images"}
	for _, m := range metrics {
		header = append(header, m.Key)
	}
	w.Write(append(header, "standard_error"))
	text := func(n number) string {
		if math.IsNaN(float64(n)) {
			return ""
		}
		return strconv.FormatFloat(float64(n), 'g', -1, 64)
	}
	for _, e := range r.results() {
		record := []string{e.Method, strconv.Itoa(e.Seed), text(number(e.Alpha)), e.Suite, e.Role, strconv.Itoa(e.Images)}
		for _, m := range metrics {
			record = append(record, text(e.Metrics[m.Key]))
		}
		w.Write(append(record, text(e.Error)))
	}
	w.Flush()
	return w.Error()
}
