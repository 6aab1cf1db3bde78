package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestLoadOneSeed(t *testing.T) {
	r := load(t, smallFixture(1).write(t))
	if want := []string{"zeroshot", "flyp", "arf"}; !slices.Equal(r.Methods, want) {
		t.Errorf("methods %v, want %v", r.Methods, want)
	}
	if !slices.Equal(r.Seeds, []int{0}) {
		t.Errorf("seeds %v", r.Seeds)
	}
	var names []string
	for _, s := range r.Suites {
		names = append(names, s.Name)
	}
	// the order of run.json's data, not of the alphabet
	if want := []string{"id", "line", "duotone", "color", "emoji", "pixel-hand", "zero-shot"}; !slices.Equal(names, want) {
		t.Errorf("suites %v, want %v", names, want)
	}
	if len(r.Warnings) > 0 {
		t.Errorf("warnings: %q", r.Warnings)
	}
	for _, row := range r.rows(metrics[0]) {
		for _, c := range row.Cells {
			if c.Spread == c.Spread { // not NaN
				t.Errorf("%s has a spread over one seed", row.Label())
			}
		}
	}
}

func TestLoadThreeSeeds(t *testing.T) {
	r := load(t, smallFixture(3).write(t))
	if !slices.Equal(r.Seeds, []int{0, 1, 2}) {
		t.Errorf("seeds %v", r.Seeds)
	}
	line := r.suites(RoleShift)[:1]
	var values []float64
	for seed := range 3 {
		values = append(values, *r.evals[evalKey{"arf", 1, "line"}][seed].Metrics.Acc1)
	}
	got := r.score("arf", 1, metrics[0], line)
	if want := (values[0] + values[1] + values[2]) / 3; !near(got.Mean, want) {
		t.Errorf("mean %v, want %v", got.Mean, want)
	}
	if got.Seeds != 3 || !(got.Spread > 0) {
		t.Errorf("score %+v", got)
	}
	// WiSE-FT: 5 points a method, from the pretrained to the finetuned model
	curve := r.curve("arf", RoleShift)
	if len(curve) != 5 || curve[0].Alpha != 0 || curve[4].Alpha != 1 {
		t.Fatalf("curve %+v", curve)
	}
	if !near(curve[4].Y.Mean, r.score("arf", 1, metrics[0], r.suites(RoleShift)).Mean) {
		t.Error("the curve doesn't end at the finetuned model")
	}
	if rows := r.rows(metrics[0]); len(rows) != 5 || rows[4].Label() != "arf, WiSE-FT α=0.5" {
		t.Errorf("%d rows, the last is %q", len(rows), rows[len(rows)-1].Label())
	}
}

var pictures = regexp.MustCompile(`data:image/[^"]*`)

