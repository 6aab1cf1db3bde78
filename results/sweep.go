package results

import (
	"cmp"
	"fmt"
	"slices"

	"arf/report"

	"github.com/goccy/go-yaml"
)

// Point is a method at one learning rate.
type Point struct {
	Method string
	LR     float64
	Score  map[Axis]Score
}

// Sweep reads runs that differ in their learning rate; those of one rate, such
// as of several pretrained models, are averaged. Points are in the order of
// methods, then of rates; methods of one rate only have none.
func Sweep(dirs ...string) ([]Point, error) {
	byRate := map[float64][]string{}
	for _, dir := range dirs {
		r, err := report.Load(dir)
		if err != nil {
			return nil, err
		}
		var c struct {
			Train struct {
				LR float64 `yaml:"lr"`
			} `yaml:"train"`
		}
		if err := yaml.Unmarshal([]byte(r.Config), &c); err != nil {
			return nil, fmt.Errorf("results: %s/config.yaml: %w", dir, err)
		}
		if c.Train.LR == 0 {
			return nil, fmt.Errorf("results: %s/config.yaml has no train.lr; finetune it with arf run", dir)
		}
		byRate[c.Train.LR] = append(byRate[c.Train.LR], dir)
	}
	var out []Point
	order := map[string]int{}
	for lr, own := range byRate {
		t, err := Load(own...)
		if err != nil {
			return nil, err
		}
		for i, key := range t.Methods {
			if key == report.Pretrained || isWise(key) {
				continue
			}
			order[key] = max(order[key], i)
			p := Point{Method: key, LR: lr, Score: map[Axis]Score{}}
			for _, axis := range axes {
				p.Score[axis] = t.Score(key, t.on(axis))
			}
			out = append(out, p)
		}
	}
	rates := map[string]int{}
	for _, p := range out {
		rates[p.Method]++
	}
	out = slices.DeleteFunc(out, func(p Point) bool { return rates[p.Method] < 2 })
	slices.SortFunc(out, func(a, b Point) int {
		return cmp.Or(cmp.Compare(order[a.Method], order[b.Method]), cmp.Compare(a.Method, b.Method), cmp.Compare(a.LR, b.LR))
	})
	return out, nil
}
