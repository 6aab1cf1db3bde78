package report

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"arf/config"
	"arf/internal/atomicfile"

	"github.com/dustin/go-humanize"
)

var (
	//go:embed page.gohtml
	pageSource string
	//go:embed style.css
	styleSource string
	//go:embed script.js
	scriptSource string
)

// classesShown is the number of gains and of losses in the per-class section.
const classesShown = 12

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"points":  points,
	"signed":  signed,
	"finite":  func(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) },
	"cosine":  func(x float64) string { return decimals(x, 3) },
	"short":   short,
	"half":    func(d Difference) string { return points(z95 * d.Error) },
	"tone":    tone,
	"comma":   func(n int) string { return humanize.Comma(int64(n)) },
	"minus":   func(a, b float64) float64 { return a - b },
	"changes": func(title, tone string, rows []classChange) changesView { return changesView{title, tone, rows} },
	"bytes":   func(n int64) string { return humanize.IBytes(uint64(max(n, 0))) },
	"list":    list,
	"prompts": config.PromptsInWords,
	"date":    func(t time.Time) string { return t.Format("2 January 2006, 15:04 MST") },
	"json": func(v any) (string, error) {
		data, err := json.Marshal(v)
		return string(data), err
	},
	"pct":     func(x float64) string { return fmt.Sprintf("%.2f", 100*x) },
	"shape":   func(look int) string { return shape(look, 10, 10, 5.5) },
	"comma64": humanize.Comma,
	// Only what dataURI made comes here.
	"picture": func(uri string) template.URL { return template.URL(uri) },
}).Parse(pageSource))

// page is what the template shows.
type page struct {
	Run          *Run
	Style        template.CSS
	Script       template.JS
	ScriptHash   string
	Made         time.Time
	Focus        string
	Verdicts     []verdictView // the focus first
	Comparisons  []Comparison  // the focus against the other finetuned methods
	Columns      []column
	Groups       []columnGroup
	Tables       []tableView
	Legend       []legendItem // methods in the scatter plots
	Trained      []legendItem // methods in the training curves
	Scatters     []*chart
	DriftColumns []RecallAt
	Drift        []driftRow
	DriftRecall  []columnGroup
	PerClass     *perClassView
	Training     []*chart
	Costs        []trainingSummary
	Gallery      *galleryView
	FocusSeconds time.Duration // of finetuning one seed of the focus
}

type verdictView struct {
	Verdict
	Look  int
	State string
	Scale float64 // largest end of an interval, so that the tiles share an axis
	Paired,
	Seeded bool
}

// Span places an interval on a track of 100 units with zero in the middle.
func (v verdictView) Span(d Difference) intervalView {
	at := func(x float64) float64 { return 50 + 46*max(-1, min(1, x/v.Scale)) }
	return intervalView{Low: at(d.Low()), High: at(d.High()), At: at(d.Delta)}
}

type intervalView struct{ Low, High, At float64 }

type columnGroup struct {
	Label string
	Role  string
	Span  int
}

type tableView struct {
	Metric metric
	Rows   []rowView
	Errors []float64 // nil for other metrics than top-1
}

type rowView struct {
	row
	Look int
}

type legendItem struct {
	Method string
	Look   int
}

type changesView struct {
	Title, Tone string
	Rows        []classChange
}

// FinetuneImages is the size of the finetune set as run.json tells it; 0 =
// unknown.
func (p *page) FinetuneImages() int {
	for _, d := range p.Run.Info.Data {
		if d.Role == "finetune" {
			return d.Images
		}
	}
	return 0
}

// DriftPairs is the number of pairs that drift was measured on; 0 = unknown.
func (p *page) DriftPairs() int {
	most := 0
	for _, bySeed := range p.Run.drifts {
		for _, d := range bySeed {
			most = max(most, d.Pairs)
		}
	}
	return most
}

type perClassView struct {
	Methods []string
	Suites  []string
	Blocks  []perClassBlock
}

type perClassBlock struct {
	Method, Suite       string
	Gains, Losses       []classChange
	Up, Same, Down, All int
	Images              int
	Shown               bool
}

type galleryView struct {
	Stats anchorStats
	Shown int
	// CaptionsDropped are the shown captions that don't fit their image enough.
	CaptionsDropped int
	Index           galleryIndex
	Chunks          [][]cardView
	Notes           []string
}

// WriteHTML writes the report as one file that needs nothing else: no network,
// no other file. It replaces path in one step.
func (r *Run) WriteHTML(path string) error { return writePage(path, r.writeHTML) }

// writePage writes a file in one step.
func writePage(path string, write func(io.Writer) error) error {
	file, err := atomicfile.Create(path)
	if err != nil {
		return fmt.Errorf("report: write %s: %w", path, err)
	}
	defer file.Cleanup()
	if err := write(file); err != nil {
		return fmt.Errorf("report: write %s: %w", path, err)
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return fmt.Errorf("report: write %s: %w", path, err)
	}
	return nil
}

func (r *Run) writeHTML(w io.Writer) error {
	p, err := r.page()
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	if err := pageTemplate.Execute(out, p); err != nil {
		return err
	}
	return out.Flush()
}

// Look is the marker and colour of a method.
func (p *page) Look(method string) int { return p.Run.look(method) }

