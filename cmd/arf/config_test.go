package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"arf/clip"
	"arf/torch"
)

// configs/own-data.yaml itself, on a Hugging Face model with a pool in tars.
func TestOwnDataConfig(t *testing.T) {
	dir := small(t)
	mustRun(t, dir, smallArgs("run", "my-run")...)
	run := filepath.Join(dir, "runs/my-run")
	before := read(t, filepath.Join(dir, "vit/model.safetensors"))
	for _, method := range []string{"flyp", "arf+class-text"} {
		folder := filepath.Join(run, "train", method, "seed-0")
		model := filepath.Join(folder, "model")
		for _, file := range []string{"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"} {
			if info, err := os.Stat(filepath.Join(model, file)); err != nil || info.Size() == 0 {
				t.Errorf("%s/%s: %v", method, file, err)
			}
		}
		m, err := clip.Load(model, torch.CPU)
		if err != nil {
			t.Fatal(err)
		}
		if m.Config.Vision.PatchSize != 8 || m.Tokenizer.ContextLength() != 16 {
			t.Errorf("%s is another architecture: %+v", method, m.Config)
		}
		if bytes.Equal(read(t, filepath.Join(model, "model.safetensors")), before) {
			t.Errorf("%s left the pretrained weights", method)
		}
		// 32 images, 8 a step.
		if lines := bytes.Split(bytes.TrimSpace(read(t, filepath.Join(folder, "metrics.jsonl"))), []byte("\n")); len(lines) != 4 {
			t.Errorf("%s: %d lines of metrics, want 4", method, len(lines))
		} else {
			for _, line := range lines {
				var step struct{ Loss float64 }
				if err := json.Unmarshal(line, &step); err != nil || step.Loss <= 0 {
					t.Errorf("%s: metrics %s: %v", method, line, err)
				}
			}
		}
		if _, err := os.Stat(filepath.Join(folder, "checkpoints")); !os.IsNotExist(err) {
			t.Errorf("%s: checkpoints of a finished finetuning: %v", method, err)
		}
	}
	for _, method := range []string{"zeroshot", "flyp", "arf+class-text"} {
		for suite, want := range map[string]struct{ images, classes int }{"test": {8, 4}, "sketches": {8, 4}, "other-classes": {6, 2}} {
			var result struct {
				Images  int `json:"num_images"`
				Classes int `json:"num_classes"`
			}
			data := read(t, filepath.Join(run, "eval", method, "seed-0", suite+".json"))
			if err := json.Unmarshal(data, &result); err != nil || result.Images != want.images || result.Classes != want.classes {
				t.Errorf("%s on %s: %+v, want %+v (%v)", method, suite, result, want, err)
			}
		}
	}
}
