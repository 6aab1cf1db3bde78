package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"arf/internal/parquetfile"
)

// TestSources: CoOp's base-to-new setting from a split file, with another
// style's images of the base classes in a Parquet file.
func TestSources(t *testing.T) {
	dir := small(t)
	classes := []string{"animal", "food", "plant", "vehicle"} // base: the first two
	splits := map[string][][3]any{}
	type row struct {
		Image []byte `parquet:"image"`
		Class string `parquet:"class"`
	}
	var sketches []row
	for label, class := range classes {
		for part, split := range map[string]string{"train": "train", "test": "test", "sketches": ""} {
			pictures, err := os.ReadDir(filepath.Join(dir, part, class))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range pictures {
				path := filepath.Join(part, class, p.Name())
				switch {
				case split != "":
					splits[split] = append(splits[split], [3]any{path, label, class})
				case label < 2:
					sketches = append(sketches, row{read(t, filepath.Join(dir, path)), class})
				}
			}
		}
	}
	data, err := json.Marshal(splits)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "split_zhou_Small.json"), data)
	if err := parquetfile.Write(filepath.Join(dir, "sketches.parquet"), sketches); err != nil {
		t.Fatal(err)
	}
	mustRun(t, dir, smallArgs("eval", "base-to-new", "methods=[flyp]", "data.validation.path=",
		"data.finetune.path=split_zhou_Small.json", "data.finetune.split=train", "data.finetune.half=base",
		"eval.suites[0].source.path=split_zhou_Small.json", "eval.suites[0].source.split=test", "eval.suites[0].source.half=base",
		"eval.suites[1].source.path=sketches.parquet",
		"eval.suites[2].source.path=split_zhou_Small.json", "eval.suites[2].source.split=test", "eval.suites[2].source.half=new")...)
	for suite, want := range map[string][]string{"test": classes[:2], "sketches": classes[:2], "other-classes": classes[2:]} {
		var result struct {
			Images   int                        `json:"num_images"`
			PerClass map[string]json.RawMessage `json:"per_class"`
		}
		path := filepath.Join(dir, "runs/base-to-new/eval/flyp/seed-0", suite+".json")
		if err := json.Unmarshal(read(t, path), &result); err != nil {
			t.Fatal(err)
		}
		var got []string
		for c := range result.PerClass {
			got = append(got, c)
		}
		if slices.Sort(got); !slices.Equal(got, want) || result.Images == 0 {
			t.Errorf("%s: %d images of %q, want %q", suite, result.Images, got, want)
		}
	}
}
