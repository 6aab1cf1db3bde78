package eval

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"arf/torch"
)

// golden is what scripts/golden/metrics.py wrote: CLIP_benchmark's,
// scikit-learn's and SciPy's numbers.
type golden struct {
	Versions       map[string]string
	Classification []struct {
		Logits             [][]float32
		Targets            []int
		Acc1               float64
		Acc5               *float64
		MeanPerClassRecall float64 `json:"mean_per_class_recall"`
		ECE                float64
		Confusion          [][]int
	}
	Retrieval struct {
		Images, Texts [][]float32
		ImageOf       []int `json:"image_of"`
		Metrics       map[string]float64
	}
	Robustness struct {
		Baseline         [][2]float64
		Model            [2]float64
		Slope, Intercept float64
		Effective        float64 `json:"effective_robustness"`
	}
}

func readGolden(t *testing.T) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/metrics.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Versions) == 0 || len(g.Classification) == 0 {
		t.Fatal("the golden file is empty")
	}
	return g
}

func TestMetricsEqualCLIPBenchmarks(t *testing.T) {
	for k, g := range readGolden(t).Classification {
		classes := len(g.Logits[0])
		tally := newTally(classes)
		for i, logits := range g.Logits {
			if err := tally.add(logits, g.Targets[i]); err != nil {
				t.Fatal(err)
			}
		}
		m := tally.metrics()
		nearly(t, fmt.Sprintf("case %d: acc1", k), m.Acc1, g.Acc1)
		nearly(t, fmt.Sprintf("case %d: mean per class", k), m.MeanPerClassRecall, g.MeanPerClassRecall)
		nearly(t, fmt.Sprintf("case %d: ECE", k), m.ECE, g.ECE)
		if (m.Acc5 == nil) != (g.Acc5 == nil) {
			t.Errorf("case %d: acc5 %v, want %v", k, m.Acc5, g.Acc5)
		} else if m.Acc5 != nil {
			nearly(t, fmt.Sprintf("case %d: acc5", k), *m.Acc5, *g.Acc5)
		}
		var names []string
		for c := range classes {
			names = append(names, fmt.Sprint(c))
		}
		got := make([][]int, classes)
		for c := range got {
			got[c] = make([]int, classes)
			got[c][c] = tally.right[c]
		}
		last := math.MaxInt
		for _, c := range tally.confusions(Classes(names...)) {
			var class, predicted int
			if _, err := fmt.Sscan(c.Class, &class); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Sscan(c.Predicted, &predicted); err != nil {
				t.Fatal(err)
			}
			got[class][predicted] += c.N
			if c.N > last {
				t.Errorf("case %d: %d mistakes after %d", k, c.N, last)
			}
			last = c.N
		}
		if fmt.Sprint(got) != fmt.Sprint(g.Confusion) {
			t.Errorf("case %d: confusion matrix\n%v, want\n%v", k, got, g.Confusion)
		}
	}
}

func TestRetrievalEqualsCLIPBenchmarks(t *testing.T) {
	g := readGolden(t).Retrieval
	flat := func(rows [][]float32) (out []float32) {
		for _, r := range rows {
			out = append(out, r...)
		}
		return out
	}
	var textOf []int
	for i := range g.Texts {
		textOf = append(textOf, i)
	}
	m, err := recallOfCaptions(t.Context(), nil, torch.CPU, flat(g.Images), flat(g.Texts), textOf, g.ImageOf, len(g.Images[0]))
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range RecallAt {
		for name, got := range map[string]float64{
			fmt.Sprintf("image_retrieval_recall@%d", k): m.Image[i], fmt.Sprintf("text_retrieval_recall@%d", k): m.Text[i],
		} {
			want, ok := g.Metrics[name]
			if !ok || math.Abs(got-want) > 1e-6 { // theirs is float32
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
	}
}

func TestEffectiveRobustness(t *testing.T) {
	g := readGolden(t).Robustness
	var points []Point
	for _, p := range g.Baseline {
		points = append(points, Point{p[0], p[1]})
	}
	line, err := FitLogitLine(points)
	if err != nil {
		t.Fatal(err)
	}
	nearly(t, "slope", line.Slope, g.Slope)
	nearly(t, "intercept", line.Intercept, g.Intercept)
	nearly(t, "effective robustness", line.EffectiveRobustness(Point{g.Model[0], g.Model[1]}), g.Effective)

	// Two points are on their line.
	if line, err = FitLogitLine(points[:2]); err != nil {
		t.Fatal(err)
	}
	for _, p := range points[:2] {
		nearly(t, "a baseline's own effective robustness", line.EffectiveRobustness(p), 0)
	}
	for name, bad := range map[string][]Point{
		"none": nil, "one": points[:1], "the same twice": {{0.5, 0.3}, {0.5, 0.4}}, "accuracy 0": {{0.5, 0}, {0.6, 0.4}},
		"accuracy 1": {{1, 0.4}, {0.6, 0.4}}, "NaN": {{math.NaN(), 0.4}, {0.6, 0.4}},
	} {
		if _, err := FitLogitLine(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	flat := LogitLine{Slope: 0, Intercept: 0}
	for _, id := range []float64{0, 0.5, 1} {
		nearly(t, "a flat line", flat.Predict(id), 0.5)
	}
	nearly(t, "the ends", LogitLine{1, 0}.Predict(0)+LogitLine{1, 0}.Predict(1), 1)
}
