package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Each mistake ends in one line that names what is wrong and how to mend it.
func TestMistakes(t *testing.T) {
	dir := ownData(t)
	for name, c := range map[string]struct {
		prepare func(t *testing.T)
		args    []string
		want    []string
	}{
		"unknown key":   {nil, []string{"run", "run.yaml", "--set", "train.lrr=1"}, []string{"train.lrr", "train.lr"}},
		"no config":     {nil, []string{"run", "missing.yaml"}, []string{"missing.yaml"}},
		"no model":      {nil, []string{"run", "run.yaml", "--set", "model=train"}, []string{"model", "train"}},
		"no data":       {nil, []string{"run", "run.yaml", "--set", "data.finetune.path=nothing"}, []string{"data.finetune", "nothing"}},
		"no pool":       {nil, []string{"retrieve", "run.yaml", "--set", "data.pool.path=none.csv"}, []string{"data.pool", "none.csv"}},
		"no captioner":  {nil, []string{"caption", "run.yaml", "--set", "anchors.captions.captioner=train"}, []string{"captioner"}},
		"no GPU":        {nil, []string{"run", "run.yaml", "--device", "cuda:7"}, []string{"cuda:7", "--device cpu"}},
		"no report":     {nil, []string{"report", "train"}, []string{"train"}},
		"unknown verb":  {nil, []string{"finetun"}, []string{"finetune"}},
		"empty class":   {func(t *testing.T) { mkdir(t, dir, "train/mineral") }, []string{"run", "run.yaml"}, []string{"mineral"}},
		"unknown class": {func(t *testing.T) { os.RemoveAll(filepath.Join(dir, "train/mineral")); addClass(t, dir) }, []string{"run", "run.yaml"}, []string{"fungus"}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.prepare != nil {
				c.prepare(t)
				t.Cleanup(func() {
					os.RemoveAll(filepath.Join(dir, "train/mineral"))
					os.RemoveAll(filepath.Join(dir, "test/fungus"))
				})
			}
			out, err := arf(dir, c.args...)
			if err == nil {
				t.Fatalf("no error:\n%s", out)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("message lacks %q:\n%s", want, out)
				}
			}
			if strings.Contains(out, "goroutine ") {
				t.Errorf("a stack trace is shown:\n%s", out)
			}
		})
	}
}

func mkdir(t *testing.T, parts ...string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(parts...), 0o755); err != nil {
		t.Fatal(err)
	}
}

// addClass puts a class into the test set that training doesn't know.
func addClass(t *testing.T, dir string) {
	t.Helper()
	mkdir(t, dir, "test/fungus")
	data, err := os.ReadFile(pictures(t, "plants", 1)[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "test/fungus/a.png"), data, 0o644); err != nil {
		t.Fatal(err)
	}
}