func (r *Run) page() (*page, error) {
	hash := sha256.Sum256([]byte(scriptSource))
	p := &page{Run: r, Style: template.CSS(styleSource), Script: template.JS(scriptSource),
		ScriptHash: "sha256-" + base64.StdEncoding.EncodeToString(hash[:]),
		Made:       time.Now(), Focus: r.focus(), Columns: r.columns()}
	p.FocusSeconds = time.Duration(r.Info.FinetuneSeconds[p.Focus] * float64(time.Second)).Round(time.Second)
	p.Verdicts = r.verdictViews()
	for _, m := range r.finetuned() {
		if m != p.Focus {
			p.Comparisons = append(p.Comparisons, r.Compare(m, p.Focus))
		}
	}
	for _, c := range p.Columns {
		label := map[string]string{RoleID: "ID", RoleShift: "Domain shift", RoleZeroShot: "Zero-shot", RoleValidation: "Validation"}[c.Role]
		if n := len(p.Groups); n > 0 && p.Groups[n-1].Label == label {
			p.Groups[n-1].Span++
		} else {
			p.Groups = append(p.Groups, columnGroup{label, c.Role, 1})
		}
	}
	for _, m := range metrics {
		rows := r.rows(m)
		if !hasMetric(rows) {
			continue
		}
		t := tableView{Metric: m}
		for _, w := range rows {
			t.Rows = append(t.Rows, rowView{w, r.look(w.Method)})
		}
		if m.Key == "acc1" {
			t.Errors = standardErrors(rows, len(p.Columns))
		}
		p.Tables = append(p.Tables, t)
	}
	for _, m := range r.Methods {
		p.Legend = append(p.Legend, legendItem{m, r.look(m)})
	}
	for _, s := range []struct{ id, role, one, many string }{
		{"scatter-shift", RoleShift, "Shift", "Average shift"},
		{"scatter-zero-shot", RoleZeroShot, "Zero-shot", "Average zero-shot"},
	} {
		label := s.one
		if len(r.suites(s.role)) > 1 {
			label = s.many
		}
		if c := r.scatter(s.id, s.role, label); c != nil {
			p.Scatters = append(p.Scatters, c)
		}
	}
	p.Drift, p.DriftColumns = r.driftTable(), r.driftColumns()
	for _, at := range p.DriftColumns {
		label := strings.ReplaceAll(at.Direction, "_", " ")
		if n := len(p.DriftRecall); n > 0 && p.DriftRecall[n-1].Label == label {
			p.DriftRecall[n-1].Span++
		} else {
			p.DriftRecall = append(p.DriftRecall, columnGroup{Label: label, Span: 1})
		}
	}
	p.PerClass = r.perClassView()
	p.Training = r.trainingCharts()
	for _, m := range r.allMethods() {
		if len(r.training[m]) > 0 {
			p.Trained = append(p.Trained, legendItem{m, r.look(m)})
			p.Costs = append(p.Costs, r.trainingSummary(m))
		}
	}
	var err error
	limit := r.GalleryImages
	if limit == 0 {
		limit = defaultGallery
	}
	p.Gallery, err = r.galleryView(limit, limit)
	return p, err
}

// verdictViews compares every finetuned method, the focus first.
func (r *Run) verdictViews() []verdictView {
	methods := r.finetuned()
	focus := r.focus()
	slices.SortStableFunc(methods, func(a, b string) int {
		return map[bool]int{true: 0, false: 1}[a == focus] - map[bool]int{true: 0, false: 1}[b == focus]
	})
	var out []verdictView
	for _, m := range methods {
		v := verdictView{Verdict: r.Verdict(m), Look: r.look(m), Scale: 0.01}
		v.State = v.Verdict.State()
		for _, a := range v.Axes {
			d := a.Difference
			v.Paired = v.Paired || d.Paired
			v.Seeded = v.Seeded || d.Seeds > 1
			if !math.IsNaN(d.Error) {
				v.Scale = max(v.Scale, math.Abs(d.Low()), math.Abs(d.High()))
			}
		}
		out = append(out, v)
	}
	return out
}

// perClassView prepares every method on every choice of test sets; nil without
// accuracies per class of both models.
func (r *Run) perClassView() *perClassView {
	v := &perClassView{}
	for _, c := range r.columns() {
		label := c.Label
		if c.Average {
			label = map[string]string{RoleID: "all ID sets", RoleShift: "all shifts, pooled", RoleZeroShot: "all zero-shot sets, pooled"}[c.Role]
		}
		for _, method := range r.finetuned() {
			changes := r.classChanges(method, c.Suites)
			if len(changes) == 0 {
				continue
			}
			b := perClassBlock{Method: method, Suite: label, All: len(changes)}
			b.Gains, b.Losses = split(changes, classesShown)
			for _, change := range changes {
				b.Images += change.N
				switch d := change.Delta(); {
				case d > 1e-9:
					b.Up++
				case d < -1e-9:
					b.Down++
				default:
					b.Same++
				}
			}
			v.Blocks = append(v.Blocks, b)
			if !slices.Contains(v.Methods, method) {
				v.Methods = append(v.Methods, method)
			}
			if !slices.Contains(v.Suites, label) {
				v.Suites = append(v.Suites, label)
			}
		}
	}
	if len(v.Blocks) == 0 {
		return nil
	}
	first := 0
	for i, b := range v.Blocks {
		if b.Method == r.focus() && b.Suite == v.Suites[0] {
			first = i
		}
	}
	v.Blocks[first].Shown = true
	return v
}

// tone is the style class of a change: only what stands out of the noise is
// coloured, and its sign says the same.
func tone(c Call) string {
	switch c {
	case Better:
		return "gain"
	case Worse:
		return "loss"
	}
	return "flat"
}

func decimals(x float64, n int) string {
	if math.IsNaN(x) {
		return "–"
	}
	return strings.Replace(fmt.Sprintf("%.*f", n, x), "-", "−", 1)
}
