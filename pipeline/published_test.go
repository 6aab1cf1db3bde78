package pipeline

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"arf/eval"
	"arf/internal/cliptest"
)

func TestPublishedSuite(t *testing.T) {
	dir := prepare(t)
	root := filepath.Join(dir, "published")
	for i, path := range []string{"imagenet-a/n01498041/a.jpg", "imagenet-a/n12267677/a.jpg", "ILSVRC2012/val/n01440764/a.JPEG", "imagenetv2-matched-frequency-format-val/10/a.jpeg"} {
		write(t, filepath.Join(root, path), cliptest.Picture(t, "red", "disc", uint64(i)))
	}
	const entry = `{suite: imagenet-robustness, source: {path: ROOT}, templates: ["a {} drawing"]}`
	suites := func(list string) []string {
		return []string{"methods=[zeroshot]", "eval.suites=[" + strings.ReplaceAll(list, "ROOT", root) + "]"}
	}
	if err := Run(context.Background(), load(t, dir, suites(entry)...), Evaluate, Options{}); err != nil {
		t.Fatal(err)
	}
	for name, n := range map[string]int{"imagenet1k": 1, "imagenetv2": 1, "imagenet-a": 2} {
		r, err := eval.LoadResult(filepath.Join(dir, "runs/run/eval/zeroshot/seed-0", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if r.Images != n || len(r.Templates) != 1 || r.DataSHA256 == "" || (r.Role == "id") != (name == "imagenet1k") {
			t.Errorf("%s: %d images, role %s", name, r.Images, r.Role)
		}
	}
	for list, want := range map[string]string{
		entry + ", " + entry:                      "name of an earlier suite",
		`{suite: imagenet, source: {path: ROOT}}`: "known are",
		`{suite: vtab, source: {path: ROOT}}`:     "none of its test sets is below",
	} {
		if err := Run(context.Background(), load(t, dir, suites(list)...), Evaluate, Options{}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "eval.suites[") {
			t.Errorf("%s: %v", list, err)
		}
	}
}
