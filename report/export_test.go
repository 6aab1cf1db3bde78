package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// small is a run whose numbers fit in a reader's head.
func small(t *testing.T) *Run {
	dir := t.TempDir()
	for _, e := range []struct {
		method      string
		seed        int
		suite, role string
		acc         float64
	}{
		{"zeroshot", 0, "id", "id", 0.40}, {"zeroshot", 0, "emoji", "shift", 0.30}, {"zeroshot", 0, "line", "shift", 0.50}, {"zeroshot", 0, "nouns", "zero-shot", 0.20},
		{"arf", 0, "id", "id", 0.60}, {"arf", 0, "emoji", "shift", 0.34}, {"arf", 0, "line", "shift", 0.56}, {"arf", 0, "nouns", "zero-shot", 0.19},
		{"arf", 1, "id", "id", 0.62}, {"arf", 1, "emoji", "shift", 0.36}, {"arf", 1, "line", "shift", 0.54}, {"arf", 1, "nouns", "zero-shot", 0.21},
	} {
		evaluationFile(t, dir, e.method, e.seed, e.suite, e.role, 10000, e.acc)
	}
	return load(t, dir)
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := small(t).Table(&b); err != nil {
		t.Fatal(err)
	}
	want := `top-1, %        id            emoji         line          average shift  nouns
role            id            shift         shift         shift          zero-shot
images          10000         10000         10000         2 sets         10000
zeroshot        40.0          30.0          50.0          40.0           20.0 *
arf             61.0 ± 1.4 *  35.0 ± 1.4 *  55.0 ± 1.4 *  45.0 ± 0.0 *   20.0 ± 1.4 *
standard error  0.5           0.5           0.5           0.3            0.4
* the best of its column

Did arf break anything? Not clear for zero-shot.
  ID                 +21.0 ± 2.4 points (better)
  Average shift      +5.0 ± 0.9 points (better)
  Zero-shot          0.0 ± 2.3 points (no measurable change)

In the table, ± is the standard deviation over 2 seeds; in the verdict, half of a 95% interval.
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// The table tells which prompts were asked with, of test sets with equal ones once.
func TestTableOfPrompts(t *testing.T) {
	r := small(t)
	for i := range r.Suites {
		r.Suites[i].Templates = []string{"a {}"}
	}
	r.Suites[1].Templates = []string{"one {}", "two {}", "three {}", "four {}", "five {}"}
	var b strings.Builder
	if err := r.Table(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		fmt.Sprintf("\nprompts of %s, %s and %s: \"a {}\"\n", r.Suites[0].Name, r.Suites[2].Name, r.Suites[3].Name),
		fmt.Sprintf("\nprompts of %s: \"one {}\", \"two {}\", \"three {}\" and 2 more\n", r.Suites[1].Name),
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestTableError(t *testing.T) {
	if err := small(t).Table(brokenPipe{}); err == nil {
		t.Error("a failed write gives no error")
	}
}

func TestWriteJSON(t *testing.T) {
	f := smallFixture(2)
	r := load(t, f.write(t))
	path := filepath.Join(t.TempDir(), "results.json")
	if err := r.WriteJSON(path); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc jsonReport
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	// zeroshot 1 seed, 2 methods × 2 seeds, and each 4 alphas more (1 repeats), on 7 suites
	if want := 7 * (1 + 4 + 4*4); len(doc.Results) != want {
		t.Errorf("%d results, want %d", len(doc.Results), want)
	}
	if len(doc.Verdicts) != 2 || len(doc.Compare) != 1 || doc.Info.Model.SHA256 == "" || len(doc.Drift) != 3 {
		t.Errorf("%d verdicts, %d comparisons, %d drifts, model %+v", len(doc.Verdicts), len(doc.Compare), len(doc.Drift), doc.Info.Model)
	}
	for _, s := range doc.Summary {
		if s.Method == "arf" && s.Column == "average shift" && s.Alpha == 1 && !near(float64(s.Mean), r.score("arf", 1, metrics[0], r.suites(RoleShift)).Mean) {
			t.Errorf("average shift %v", s.Mean)
		}
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		t.Fatal(err)
	}
	if spread, ok := tree["summary"].([]any)[0].(map[string]any)["std_over_seeds"]; !ok || spread != nil {
		t.Errorf("spread of one seed is %v, want null", spread)
	}
}

func TestWriteCSV(t *testing.T) {
	r := small(t)
	path := filepath.Join(t.TempDir(), "results.csv")
	if err := r.WriteCSV(path); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(rows[1], ","), "zeroshot,0,1,id,id,10000,0.4,,,,0.00489897948556"; len(rows) != 13 || !strings.HasPrefix(got, want) {
		t.Errorf("%d rows, the first is %s, want %s…", len(rows), got, want)
	}
}

func TestWriteErrors(t *testing.T) {
	r := small(t)
	path := filepath.Join(t.TempDir(), "no such folder", "x")
	for name, write := range map[string]func(string) error{"HTML": r.WriteHTML, "JSON": r.WriteJSON, "CSV": r.WriteCSV} {
		if err := write(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v doesn't name %s", name, err, path)
		}
	}
}

func TestWriteInfo(t *testing.T) {
	dir := t.TempDir()
	if err := WriteInfo(dir, fixtureInfo()); err != nil {
		t.Fatal(err)
	}
	evaluationFile(t, dir, "zeroshot", 0, "id", "id", 10, 0.5)
	got, want := load(t, dir).Info, fixtureInfo()
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(want)
	if string(a) != string(b) {
		t.Errorf("read back\n%s\nwrote\n%s", a, b)
	}
}
