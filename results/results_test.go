package results

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/report"
)

// runFolder writes evaluations as a run has them. accuracy gives the right
// images of ten of a class.
func runFolder(t *testing.T, name string, lr float64, methods []string, seeds int, accuracy func(method, suite string, seed, class int) int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	for _, method := range methods {
		for seed := range seeds {
			if method == report.Pretrained && seed > 0 {
				continue
			}
			for suite, role := range map[string]string{"id": "id", "line": "shift", "color": "shift", "zero": "zero-shot"} {
				perClass := map[string]any{}
				right, classes := 0, 20
				for c := range classes {
					n := accuracy(method, suite, seed, c)
					right += n
					perClass[fmt.Sprintf("class %d", c)] = map[string]any{"n": 10, "acc1": float64(n) / 10}
				}
				write(t, filepath.Join(dir, "eval", method, fmt.Sprintf("seed-%d", seed), suite+".json"), map[string]any{
					"dataset": suite, "role": role, "num_images": 10 * classes, "num_classes": classes,
					"metrics": map[string]any{"acc1": float64(right) / float64(10*classes)}, "per_class": perClass, "method": method, "seed": seed,
				})
			}
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(fmt.Sprintf("train:\n  lr: %g\n", lr)), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func write(t *testing.T, path string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

var methods = []string{"zeroshot", "flyp", "arf"}

// world: arf is one image of ten better than flyp on every class under shift,
// no better in distribution but for chance, and flyp 2 worse than the
// pretrained model on zero-shot.
func world(base int) func(method, suite string, seed, class int) int {
	return func(method, suite string, seed, class int) int {
		right := 4 + base + class%3
		switch suite {
		case "line", "color":
			if method == "arf" {
				right++
			}
		case "zero":
			if method == "flyp" {
				right -= 2
			}
		case "id":
			if method != "zeroshot" && (class+seed)%2 == 0 {
				right += map[string]int{"flyp": 1, "arf": -1}[method] * (class%4 - 1)
			}
		}
		return right
	}
}

func load(t *testing.T) *Table {
	t.Helper()
	table, err := Load(runFolder(t, "one", 1e-3, methods, 3, world(0)), runFolder(t, "two", 1e-3, methods, 3, world(1)))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// An empty list, such as that of the default prompts, is another than a full one.
func TestAnEmptyListIsASetting(t *testing.T) {
	one, two := runFolder(t, "one", 1e-3, methods, 1, world(0)), runFolder(t, "two", 1e-3, methods, 1, world(1))
	for dir, list := range map[string]string{one: "[]", two: "['a drawing of a {}']"} {
		if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte("eval:\n  templates: "+list+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(one, two); err == nil || !strings.Contains(err.Error(), "eval.templates") {
		t.Errorf("runs of other prompts are averaged: %v", err)
	}
	if table, err := Settings(one, two); err != nil || !strings.Contains(table, "| eval.templates |") {
		t.Errorf("%v\n%s", err, table)
	}
}

func TestScoresAreOverSeedsAndRuns(t *testing.T) {
	table := load(t)
	s := table.Score("arf", table.on(Shift))
	// Run one: mean of 4+class%3 over 20 classes is 4.95, plus 1; run two one more.
	if s.Replicates != 6 || math.Abs(s.Mean-(5.95+6.95)/20) > 1e-9 {
		t.Errorf("shift of arf: %+v", s)
	}
	if want := 0.1 * math.Sqrt(6*0.25/5); math.Abs(s.Std-want) > 1e-9 {
		t.Errorf("spread %v, want %v", s.Std, want)
	}
	if s := table.Score("zeroshot", table.on(ID)); s.Replicates != 2 {
		t.Errorf("the pretrained models count as %d", s.Replicates)
	}
}

func TestDifferencesArePairedAndBootstrapped(t *testing.T) {
	table := load(t)
	get := func(a, b string, axis Axis) Difference {
		d, err := table.Difference(a, b, table.on(axis))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	// The same gain in every class and seed: no width at all.
	if d := get("arf", "flyp", Shift); math.Abs(d.Mean-0.1) > 1e-9 || math.Abs(d.Low-0.1) > 1e-9 || math.Abs(d.High-0.1) > 1e-9 || d.Std > 1e-9 || d.Replicates != 6 {
		t.Errorf("arf − flyp under shift: %+v", d)
	}
	if d := get("flyp", "zeroshot", ZeroShot); math.Abs(d.Mean+0.2) > 1e-9 || d.Replicates != 6 {
		t.Errorf("flyp − zeroshot: %+v", d)
	}
	d := get("arf", "flyp", ID)
	if !(d.Low < d.Mean && d.Mean < d.High) {
		t.Fatalf("arf − flyp in distribution: %+v", d)
	}
	// Against the plain formula for the error of a mean over 20 classes.
	var each []float64
	for class := range 20 {
		sum := 0.0
		for seed := range 3 {
			sum += float64(world(0)("arf", "id", seed, class)-world(0)("flyp", "id", seed, class)) / 30
		}
		each = append(each, sum)
	}
	s := summarize(each)
	byClass := s.Std / math.Sqrt(20)
	if half := (d.High - d.Low) / 2; half < 1.6*byClass || half > 4*byClass { // seeds add to it
		t.Errorf("half the interval is %.4f, the error over classes %.4f", half, byClass)
	}
	again := get("arf", "flyp", ID)
	if again != d {
		t.Error("the interval differs from call to call")
	}
	if _, err := table.Difference("arf", "nothing", table.on(ID)); err == nil {
		t.Error("a method that wasn't evaluated is compared")
	}
}

// Of flyp's WiSE-FT curve, α = 0.25 keeps too little of ID, 0.5 has the best of the rest, 0.75 has less.
func TestRivalAtEqualID(t *testing.T) {
	right := map[string]map[string]int{ // of ten a class
		"zeroshot": {"id": 4, "line": 9, "color": 9, "zero": 9}, "flyp": {"id": 8, "line": 3, "color": 3, "zero": 3},
		"arf": {"id": 7, "line": 6, "color": 6, "zero": 6},
	}
	dir := runFolder(t, "one", 1e-3, methods, 2, func(method, suite string, _, _ int) int { return right[method][suite] })
	for alpha, right := range map[string]map[string]int{
		"0.25": {"id": 5, "line": 8, "color": 8, "zero": 8}, "0.5": {"id": 7, "line": 5, "color": 5, "zero": 5}, "0.75": {"id": 8, "line": 4, "color": 4, "zero": 4},
	} {
		curve := runFolder(t, "curve", 1e-3, []string{"flyp"}, 2, func(_, suite string, _, _ int) int { return right[suite] })
		files, err := filepath.Glob(filepath.Join(curve, "eval", "flyp", "*", "*.json"))
		if err != nil || len(files) != 8 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var e map[string]any
			if err := json.Unmarshal(data, &e); err != nil {
				t.Fatal(err)
			}
			e["alpha"] = json.Number(alpha)
			write(t, filepath.Join(dir, "eval", "flyp", filepath.Base(filepath.Dir(file)), "wise-"+alpha, filepath.Base(file)), e)
		}
	}
	table, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if rival := table.atEqualID("arf", "flyp"); rival != "wise-flyp-0.5" {
		t.Errorf("arf is held against %s", rival)
	}
	if nearest := table.atEqualID("flyp", "arf"); nearest != "" {
		t.Errorf("arf has no curve, but %s is on it", nearest)
	}
	comparisons, err := table.Compare()
	if err != nil {
		t.Fatal(err)
	}
	last := comparisons[len(comparisons)-1]
	if d := last.On[Shift]; last.B != "wise-flyp-0.5" || math.Abs(d.Mean-0.1) > 1e-9 || d.Replicates != 2 {
		t.Errorf("the last comparison is %+v", last)
	}
}

func TestRunsOnOtherDataAreRefused(t *testing.T) {
	one := runFolder(t, "one", 1e-3, methods, 1, world(0))
	two := runFolder(t, "two", 1e-3, methods, 1, world(0))
	if err := os.RemoveAll(filepath.Join(two, "eval", "zeroshot")); err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{"flyp", "arf"} {
		if err := os.Remove(filepath.Join(two, "eval", method, "seed-0", "line.json")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(one, two); err == nil || !strings.Contains(err.Error(), "other test sets") {
		t.Errorf("error %v", err)
	}
}

func TestAMissingEvaluationIsNamed(t *testing.T) {
	one, two := runFolder(t, "one", 1e-3, methods, 2, world(0)), runFolder(t, "two", 1e-3, methods, 2, world(1))
	if err := os.Remove(filepath.Join(two, "eval", "arf", "seed-1", "line.json")); err != nil {
		t.Fatal(err)
	}
	table, err := Load(one, two)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Compare(); err == nil || !strings.Contains(err.Error(), "arf, seed 1 of "+two+" was not evaluated on line") {
		t.Errorf("error %v", err)
	}
}

func TestRunsThatDoNotBelongTogetherAreRefused(t *testing.T) {
	folder := func(name string, lr float64, model, pool string) string {
		dir := runFolder(t, name, lr, methods, 1, world(0))
		write(t, filepath.Join(dir, "run.json"), map[string]any{
			"model": map[string]any{"name": "m", "sha256": model},
			"data":  []any{map[string]any{"role": "pool", "sha256": pool}},
		})
		return dir
	}
	one := folder("one", 1e-3, "aa", "11")
	for name, c := range map[string]struct{ other, want string }{
		"itself":         {one, "give each run once"},
		"model and seed": {folder("two", 1e-3, "aa", "11"), "repeats seed 0"},
		"learning rate":  {folder("two", 1e-4, "bb", "11"), "train.lr"},
		"pool":           {folder("two", 1e-3, "bb", "22"), "pool differs"},
	} {
		if _, err := Load(one, c.other); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := Load(one, folder("two", 1e-3, "bb", "11")); err != nil {
		t.Errorf("another pretrained model: %v", err)
	}
}

// Without zero-shot test sets nothing is said of that axis, zero least of all.
func TestAxisWithoutTestSets(t *testing.T) {
	dirs := []string{runFolder(t, "one", 1e-3, methods, 3, world(0)), runFolder(t, "two", 1e-3, methods, 3, world(1))}
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "eval", "*", "*", "zero.json"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%v, %v", files, err)
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	table, err := Load(dirs...)
	if err != nil {
		t.Fatal(err)
	}
	comparisons, err := table.Compare()
	if err != nil {
		t.Fatal(err)
	}
	data, err := table.JSON(comparisons, nil)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Methods     map[string]map[string]any `json:"methods"`
		Differences []struct{ Axis Axis }     `json:"differences"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Differences {
		if d.Axis == ZeroShot {
			t.Error("a zero-shot difference of nothing")
		}
	}
	if mean := file.Methods["arf"]["zero_shot"].(map[string]any)["mean"]; mean != nil {
		t.Errorf("zero-shot accuracy %v", mean)
	}
	if _, err := table.Figure(ZeroShot, nil); err != nil {
		t.Errorf("figure: %v", err)
	}
}

func TestDocumentAndFigures(t *testing.T) {
	table := load(t)
	comparisons, err := table.Compare()
	if err != nil {
		t.Fatal(err)
	}
	sweep, err := Sweep(runFolder(t, "a", 1e-3, methods, 1, world(0)), runFolder(t, "b", 1e-4, methods, 1, world(0)), runFolder(t, "c", 1e-4, methods, 1, world(1)))
	if err != nil {
		t.Fatal(err)
	}
	if len(sweep) != 4 || sweep[0].Method != "flyp" || sweep[0].LR != 1e-4 || sweep[0].Score[ID].Replicates != 2 || sweep[1].LR != 1e-3 {
		t.Fatalf("sweep %+v", sweep)
	}
	if alone, err := Sweep(runFolder(t, "d", 1e-3, methods, 1, world(0)), runFolder(t, "e", 1e-4, []string{"zeroshot", "arf"}, 1, world(0))); err != nil || len(alone) != 2 || alone[0].Method != "arf" {
		t.Errorf("flyp has one rate, yet the sweep is %+v (%v)", alone, err)
	}
	text := "# Results\n<!-- results: main -->\nold\n<!-- end -->\nwords\n<!-- results: differences -->\n<!-- end -->\n"
	filled, err := table.Document(text, comparisons, sweep)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| arf | 6 | ", "\nwords\n", "| flyp − zeroshot | what plain finetuning costs |", "**+10.0 (+10.0 … +10.0)**", "**−20.0 (−20.0 … −20.0)**",
	} {
		if !strings.Contains(filled, want) {
			t.Errorf("no %q in\n%s", want, filled)
		}
	}
	if strings.Contains(filled, "old") {
		t.Error("the old table is still there")
	}
	if again, err := table.Document(filled, comparisons, sweep); err != nil || again != filled {
		t.Errorf("filled again, the document differs (%v)", err)
	}
	for _, bad := range []string{"<!-- results: nothing -->\n<!-- end -->", "<!-- results: main -->\nno end"} {
		if _, err := table.Document(bad, nil, nil); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	svg, err := table.Figure(Shift, sweep)
	if err != nil || !strings.Contains(string(svg), "average shift") || !strings.Contains(string(svg), "arf, learning rates") {
		t.Errorf("figure (%v)", err)
	}
	data, err := table.JSON(comparisons, sweep)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		LearningRates []struct {
			Method string
			LR     float64
			Seeds  int
		} `json:"learning_rates"`
		Methods map[string]struct {
			Seeds int `json:"seeds"`
			Shift struct {
				Mean float64 `json:"mean"`
			} `json:"avg_shift"`
			Shifts map[string]any `json:"shifts"`
		} `json:"methods"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if p := file.LearningRates; len(p) != 4 || p[2].Method != "arf" || p[2].LR != 1e-4 || p[2].Seeds != 2 {
		t.Errorf("results.json's learning rates are %+v", p)
	}
	if arf := file.Methods["arf"]; arf.Seeds != 6 || arf.Shift.Mean != 64.5 || len(arf.Shifts) != 2 {
		t.Errorf("results.json says %+v", arf)
	}
}

func TestSettingsShowWhatDiffers(t *testing.T) {
	one, two := runFolder(t, "one", 1e-3, methods, 1, world(0)), runFolder(t, "two", 1e-4, methods, 1, world(0))
	for dir, text := range map[string]string{
		one: "name: one\nmodel: m\ntrain: {lr: 0.001, epochs: 10}\n",
		two: "name: two\nmodel: m\ntrain: {lr: 0.0001, epochs: 10}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	table, err := Settings(one, two)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(table, "\n")
	if !strings.HasPrefix(lines[0], "| run | train.lr | method |") {
		t.Errorf("columns %s", lines[0])
	}
	// The pretrained model is the same for both and stands once.
	if got := strings.Count(table, "zeroshot"); got != 1 {
		t.Errorf("the pretrained model stands %d times:\n%s", got, table)
	}
	if !strings.Contains(table, "| two | 0.0001 | arf | 1 | ") || !strings.Contains(table, "| one | 0.001 | flyp | 1 | ") {
		t.Errorf("rows:\n%s", table)
	}
	// More than three settings share a column.
	if err := os.WriteFile(filepath.Join(two, "config.yaml"), []byte("name: two\nmodel: n\ntrain: {lr: 0.0001, epochs: 20, k: 1}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(one, "config.yaml"), []byte("name: one\nmodel: m\ntrain: {lr: 0.001, epochs: 10, k: 2}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if table, err = Settings(one, two); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| run | setting | method |", "| one |  | arf | 1 |", "| two | model=n train.epochs=20 train.k=1 train.lr=0.0001 | arf | 1 |", "|  |  | zeroshot | 1 |", "|  | model=n | zeroshot | 1 |"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
}