// TestMissingParts removes one part after the other: the report shrinks.
func TestMissingParts(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*fixture)
		remove string
		gone   []string // ids that the page then lacks
		warn   string
	}{
		"everything there": {},
		"no WiSE-FT":       {change: func(f *fixture) { f.wise = false }},
		"no drift":         {change: func(f *fixture) { f.drift = false }, gone: []string{"drift"}},
		"no training":      {change: func(f *fixture) { f.train = false }, gone: []string{"training"}},
		"no anchors":       {change: func(f *fixture) { f.anchors = false }, gone: []string{"anchors"}},
		"no captions":      {remove: "anchors/captions.jsonl"},
		"no pairs":         {remove: "anchors/pairs.parquet"},
		"no run.json":      {remove: "run.json"},
		"no config":        {remove: "config.yaml"},
		"no pretrained":    {change: func(f *fixture) { f.wise = false; f.methods = []string{"flyp", "arf"} }, gone: []string{"classes"}, warn: "pretrained model"},
		"one method":       {change: func(f *fixture) { f.methods = []string{"zeroshot", "arf"} }},
		"only pretrained":  {change: func(f *fixture) { f.methods = []string{"zeroshot"} }, gone: []string{"classes", "robustness", "training", "drift"}},
		"a suite missing":  {remove: "eval/arf/seed-0/emoji.json", change: func(f *fixture) { f.wise = false }, warn: "arf was not evaluated on emoji"},
	} {
		t.Run(name, func(t *testing.T) {
			f := smallFixture(1)
			if test.change != nil {
				test.change(&f)
			}
			dir := f.write(t)
			if test.remove != "" {
				if err := os.Remove(filepath.Join(dir, test.remove)); err != nil {
					t.Fatal(err)
				}
			}
			r := load(t, dir)
			r.Images = drawnImages{}
			if warned := strings.Join(r.Warnings, "\n"); test.warn == "" && warned != "" || !strings.Contains(warned, test.warn) {
				t.Errorf("warnings %q, want %q", warned, test.warn)
			}
			var out bytes.Buffer
			if err := r.writeHTML(&out); err != nil {
				t.Fatal(err)
			}
			page := pictures.ReplaceAll(out.Bytes(), nil) // whose letters may say anything
			for _, id := range []string{"verdict", "results", "robustness", "drift", "classes", "training", "anchors", "run"} {
				has := bytes.Contains(page, []byte(`<section id="`+id+`"`))
				if want := !slices.Contains(test.gone, id); has != want {
					t.Errorf("section %s there: %v, want %v", id, has, want)
				}
			}
			for _, bad := range []string{"NaN", "%!", "ZgotmplZ", "&lt;nil&gt;"} {
				if bytes.Contains(page, []byte(bad)) {
					t.Errorf("the page says %q", bad)
				}
			}
			_, err := encode(r.document())
			if err := errors.Join(err, r.writeCSV(io.Discard), r.Table(io.Discard)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPretrainedFromWiSE(t *testing.T) {
	f := smallFixture(1)
	f.methods = []string{"flyp", "arf"}
	r := load(t, f.write(t))
	if r.Methods[0] != Pretrained {
		t.Fatalf("methods %v: alpha 0 is the pretrained model", r.Methods)
	}
	if v := r.Verdict("arf"); v.Axes[0].Difference.Call() != Better {
		t.Errorf("verdict %+v", v)
	}
}

func TestNoResults(t *testing.T) {
	_, err := Load(t.TempDir())
	if !errors.Is(err, ErrNoResults) || !strings.Contains(err.Error(), "arf eval") {
		t.Errorf("error %v", err)
	}
}

// TestMalformed breaks one file at a time: the error names it and the field.
func TestMalformed(t *testing.T) {
	good := `{"dataset":"id","role":"id","num_images":10,"num_classes":2,"metrics":{"acc1":0.5},"standard_error":0.1,"per_class":{"cat":{"n":5,"acc1":0.4}}}`
	broken := func(old, new string) string { return strings.Replace(good, old, new, 1) }
	for name, test := range map[string]struct{ file, text, want string }{
		"no JSON":             {"eval/arf/seed-0/id.json", "{\n \"role\": \"id\",\n \"metrics\": {acc1: 1}}", "line 3: field metrics"},
		"empty":               {"eval/arf/seed-0/id.json", "", "id.json"},
		"cut off":             {"eval/arf/seed-0/id.json", good[:60], "is not JSON"},
		"accuracy is text":    {"eval/arf/seed-0/id.json", broken(`"acc1":0.5`, `"acc1":"high"`), "field metrics.acc1"},
		"accuracy in percent": {"eval/arf/seed-0/id.json", broken(`"acc1":0.5`, `"acc1":50`), "field metrics.acc1 is 50, want a share"},
		"accuracy NaN":        {"eval/arf/seed-0/id.json", broken(`"acc1":0.5`, `"acc1":NaN`), "field metrics.acc1 is NaN or infinite"},
		"class out of range":  {"eval/arf/seed-0/id.json", broken(`"acc1":0.4`, `"acc1":4`), "field per_class.cat.acc1"},
		"images negative":     {"eval/arf/seed-0/id.json", broken(`"num_images":10`, `"num_images":-1`), "field num_images"},
		"images are text":     {"eval/arf/seed-0/id.json", broken(`"num_images":10`, `"num_images":"ten"`), "field num_images"},
		"unknown role":        {"eval/arf/seed-0/id.json", broken(`"role":"id"`, `"role":"test"`), `field role is "test"`},
		"twice the same name": {"eval/arf/seed-0/id.json", broken(`"num_images":10`, `"num_images":10,"num_images":11`), "num_images"},
		"seed folder":         {"eval/arf/seed-one/id.json", good, `folder "seed-one"`},
		"alpha folder":        {"eval/arf/seed-0/wise-half/id.json", good, `folder "wise-half"`},
		"drift":               {"eval/arf/seed-0/drift.json", `{"image_cosine":"near"}`, "field image_cosine"},
		"drift out of range":  {"eval/arf/seed-0/drift.json", `{"before":{"recall_image_to_text@1":21}}`, "field before.recall_image_to_text@1 is 21"},
		"run.json":            {"run.json", `{"threads":"two"}`, "run.json, line 1: field threads"},
		"metrics line":        {"train/arf/seed-0/metrics.jsonl", "{\"step\":0,\"loss\":1}\n{\"step\":1,\"loss\":{}}\n{\"step\":2}\n", "metrics.jsonl, line 2: field loss"},
		"metrics NaN":         {"train/arf/seed-0/metrics.jsonl", "{\"step\":0,\"loss\":NaN}\n", "field loss is NaN or infinite"},
		"metrics step":        {"train/arf/seed-0/metrics.jsonl", "{\"loss\":1}\n", "field step is missing"},
		"metrics term":        {"train/arf/seed-0/metrics.jsonl", "{\"step\":1,\"loss_new\":\"low\"}\n", "in field loss_new"},
		"metrics step huge":   {"train/arf/seed-0/metrics.jsonl", "{\"step\":9223372036854775807}\n", "field step"},
		"captions":            {"anchors/captions.jsonl", "{\"key\":\"a\",\"captions\":[{\"text\":3}]}\n", "captions.jsonl, line 1: field captions.0.text"},
		"captions key":        {"anchors/captions.jsonl", "{\"class\":\"a\"}\n", "field key is missing"},
		"pairs":               {"anchors/pairs.parquet", "PAR1 this is no parquet PAR1", "pairs.parquet"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			writeText(t, filepath.Join(dir, "eval/zeroshot/seed-0/id.json"), good)
			path := filepath.Join(dir, test.file)
			writeText(t, path, test.text)
			_, err := Load(dir)
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), filepath.Base(test.file)) && !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q, want the file and %q", err, test.want)
			}
		})
	}
}

