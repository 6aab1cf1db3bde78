package report

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"

	"gonum.org/v1/gonum/stat"
)

// Drift is drift.json: how far finetuning moved the features of held-out pairs.
type Drift struct {
	ImageCosine *float64 // mean cosine between pretrained and finetuned image features, [-1,1]
	TextCosine  *float64 // the same for texts
	Recall      map[RecallAt]RecallChange
}

// RecallAt names a retrieval measure.
type RecallAt struct {
	Direction string // "image_to_text" or "text_to_image"
	K         int
}

// RecallChange is recall@k, in [0,1], by the pretrained and the finetuned model.
type RecallChange struct{ Before, After *float64 }

var recallKey = regexp.MustCompile(`(image_to_text|text_to_image)\D*@(\d+)`)
var beforeKey = regexp.MustCompile(`before|pretrained`)
var afterKey = regexp.MustCompile(`after|finetuned`)

// decodeDrift takes numbers by their names, at whatever depth: image_cosine,
// text_cosine, and recall…image_to_text@k with before or after on the way.
// Other numbers are left alone.
func decodeDrift(file string, data []byte) (*Drift, error) {
	var tree map[string]any
	if err := decode(file, 1, data, &tree); err != nil {
		return nil, err
	}
	d := &Drift{Recall: map[RecallAt]RecallChange{}}
	if err := d.collect(file, "", tree); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Drift) collect(file, prefix string, tree map[string]any) error {
	for key, v := range tree {
		name := prefix + key
		if sub, ok := v.(map[string]any); ok {
			if err := d.collect(file, name+".", sub); err != nil {
				return err
			}
			continue
		}
		m := recallKey.FindStringSubmatch(name)
		before, after := beforeKey.MatchString(name), afterKey.MatchString(name)
		isRecall := m != nil && before != after
		if key != "image_cosine" && key != "text_cosine" && !isRecall || v == nil {
			continue
		}
		x, ok := v.(float64)
		if !ok || x < -1.001 || x > 1.001 {
			return fmt.Errorf("%s: field %s is %v, want a number between -1 and 1", file, name, v)
		}
		switch {
		case key == "image_cosine":
			d.ImageCosine = &x
		case key == "text_cosine":
			d.TextCosine = &x
		default:
			k, _ := strconv.Atoi(m[2])
			at := RecallAt{m[1], k}
			change := d.Recall[at]
			if before {
				change.Before = &x
			} else {
				change.After = &x
			}
			d.Recall[at] = change
		}
	}
	return nil
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
			for at := range d.Recall {
				if !slices.Contains(out, at) {
					out = append(out, at)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b RecallAt) int {
		if a.Direction != b.Direction {
			if a.Direction < b.Direction {
				return -1
			}
			return 1
		}
		return a.K - b.K
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
		base.Recall = append(base.Recall, mean(all, func(d *Drift) *float64 { return d.Recall[at].Before }))
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
			row.Recall = append(row.Recall, mean(drifts, func(d *Drift) *float64 { return d.Recall[at].After }))
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
