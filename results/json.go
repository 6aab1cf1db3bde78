package results

import (
	"encoding/json"
	"math"

	"arf/report"
)

// number is a share that JSON shows in percent points, null where unknown.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	v := 100 * float64(n)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(math.Round(v*1000) / 1000)
}

type jsonScore struct {
	Mean number `json:"mean"`
	Std  number `json:"std"`
}

type jsonMethod struct {
	Seeds    int                  `json:"seeds"` // models: seeds times pretrained models
	ID       jsonScore            `json:"id"`
	Shift    jsonScore            `json:"avg_shift"`
	ZeroShot jsonScore            `json:"zero_shot"`
	Shifts   map[string]jsonScore `json:"shifts"`
	Drift    map[string]number    `json:"drift,omitempty"` // cosines and recalls times 100
}

type jsonDifference struct {
	A    string `json:"method"`
	B    string `json:"base"`
	Axis Axis   `json:"axis"`
	Mean number `json:"mean"`
	Low  number `json:"low"` // of the 95% interval
	High number `json:"high"`
	Std  number `json:"std"` // over models
}

type jsonData struct {
	Source string            `json:"source,omitempty"`
	Parts  []report.DataInfo `json:"parts"`
	Models []jsonModel       `json:"pretrained"`
}

type jsonModel struct {
	Run    string `json:"run"`
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

type jsonPoint struct {
	Method   string    `json:"method"`
	LR       float64   `json:"lr"`
	Seeds    int       `json:"seeds"`
	ID       jsonScore `json:"id"`
	Shift    jsonScore `json:"avg_shift"`
	ZeroShot jsonScore `json:"zero_shot"`
}

func scoreJSON(s Score) jsonScore { return jsonScore{number(s.Mean), number(s.Std)} }

// JSON is results.json: accuracies in percent points.
func (t *Table) JSON(comparisons []Comparison, sweep []Point) ([]byte, error) {
	data := jsonData{Source: t.Runs[0].Info.Source, Parts: t.Runs[0].Info.Data}
	for _, r := range t.Runs {
		data.Models = append(data.Models, jsonModel{r.Name, r.Info.Model.Name, r.Info.Model.SHA256})
	}
	methods := map[string]jsonMethod{}
	for _, key := range t.Methods {
		m := jsonMethod{Seeds: len(t.models[key]), Shifts: map[string]jsonScore{}, Drift: t.drift(key)}
		for _, axis := range []struct {
			axis Axis
			to   *jsonScore
		}{{ID, &m.ID}, {Shift, &m.Shift}, {ZeroShot, &m.ZeroShot}} {
			*axis.to = scoreJSON(t.Score(key, t.on(axis.axis)))
		}
		for _, s := range t.on(Shift) {
			m.Shifts[s.Name] = scoreJSON(t.Score(key, []report.Suite{s}))
		}
		methods[key] = m
	}
	var differences []jsonDifference
	for _, c := range comparisons {
		for _, axis := range axes {
			d, ok := c.On[axis]
			if !ok {
				continue
			}
			differences = append(differences, jsonDifference{c.A, c.B, axis, number(d.Mean), number(d.Low), number(d.High), number(d.Std)})
		}
	}
	points := make([]jsonPoint, len(sweep))
	for i, p := range sweep {
		points[i] = jsonPoint{p.Method, p.LR, p.Score[ID].Replicates, scoreJSON(p.Score[ID]), scoreJSON(p.Score[Shift]), scoreJSON(p.Score[ZeroShot])}
	}
	return json.MarshalIndent(map[string]any{"data": data, "methods": methods, "differences": differences, "learning_rates": points}, "", " ")
}

// drift averages what was measured of the feature space, over models.
func (t *Table) drift(key string) map[string]number {
	values := map[string][]float64{}
	put := func(name string, v *float64) {
		if v != nil {
			values[name] = append(values[name], *v)
		}
	}
	for _, m := range t.models[key] {
		if m.drift == nil {
			continue
		}
		put("image_cosine", m.drift.ImageCosine)
		put("text_cosine", m.drift.TextCosine)
		for name, v := range m.drift.After {
			put(name, v)
		}
	}
	if len(values) == 0 {
		return nil
	}
	out := map[string]number{}
	for name, v := range values {
		out[name] = number(summarize(v).Mean)
	}
	return out
}