// TestNotFinite: null is what a writer says for NaN. It is shown as unknown and
// warned about, and takes no part in any mean.
func TestNotFinite(t *testing.T) {
	f := smallFixture(2)
	f.methods = []string{"zeroshot", "arf"}
	dir := f.write(t)
	writeText(t, filepath.Join(dir, "eval/arf/seed-1/emoji.json"),
		`{"dataset":"emoji","role":"shift","num_images":520,"num_classes":101,"metrics":{"acc1":null},"standard_error":null}`)
	writeText(t, filepath.Join(dir, "train/arf/seed-1/metrics.jsonl"), "{\"step\":0,\"loss\":2}\n{\"step\":1,\"loss\":0,\"grad_norm\":0,\"logit_scale\":null,\"skipped\":true}\n{\"step\":2,\"loss\":null}\n{\"step\":3,\"loss\":1e300}\n{\"step\":4,\"lo")
	r := load(t, dir)
	warned := strings.Join(r.Warnings, "\n")
	for _, want := range []string{
		"eval/arf/seed-1/emoji.json: field metrics.acc1 is not a number",
		"train/arf/seed-1/metrics.jsonl: the loss is not finite in 2 steps, first in step 2",
		"train/arf/seed-1/metrics.jsonl: 1 step was skipped, since its gradient was not finite",
		"train/arf/seed-1/metrics.jsonl: line 5 is cut off",
	} {
		if !strings.Contains(warned, want) {
			t.Errorf("warnings lack %q:\n%s", want, warned)
		}
	}
	if loss := r.training["arf"][1].steps[1].Loss; loss != nil {
		t.Errorf("a skipped step has the loss %v", *loss)
	}
	if s := r.score("arf", 1, metrics[0], r.suites(RoleShift)); s.Seeds != 1 || s.Mean != s.Mean {
		t.Errorf("average shift %+v, want the one seed that has all sets", s)
	}
	if page, err := os.ReadFile(htmlFile(t, r)); err != nil || bytes.Contains(pictures.ReplaceAll(page, nil), []byte("NaN")) {
		t.Errorf("NaN in the page, or %v", err)
	}
}

