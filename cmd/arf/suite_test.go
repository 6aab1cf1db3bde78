package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/internal/cliptest"
)

// testSets writes a few images in the layouts of the official archives.
func testSets(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for i, path := range []string{
		"ILSVRC2012/val/n01440764/a.JPEG", "ILSVRC2012/val/n02814860/a.JPEG", "ILSVRC2012/val/n02814860/b.JPEG",
		"imagenetv2/imagenetv2-matched-frequency-format-val/10/a.jpeg", "imagenetv2/imagenetv2-matched-frequency-format-val/2/a.jpeg",
		"imagenet-a/n01498041/a.jpg", "imagenet-a/n12267677/a.jpg",
		"objectnet-1.0/images/chair/a.png", "objectnet-1.0/images/squeegee/a.png",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, cliptest.Picture(t, cliptest.Colors[i%5], cliptest.Shapes[i%5], uint64(i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestEvalSuites(t *testing.T) {
	root, out := testSets(t), t.TempDir()
	model := filepath.Join(repository, "models", "icon-clip")
	// Two threads would wait for each other on a busy machine.
	command := []string{"eval", model, "--threads", "1", "--suite", "imagenet-robustness", "--data", root, "--templates", "an icon of a {}", "--out", filepath.Join(out, "a")}
	text, err := arf(out, append(command, "--csv", "table.csv")...)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, want := range []string{
		"missing: imagenet-r (ImageNet-R): no " + root + "/imagenet-r, nor " + root + "/imagenet-rendition/imagenet-r", "archive: imagenet-r.tar",
		"imagenet1k", "3 of 50000", "imagenetv2", "imagenet-a", "objectnet", "average OOD", "most frequent mistakes on",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	type result struct {
		Dataset, Model, Pretrained, Task, Language, Role string
		Images                                           int `json:"num_images"`
		Classes                                          int `json:"num_classes"`
		LeftOut                                          int `json:"num_masked"`
		Border                                           int `json:"border_crop"`
		Templates                                        []string
		Mask                                             []string `json:"class_mask"`
		Metrics                                          map[string]*float64
		PerClass                                         map[string]struct{ N int } `json:"per_class"`
	}
	read := func(name string) result {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(out, "a", "imagenet-robustness", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var r result
		if err := json.Unmarshal(data, &r); err != nil {
			t.Fatal(err)
		}
		if r.Dataset != name || r.Model != model || r.Pretrained == "" || r.Task != "zeroshot_classification" || r.Language != "en" || len(r.Templates) != 1 || r.Metrics["acc1"] == nil {
			t.Errorf("%+v", r)
		}
		return r
	}
	if r := read("imagenet1k"); r.Images != 3 || r.Classes != 1000 || r.Mask != nil || r.PerClass["n02814860"].N != 2 {
		t.Errorf("imagenet1k: %d images, %d classes", r.Images, r.Classes)
	}
	if r := read("imagenetv2"); r.Images != 2 || r.PerClass["n01530575"].N != 1 || r.PerClass["n01484850"].N != 1 {
		t.Errorf("imagenetv2: %d images", r.Images)
	}
	if r := read("imagenet-a"); r.Images != 2 || r.Classes != 200 || len(r.Mask) != 200 {
		t.Errorf("imagenet-a: %d images, %d classes", r.Images, r.Classes)
	}
	if r := read("objectnet"); r.Images != 1 || r.Classes != 113 || r.LeftOut != 1 || r.Border != 2 {
		t.Errorf("objectnet: %d images, %d classes", r.Images, r.Classes)
	}
	if table, err := os.ReadFile(filepath.Join(out, "table.csv")); err != nil || strings.Count(string(table), "\n") != 1+4+1 {
		t.Errorf("%s, %v", table, err)
	}

	// What is there isn't measured again; the model against itself has no lead.
	if text, err = arf(out, append(command, "--baseline", filepath.Join(out, "a"))...); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !strings.Contains(text, "4 of 4 results were there already") || !strings.Contains(text, "over baseline") || !strings.Contains(text, "text  0.00\n") || strings.Contains(text, "+0.00") {
		t.Errorf("again:\n%s", text)
	}
}

func TestEvalOwnData(t *testing.T) {
	root := t.TempDir()
	cliptest.Folder(t, filepath.Join(root, "mine"), []string{"disc", "cross"}, 4, 0)
	model := filepath.Join(repository, "models", "icon-clip")
	text, err := arf(root, "eval", model, "--data", "mine", "--classes", "disc,cross,ring", "--precision", "auto")
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if _, err := os.Stat(filepath.Join(root, "runs", "eval", "models-icon-clip", "mine.json")); err != nil {
		t.Error(err)
	}
	pairs := cliptest.Pairs(t, filepath.Join(root, "pairs"), 12, 0)
	if text, err = arf(root, "eval", model, "--data", pairs, "--out", "out"); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !strings.Contains(text, "image to text @1") {
		t.Errorf("no retrieval in\n%s", text)
	}
	if text, err = arf(root, "eval", "--list"); err != nil || !strings.Contains(text, "imagenet-robustness: ") || !strings.Contains(text, "ROOT/objectnet-1.0/images") || !strings.Contains(text, "wds_vtab-dtd") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestEvalMistakes(t *testing.T) {
	root := testSets(t)
	model := filepath.Join(repository, "models", "icon-clip")
	if err := os.WriteFile(filepath.Join(root, "my.yaml"), []byte("name: x\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"give a MODEL or a CONFIG", nil},
		{"--suite is for arf eval MODEL", []string{"my.yaml", "--suite", "vtab"}},
		{"--set is for arf eval CONFIG", []string{model, "--set", "name=x"}},
		{"give --data", []string{model, "--suite", "vtab"}},
		{"known are coop11", []string{model, "--suite", "imagenet", "--data", "."}},
		{"none of the test sets is below", []string{model, "--suite", "coop11", "--data", "."}},
		{"--classes is for a test set of your own", []string{model, "--suite", "vtab", "--data", ".", "--classes", "a,b"}},
		{"nofile.yaml: no such file", []string{"nofile.yaml", "--data", "."}},
		{"--limit -3", []string{model, "--data", "imagenet-a", "--limit", "-3"}},
		{"--batch-size 0", []string{model, "--data", "imagenet-a", "--batch-size", "0"}},
		{"needs {} once", []string{model, "--data", "imagenet-a", "--templates", "a {} and {}"}},
		{"has no {}, where the class name goes", []string{model, "--data", "imagenet-a", "--templates", "an icon"}},
		{"fp8", []string{model, "--data", "imagenet-a", "--precision", "fp8"}},
		{"head", []string{model, "--data", "imagenet-a", "--head", "my.yaml"}},
	} {
		text, err := arf(root, append([]string{"eval"}, c.args...)...)
		if err == nil || !strings.Contains(text, c.want) || strings.Contains(text, "goroutine") {
			t.Errorf("%q: want %q, got %v\n%s", fmt.Sprint(c.args), c.want, err, text)
		}
	}
}
