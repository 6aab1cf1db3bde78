package suite

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/dataset"
	"arf/eval"
	"arf/internal/cliptest"
)

// ownTests are a folder and a caption set.
func ownTests(t *testing.T, root string) []Test {
	t.Helper()
	var tests []Test
	for _, name := range []string{"folder", "captions.csv"} {
		test, err := Own{Source: dataset.Source{Path: filepath.Join(root, name)}}.Open()
		if err != nil {
			t.Fatal(err)
		}
		tests = append(tests, test)
	}
	return tests
}

func TestRunSavesAndReuses(t *testing.T) {
	root, out := t.TempDir(), filepath.Join(t.TempDir(), "results")
	cliptest.Folder(t, filepath.Join(root, "folder"), []string{"disc", "bar", "ring"}, 4, 0)
	if err := os.Rename(cliptest.Pairs(t, root, 7, 0), filepath.Join(root, "captions.csv")); err != nil {
		t.Fatal(err)
	}
	m := cliptest.Model(t, 3)
	measure := func(o RunOptions, reused int) []Outcome {
		t.Helper()
		o.ModelName, o.Out = "tiny", out
		if o.ModelHash == "" {
			o.ModelHash = "abc"
		}
		outcomes, err := Run(t.Context(), m, ownTests(t, root), o)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, o := range outcomes {
			if o.Reused {
				n++
			}
		}
		if n != reused {
			t.Errorf("%d results were reused, want %d", n, reused)
		}
		return outcomes
	}
	stages := map[string]bool{}
	first := measure(RunOptions{Stage: func(stage string, _, _ int) { stages[stage] = true }}, 0)
	if !stages["images"] || !stages["class prompts"] || !stages["captions"] {
		t.Errorf("stages %v", stages)
	}
	again := measure(RunOptions{}, 2)
	if fmt.Sprint(Tabulate(again).print(t)) != fmt.Sprint(Tabulate(first).print(t)) {
		t.Errorf("reused:\n%s, measured:\n%s", Tabulate(again).print(t), Tabulate(first).print(t))
	}
	if len(again[0].Class.Confusions) != len(first[0].Class.Confusions) {
		t.Error("confusions are lost")
	}
	measure(RunOptions{Redo: true}, 0)
	measure(RunOptions{ModelHash: "another"}, 0)
	cliptest.Folder(t, filepath.Join(root, "folder"), []string{"disc"}, 5, 0) // an image more
	measure(RunOptions{ModelHash: "another"}, 1)
	if err := os.WriteFile(filepath.Join(out, "folder.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	measure(RunOptions{ModelHash: "another"}, 1)

	r, err := eval.LoadResult(filepath.Join(out, "folder.json"))
	if err != nil || r.Model != "tiny" || r.Pretrained != "another" || r.Images != 13 || r.Precision != "float32" {
		t.Errorf("%+v, %v", r, err)
	}
}

func (t Table) print(tb testing.TB) string {
	tb.Helper()
	var b bytes.Buffer
	if err := t.Print(&b); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func outcome(suite, name, role, half string, acc float64) Outcome {
	set := &Set{Name: name, Role: role, Metric: eval.Acc1, Images: 100}
	t := &Test{Suite: suite, Set: set, Half: half}
	r := &eval.Result{Dataset: t.Name(), Images: 100, Classes: 10, MainMetric: eval.Acc1, Head: "text", Metrics: eval.Metrics{Acc1: acc, MeanPerClassRecall: acc / 2, ECE: 0.1}}
	return Outcome{Test: t, Class: r}
}

func (t Table) find(tb testing.TB, set string) Row {
	tb.Helper()
	for _, r := range t.Rows {
		if r.Set == set {
			return r
		}
	}
	tb.Fatalf("no row %s", set)
	return Row{}
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.IsNaN(got) || math.Abs(got-want) > 1e-9 {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestMeans(t *testing.T) {
	outcomes := []Outcome{outcome("r", "imagenet1k", "id", "", 0.8), outcome("r", "a", "shift", "", 0.3), outcome("r", "b", "shift", "", 0.5)}
	for i, half := range []string{"base", "new", "base", "new"} {
		o := outcome("c", []string{"pets", "dtd"}[i/2], "zero-shot", half, []float64{0.9, 0.6, 0.5, 0.4}[i])
		if half == "new" {
			o.Test.Set = outcomes[len(outcomes)-1].Test.Set
		}
		outcomes = append(outcomes, o)
	}
	mixed := []Outcome{outcome("v", "x", "zero-shot", "", 0.2), outcome("v", "y", "zero-shot", "", 0.6)}
	mixed[1].Class.MainMetric = eval.MeanPerClassRecall
	outcomes = append(outcomes, mixed...)
	table := Tabulate(outcomes)
	near(t, "average OOD", table.find(t, "average OOD").Value, 0.4)
	near(t, "H of pets", table.find(t, "pets H").Value, 2*0.9*0.6/1.5)
	near(t, "average base", table.find(t, "average base").Value, 0.7)
	near(t, "average new", table.find(t, "average new").Value, 0.5)
	// CoCoOp's: of the averages, not the average of the sets'.
	near(t, "average H", table.find(t, "average H").Value, 2*0.7*0.5/1.2)
	if r := table.find(t, "average"); r.Metric != "each set's" || r.Sets != 2 {
		t.Errorf("%+v", r)
	}
	near(t, "average", table.find(t, "average").Value, 0.25)
	near(t, "H of nothing", harmonic(0, 0), 0)

	text := table.print(t)
	for _, want := range []string{"average OOD (2 sets)", "40.00", "mean per class", "imagenet1k", "harmonic mean"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	path := filepath.Join(t.TempDir(), "sub", "table.csv")
	if err := table.SaveCSV(path); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil || len(lines) != 1+len(table.Rows) || lines[1][1] != "imagenet1k" || lines[1][7] != "0.8" || lines[1][9] != "" {
		t.Errorf("%q, %v", lines, err)
	}
}

func TestCompare(t *testing.T) {
	table := func() Table {
		return Tabulate([]Outcome{outcome("r", "imagenet1k", "id", "", 0.7), outcome("r", "a", "shift", "", 0.5), outcome("r", "b", "shift", "", 0.6)})
	}
	baseline := func(id, a, b float64) Baseline {
		dir := t.TempDir()
		for name, acc := range map[string]float64{"imagenet1k": id, "a": a, "b": b} {
			if acc < 0 {
				continue
			}
			if err := outcome("r", name, "", "", acc).Class.Save(filepath.Join(dir, "r", name+".json")); err != nil {
				t.Fatal(err)
			}
		}
		return Baseline{dir}
	}
	var warned []string
	warn := func(s string) { warned = append(warned, s) }
	first, second := baseline(0.5, 0.2, 0.4), baseline(0.8, 0.5, 0.6)
	// One model: the difference only.
	one := table()
	if err := one.Compare([]Baseline{first}, warn); err != nil {
		t.Fatal(err)
	}
	near(t, "difference", *one.find(t, "a").Difference, 0.3)
	near(t, "average difference", *one.find(t, "average OOD").Difference, 0.25)
	if one.find(t, "a").Effective != nil || len(warned) > 0 {
		t.Errorf("effective robustness of one baseline, or %v", warned)
	}
	// Two: the line through them, in logits.
	two := table()
	if err := two.Compare([]Baseline{first, second}, warn); err != nil {
		t.Fatal(err)
	}
	logit := func(p float64) float64 { return math.Log(p) - math.Log1p(-p) }
	predict := func(y0, y1 float64) float64 {
		share := (logit(0.7) - logit(0.5)) / (logit(0.8) - logit(0.5))
		return 1 / (1 + math.Exp(-(logit(y0) + share*(logit(y1)-logit(y0)))))
	}
	near(t, "effective robustness", *two.find(t, "a").Effective, 0.5-predict(0.2, 0.5))
	near(t, "its average", *two.find(t, "average OOD").Effective, (0.5-predict(0.2, 0.5)+0.6-predict(0.4, 0.6))/2)
	if two.find(t, "imagenet1k").Effective != nil || !strings.Contains(two.print(t), "effective robustness") {
		t.Error("effective robustness in distribution, or none in the table")
	}
	// A set that one of them lacks has none, and it's said.
	three := table()
	if err := three.Compare([]Baseline{first, baseline(0.8, -1, 0.6)}, warn); err != nil {
		t.Fatal(err)
	}
	if three.find(t, "a").Effective != nil || three.find(t, "average OOD").Effective != nil || three.find(t, "b").Effective == nil || len(warned) != 1 || !strings.Contains(warned[0], "a: ") {
		t.Errorf("%v", warned)
	}
	for name, b := range map[string]Baseline{"not a folder": {filepath.Join(first.Dir, "x")}, "no results": {t.TempDir()}} {
		if err := table().Compare([]Baseline{b}, warn); err == nil || !strings.Contains(err.Error(), "baseline") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(filepath.Join(first.Dir, "r", "a.json"), []byte(`{"metrics": {"acc1": 7}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := table().Compare([]Baseline{first}, warn); err == nil || !strings.Contains(err.Error(), "a.json") {
		t.Errorf("a broken result: %v", err)
	}
}

func TestLimitAndRoots(t *testing.T) {
	root := t.TempDir()
	pictures(t, root, "imagenet-a/n01498041/a.jpg", "imagenet-a/n01498041/b.jpg", "imagenet-a/n01498041/c.jpg")
	tests, _ := open(t, "imagenet-robustness", root, Options{Limit: 2})
	if tests["imagenet-a"].images() != 2 || len(tests["imagenet-a"].Class.Templates) != 80 {
		t.Errorf("%d images", tests["imagenet-a"].images())
	}
	s, err := Load("imagenet-robustness")
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{filepath.Join(root, "missing"), filepath.Join(root, "imagenet-a/n01498041/a.jpg")} {
		if _, err := s.Open(bad, Options{}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	// ILSVRC's archive has no class folders.
	pictures(t, root, "ILSVRC2012/val/ILSVRC2012_val_00000001.JPEG")
	if _, err := s.Open(root, Options{}); err == nil || !strings.Contains(err.Error(), "no class folders") || !strings.Contains(err.Error(), "valprep.sh") {
		t.Errorf("a flat folder: %v", err)
	}
}