// TestResumedTraining: steps written twice count once, and the last wins.
func TestResumedTraining(t *testing.T) {
	f := smallFixture(1)
	f.methods = []string{"zeroshot", "arf"}
	dir := f.write(t)
	writeText(t, filepath.Join(dir, "train/arf/seed-0/metrics.jsonl"), "{\"step\":0,\"loss\":4}\n{\"step\":1,\"loss\":3}\n{\"step\":2,\"loss\":9}\n{\"step\":2,\"loss\":2}\n")
	r := load(t, dir)
	steps := r.training["arf"][0].steps
	if len(steps) != 3 || *steps[2].Loss != 2 {
		t.Errorf("%d steps, the last with loss %v", len(steps), *steps[len(steps)-1].Loss)
	}
	b, ok := r.band("arf", r.quantities()[0])
	if !ok || !slices.Equal(b.Mean, []float64{4, 3, 2}) {
		t.Errorf("curve %v", b.Mean)
	}
	if n := len(r.quantities()); n != 4 {
		t.Errorf("%d quantities, want 4: no loss term was logged", n)
	}
	if _, ok := r.band("arf", r.quantities()[1]); ok {
		t.Error("a learning rate that was never logged is drawn")
	}
}

// TestLossTerms: a new objective's term is drawn without being known here.
func TestLossTerms(t *testing.T) {
	dir := smallFixture(1).write(t)
	writeText(t, filepath.Join(dir, "train/arf/seed-0/metrics.jsonl"), "{\"step\":1,\"loss_new\":4,\"loss_ita\":2,\"other\":{}}\n{\"step\":2,\"loss_new\":3,\"loss_ita\":1}\n")
	var labels []string
	for _, q := range load(t, dir).quantities() {
		labels = append(labels, q.Label)
	}
	if want := []string{"loss", "loss term: class", "loss term: ita", "loss term: new", "learning rate", "logit_scale", "gradient norm"}; !slices.Equal(labels, want) {
		t.Errorf("%q, want %q", labels, want)
	}
}

func TestNotComparable(t *testing.T) {
	f := smallFixture(1)
	f.methods = []string{"zeroshot", "arf"}
	dir := f.write(t)
	writeText(t, filepath.Join(dir, "eval/arf/seed-0/id.json"), `{"role":"id","num_images":900,"num_classes":101,"metrics":{"acc1":0.5}}`)
	if warned := strings.Join(load(t, dir).Warnings, "\n"); !strings.Contains(warned, "not comparable") {
		t.Errorf("warnings %q", warned)
	}
}

func near(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }

// A run's folder may hold more than its config names.
func TestOnlyWhatTheConfigNames(t *testing.T) {
	f := smallFixture(2)
	dir := f.write(t)
	all := fmt.Sprint(f.methods, []int{0, 1}, 0)
	for config, want := range map[string]string{
		"methods: [zeroshot, arf]\nseeds: [0]\n": "[zeroshot arf] [0] 1",
		"methods: [zeroshot, arf]\n":             "[zeroshot arf] [0 1] 1",
		"methods: {":                             all,
		"":                                       all,
	} {
		if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		r := load(t, dir)
		if got := fmt.Sprint(r.Methods, r.Seeds, len(r.Warnings)); got != want {
			t.Errorf("%q: %s, want %s: %q", config, got, want, r.Warnings)
		}
	}
}
