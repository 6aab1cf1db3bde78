package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

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
		for i, picture := range pictures(t, folder, 18) {
			part := []string{"train", "train", "test"}[i%3]
			copyTo(picture, filepath.Join(dir, part, class, filepath.Base(picture)))
		}
	}
	for class, folder := range map[string]string{"planet": "space", "sport": "sports", "clothes": "clothes"} {
		for _, picture := range pictures(t, folder, 6) {
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
		for _, picture := range pictures(t, folder, 20) {
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
