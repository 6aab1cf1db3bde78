package report

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"

	"gonum.org/v1/gonum/stat"
)

// Drift is drift.json: how far finetuning moved the features of held-out pairs.
type Drift struct {
	Pairs       int      `json:"num_pairs"`
	ImageCosine *float64 `json:"image_cosine"` // mean of pretrained and finetuned image features, [-1,1]
	TextCosine  *float64 `json:"text_cosine"`  // the same for texts
	Before      Recalls  `json:"before"`       // of the pretrained model
	After       Recalls  `json:"after"`        // of the finetuned model
}

// Recalls are shares in [0,1] by names such as recall_image_to_text@5.
type Recalls map[string]*float64

// RecallAt names a retrieval measure.
type RecallAt struct {
	Direction string // "image_to_text" or "text_to_image"
	K         int
}

func (at RecallAt) String() string { return fmt.Sprintf("recall_%s@%d", at.Direction, at.K) }

var recallName = regexp.MustCompile(`^recall_(image_to_text|text_to_image)@([1-9]\d{0,5})$`)

func decodeDrift(file string, data []byte) (*Drift, error) {
	d := &Drift{}
	if err := decode(file, 1, data, d); err != nil {
		return nil, err
	}
	check := func(field string, x *float64, low float64) error {
		if x != nil && !(*x >= low && *x <= 1.001) { // cosines of rounded features may exceed 1
			return fmt.Errorf("%s: field %s is %v, want a number from %g to 1; run arf eval again", file, field, *x, low)
		}
		return nil
	}
	errs := []error{check("image_cosine", d.ImageCosine, -1.001), check("text_cosine", d.TextCosine, -1.001)}
	for part, recalls := range map[string]Recalls{"before": d.Before, "after": d.After} {
		for name, x := range recalls {
			errs = append(errs, check(part+"."+name, x, 0))
		}
	}
	return d, errors.Join(errs...)
}

// driftRow is one line of the drift table, averaged over seeds. NaN = unknown.
type driftRow struct {
	Method                  string
	ImageCosine, TextCosine float64
	Recall                  []float64 // in the order of driftColumns
	Seeds                   int
}

// driftColumns lists the retrieval measures that any method has.
func (r *Run) driftColumns() []RecallAt {
	var out []RecallAt
	for _, bySeed := range r.drifts {
		for _, d := range bySeed {
			for name := range d.After {
				m := recallName.FindStringSubmatch(name)
				if m == nil {
					continue
				}
				k, _ := strconv.Atoi(m[2]) // digits, by the pattern
				if at := (RecallAt{m[1], k}); !slices.Contains(out, at) {
					out = append(out, at)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b RecallAt) int {
		return cmp.Or(cmp.Compare(a.Direction, b.Direction), cmp.Compare(a.K, b.K))
	})
	return out
}

// driftTable is the pretrained model first (its recall is any file's "before"),
// then each finetuned method.
func (r *Run) driftTable() []driftRow {
	columns := r.driftColumns()
	if len(r.drifts) == 0 {
		return nil
	}
	base := driftRow{Method: Pretrained, ImageCosine: 1, TextCosine: 1}
	var all []*Drift
	for _, method := range r.Methods {
		for _, seed := range sortedKeys(r.drifts[method]) {
			all = append(all, r.drifts[method][seed])
		}
	}
	for _, at := range columns {
		base.Recall = append(base.Recall, mean(all, func(d *Drift) *float64 { return d.Before[at.String()] }))
	}
	rows := []driftRow{base}
	for _, method := range r.finetuned() {
		var drifts []*Drift
		for _, seed := range sortedKeys(r.drifts[method]) {
			drifts = append(drifts, r.drifts[method][seed])
		}
		if len(drifts) == 0 {
			continue
		}
		row := driftRow{Method: method, Seeds: len(drifts),
			ImageCosine: mean(drifts, func(d *Drift) *float64 { return d.ImageCosine }),
			TextCosine:  mean(drifts, func(d *Drift) *float64 { return d.TextCosine })}
		for _, at := range columns {
			row.Recall = append(row.Recall, mean(drifts, func(d *Drift) *float64 { return d.After[at.String()] }))
		}
		rows = append(rows, row)
	}
	return rows
}

// mean of what is known; NaN when nothing is.
func mean(drifts []*Drift, of func(*Drift) *float64) float64 {
	var values []float64
	for _, d := range drifts {
		if p := of(d); p != nil {
			values = append(values, *p)
		}
	}
	if len(values) == 0 {
		return math.NaN()
	}
	return stat.Mean(values, nil)
}
