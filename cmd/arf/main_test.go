package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stamps are photographs and drawings with captions, from Debian's package
// tuxpaint-stamps-default.
const stamps = "/usr/share/tuxpaint/stamps"

var program, repository string

// TestMain builds the program once.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "arf")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		if repository, err = filepath.Abs("../.."); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		program = filepath.Join(dir, "arf")
		if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%s%v\n", out, err)
			return 1
		}
		return m.Run()
	}())
}

// arf runs the program in a folder and returns what it printed.
func arf(dir string, args ...string) (string, error) {
	out, err := command(dir, args...).CombinedOutput()
	return string(out), err
}

func command(dir string, args ...string) *exec.Cmd {
	c := exec.Command(program, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "ARF_ENGINE="+filepath.Join(repository, "build", "libarf_torch.so"))
	return c
}

// ownData lays pictures that are no icons out as a user has them: a folder of
// images a class for training and for tests, a CSV of pictures with captions as
// the pool. It returns the folder, with a config run.yaml in it.
func ownData(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	copyTo := func(from, to string) {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for class, folder := range map[string]string{"animal": "animals", "food": "food", "plant": "plants", "vehicle": "vehicles"} {
		for i, picture := range pictures(t, folder, 36) {
			part := []string{"train", "train", "test"}[i%3]
			copyTo(picture, filepath.Join(dir, part, class, filepath.Base(picture)))
		}
	}
	for class, folder := range map[string]string{"planet": "space", "sport": "sports", "clothes": "clothes"} {
		for _, picture := range pictures(t, folder, 12) {
			copyTo(picture, filepath.Join(dir, "other", class, filepath.Base(picture)))
		}
	}
	table, err := os.Create(filepath.Join(dir, "pool.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	w := csv.NewWriter(table)
	rows := [][]string{{"filepath", "title"}}
	for _, folder := range []string{"household", "seasonal", "town", "symbols"} {
		for _, picture := range pictures(t, folder, 60) {
			rows = append(rows, []string{picture, caption(t, picture)})
		}
	}
	if err := w.WriteAll(rows); err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`name: own
model: %[1]s/models/icon-clip
methods: [zeroshot, ft, flyp, flyp+tca, flyp+ita, arf]
data:
  finetune: {path: train}
  pool: {path: pool.csv}
anchors:
  captions: {captioner: %[1]s/models/icon-captioner, per_image: 2}
  pairs: {k: 3}
train: {batch_size: 16, epochs: 1, lr: 1e-4, warmup_steps: 1}
eval:
  suites:
    - {name: test, role: id, source: {path: test}}
    - {name: other, role: zero-shot, source: {path: other}}
  wise_alphas: [0, 0.5, 1]
  drift: {source: {path: pool.csv, limit: 50}}
`, repository)
	if err := os.WriteFile(filepath.Join(dir, "run.yaml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// pictures lists up to n pictures with captions below a folder of the stamps.
func pictures(t *testing.T, folder string, n int) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(filepath.Join(stamps, folder), func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".png") && len(found) < n {
			if _, err := os.Stat(strings.TrimSuffix(path, ".png") + ".txt"); err == nil {
				found = append(found, path)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("%v; install tuxpaint-stamps-default (make setup does for tests)", err)
	}
	if len(found) == 0 {
		t.Fatalf("no captioned pictures in %s", folder)
	}
	return found
}

// caption is the English line of a stamp's text.
func caption(t *testing.T, picture string) string {
	t.Helper()
	data, err := os.ReadFile(strings.TrimSuffix(picture, ".png") + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(line)
}

// The whole method, every method, on pictures that are no icons; then once
// more, where nothing is left to do.
func TestOwnData(t *testing.T) {
	dir := ownData(t)
	out, err := arf(dir, "run", "run.yaml")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := filepath.Join(dir, "runs", "own")
	for _, file := range []string{
		"config.yaml", "run.json", "anchors/captions.jsonl", "anchors/pairs.parquet", "report.html", "results.json", "results.csv",
		"train/arf/seed-0/metrics.jsonl", "train/ft/seed-0/model/head.safetensors", "eval/zeroshot/seed-0/test.json",
		"eval/arf/seed-0/other.json", "eval/arf/seed-0/drift.json", "eval/ft/seed-0/wise-0.5/test.json",
	} {
		if info, err := os.Stat(filepath.Join(run, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	// The pretrained weights, and those of alpha 0, are the same model.
	if a, b := accuracy(t, run, "eval/zeroshot/seed-0/test.json"), accuracy(t, run, "eval/ft/seed-0/wise-0/test.json"); a != b {
		t.Errorf("accuracy of the pretrained model %v, of alpha 0 %v", a, b)
	}
	if a, b := accuracy(t, run, "eval/ft/seed-0/test.json"), accuracy(t, run, "eval/ft/seed-0/wise-1/test.json"); a != b {
		t.Errorf("accuracy of the finetuned model %v, of alpha 1 %v", a, b)
	}
	before := modified(t, filepath.Join(run, "train/arf/seed-0/model"))
	if out, err := arf(dir, "run", "run.yaml"); err != nil {
		t.Fatalf("second run: %v\n%s", err, out)
	}
	if after := modified(t, filepath.Join(run, "train/arf/seed-0/model")); !after.Equal(before) {
		t.Error("a finished finetuning was done again")
	}
	if out, err := arf(dir, "run", "run.yaml", "--set", "train.lr=2e-4", "--set", "methods=[zeroshot, flyp]"); err != nil {
		t.Fatalf("changed config: %v\n%s", err, out)
	}
	if out, err := arf(dir, "interpolate", filepath.Join(repository, "models/icon-clip"), filepath.Join(run, "train/arf/seed-0/model"), "--alpha", "0.3", "--out", "wise"); err != nil {
		t.Errorf("interpolate: %v\n%s", err, out)
	}
}

func accuracy(t *testing.T, run, file string) float64 {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(run, file))
	if err != nil {
		t.Fatal(err)
	}
	var result struct {
		Metrics struct {
			Acc1 float64 `json:"acc1"`
		} `json:"metrics"`
	}
	if err := json.Unmarshal(data, &result); err != nil {
		t.Fatal(err)
	}
	return result.Metrics.Acc1
}

func modified(t *testing.T, dir string) time.Time {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var newest time.Time
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	return newest
}

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

// Ctrl-C in training saves and exits; the same command goes on and ends with
// the weights of a run that was left alone.
func TestInterruptAndResume(t *testing.T) {
	dir := ownData(t)
	args := func(name string) []string {
		return []string{"finetune", "run.yaml", "--set", "name=" + name, "--set", "methods=[flyp]", "--set", "train.epochs=6", "--set", "train.workers=1"}
	}
	if out, err := arf(dir, args("whole")...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	c := command(dir, args("cut")...)
	var log strings.Builder
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	metrics := filepath.Join(dir, "runs/cut/train/flyp/seed-0/metrics.jsonl")
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		data, _ := os.ReadFile(metrics)
		if strings.Count(string(data), "\n") >= 5 {
			break
		}
		if time.Now().After(deadline) {
			c.Process.Kill()
			t.Fatalf("no steps in two minutes:\n%s", log.String())
		}
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) {
		t.Fatalf("the run ended before it was interrupted (%v); make it longer\n%s", err, log.String())
	} else if status := exit.Sys().(syscall.WaitStatus); status.ExitStatus() != 130 {
		t.Errorf("exit status %d, want 130\n%s", status.ExitStatus(), log.String())
	}
	if out, err := arf(dir, args("cut")...); err != nil {
		t.Fatalf("resume: %v\n%s", err, out)
	}
	weights := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, "runs", name, "train/flyp/seed-0/model/open_clip_model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	if !slices.Equal(weights("whole"), weights("cut")) {
		t.Error("the resumed run has other weights than the one that was left alone")
	}
}
