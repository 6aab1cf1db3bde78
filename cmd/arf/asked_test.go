package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// asked is what of a result depends on prompts and classes.
type asked struct {
	Templates []string                   `json:"templates"`
	Classes   int                        `json:"num_classes"`
	Metrics   map[string]*float64        `json:"metrics"`
	PerClass  map[string]json.RawMessage `json:"per_class"`
}

func readAsked(t *testing.T, path string) asked {
	t.Helper()
	var a asked
	if err := json.Unmarshal(read(t, path), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// A run's own model, measured by itself and without a word on prompts and
// classes, has the numbers of the run's report.
func TestEvalOfARunsModelGivesTheRunsNumbers(t *testing.T) {
	dir := small(t)
	write(t, filepath.Join(dir, "classes.txt"), []byte("animal\ta living animal\nfood\nplant\tgreen plant\nvehicle\n"))
	runAs(t, dir, "asked")
	mustRun(t, dir, smallArgs("run", "asked", "methods=[flyp]", "precision=bf16", "data.classes=classes.txt", "train.templates=['a {}', 'the {} of a photo']",
		"eval.templates=['a photo a {} of', 'a {}']")...)
	run := filepath.Join(dir, "runs", "asked")
	model := filepath.Join(run, "train/flyp/seed-0/model")
	card := string(read(t, filepath.Join(model, "README.md")))
	for _, want := range []string{`in training: "a {}", "the {} of a photo"`, `in evaluation: "a photo a {} of", "a {}"`} {
		if !strings.Contains(card, want) {
			t.Errorf("the model card lacks %q:\n%s", want, card)
		}
	}
	// Some classes' images only: the others compete all the same.
	if err := os.RemoveAll(filepath.Join(dir, "test/vehicle")); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, smallArgs("eval", "asked", "methods=[flyp]", "precision=bf16", "data.classes=classes.txt", "train.templates=['a {}', 'the {} of a photo']",
		"eval.templates=['a photo a {} of', 'a {}']")...)
	for data, result := range map[string]string{"test": "test", "other": "other-classes"} {
		text := mustRun(t, dir, "eval", model, "--data", data, "--out", "out")
		if !strings.Contains(text, `prompts of `+data+`: "a photo a {} of", "a {}" (from zeroshot.json`) || strings.Contains(text, "classes: all 4 that") != (data == "test") {
			t.Errorf("%s: what was measured with isn't told:\n%s", data, text)
		}
		if !strings.Contains(text, "precision: bf16 (from zeroshot.json") {
			t.Errorf("%s: the precision isn't told:\n%s", data, text)
		}
		want, got := readAsked(t, filepath.Join(run, "eval/flyp/seed-0", result+".json")), readAsked(t, filepath.Join(dir, "out", data+".json"))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: measured by itself\n%+v, in the run\n%+v", data, got, want)
		}
	}
	// Flags overrule.
	mustRun(t, dir, "eval", model, "--data", "test", "--out", "out", "--classes", "folder", "--templates", "{}")
	if got := readAsked(t, filepath.Join(dir, "out/test.json")); got.Classes != 3 || !reflect.DeepEqual(got.Templates, []string{"{}"}) {
		t.Errorf("with flags: %+v", got)
	}
	// A converted model takes them along.
	mustRun(t, dir, "convert", model, "converted", "--layout", "openclip")
	if got, want := read(t, filepath.Join(dir, "converted/zeroshot.json")), read(t, filepath.Join(model, "zeroshot.json")); string(got) != string(want) {
		t.Errorf("converted: %s", got)
	}
	text := mustRun(t, dir, "classify", "converted", filepath.Join(dir, "test/food"), "--classes", "food,plant")
	if !strings.Contains(text, `prompts: "a photo a {} of"`) {
		t.Errorf("classify:\n%s", text)
	}
	write(t, filepath.Join(model, "zeroshot.json"), []byte(`{"templates": ["a photo"]}`))
	out, err := arf(dir, "eval", model, "--data", "test", "--out", "out")
	mustFail(t, out, err, "zeroshot.json", "templates", "needs {} once", "mend or remove it")
}
