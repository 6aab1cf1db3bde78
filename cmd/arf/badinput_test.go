package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"arf/checkpoint"
)

// Pictures that break off, and texts longer than the model reads, are no
// reason to stop.
func TestBrokenSamples(t *testing.T) {
	dir := small(t)
	picture := lightPictures(t, "animals", 20)[19]
	whole := read(t, picture)
	write(t, filepath.Join(dir, "train/animal/torn.png"), whole[:len(whole)/3])
	pool := poolPairs(t)
	pool[3].png = pool[3].png[:100]
	pool[5].text = strings.Repeat(pool[5].text+" ", 100)
	writeTar(t, filepath.Join(dir, "pool/00000.tar"), pool[:12])
	if err := os.Truncate(filepath.Join(dir, "pool/00001.tar"), 40<<10); err != nil { // in the middle of a picture
		t.Fatal(err)
	}
	// 33 images, 11 a step: each one's turn comes.
	out := mustRun(t, dir, smallArgs("run", "broken", "methods=[arf]", "train.batch_size=11")...)
	if !regexp.MustCompile(`WARN.*finetune images.*count=1`).MatchString(out) {
		t.Errorf("no warning that counts the broken finetune image:\n%s", out)
	}
	if !strings.Contains(out, "torn.png") {
		t.Errorf("the broken finetune image is not named:\n%s", out)
	}
	// Captions, features, training and the report all meet them.
	said := map[string]int{}
	for line := range strings.Lines(out) {
		if strings.Contains(line, "WARN") {
			said[line]++
		}
	}
	for line, n := range said {
		if n > 1 {
			t.Errorf("said %d times: %s", n, line)
		}
	}
	if !strings.Contains(out, "level=WARN msg=\"left out of the source\"") {
		t.Errorf("the damaged tar is not named:\n%s", out)
	}
	if !regexp.MustCompile(`WARN.*` + regexp.QuoteMeta(pool[3].key)).MatchString(out) {
		t.Errorf("the broken image of the pool is not named:\n%s", out)
	}
	if _, err := os.Stat(filepath.Join(dir, "runs/broken/eval/arf/seed-0/test.json")); err != nil {
		t.Error(err)
	}
}

// Captions that were edited between two commands.
func TestEditedCaptions(t *testing.T) {
	dir := small(t)
	finetune := func(name string) (string, error) {
		return arf(dir, smallArgs("finetune", name, "methods=[flyp+tca]")...)
	}
	captions := func(run string) (string, [][]byte) {
		path := filepath.Join(run, "anchors/captions.jsonl")
		lines := bytes.SplitAfter(read(t, path), []byte("\n"))
		if len(lines) < 32 {
			t.Fatalf("%d lines of captions", len(lines))
		}
		return path, lines
	}
	list := regexp.MustCompile(`"captions":\[.*?\]`)
	t.Run("none for an image", func(t *testing.T) {
		path, lines := captions(runAs(t, dir, "none"))
		lines[2] = list.ReplaceAll(lines[2], []byte(`"captions":[]`))
		write(t, path, bytes.Join(lines, nil))
		out, err := finetune("none")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !strings.Contains(out, "WARN") || !strings.Contains(out, "caption") {
			t.Errorf("no warning of the image without captions:\n%s", out)
		}
	})
	t.Run("empty text", func(t *testing.T) {
		path, lines := captions(runAs(t, dir, "empty"))
		lines[2] = list.ReplaceAll(lines[2], []byte(`"captions":[{"text":"","log_prob":-1,"clip_score":0.1}]`))
		write(t, path, bytes.Join(lines, nil))
		out, err := finetune("empty")
		mustFail(t, out, err, "captions.jsonl", "line 3", "empty", "remove the file")
	})
	t.Run("garbage", func(t *testing.T) {
		path, lines := captions(runAs(t, dir, "garbage"))
		lines[2] = []byte("what?\n")
		write(t, path, bytes.Join(lines, nil))
		out, err := finetune("garbage")
		mustFail(t, out, err, "captions.jsonl", "line 3", "remove the file")
		// The mend that the message names works.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if out, err := finetune("garbage"); err != nil {
			t.Errorf("with the file removed: %v\n%s", err, out)
		}
	})
}

// Weights that are torn, or another model's.
func TestWrongCheckpoint(t *testing.T) {
	dir := small(t)
	weights := filepath.Join(dir, "vit/model.safetensors")
	whole := read(t, weights)
	tensors, meta, err := checkpoint.ReadSafetensors(weights)
	if err != nil {
		t.Fatal(err)
	}
	const tensor = "text_model.encoder.layers.1.mlp.fc1.weight"
	for name, c := range map[string]struct {
		spoil func(t *testing.T)
		wants []string
	}{
		"torn":         {func(t *testing.T) { write(t, weights, whole[:len(whole)/2]) }, []string{"model.safetensors"}},
		"only a start": {func(t *testing.T) { write(t, weights, whole[:4]) }, []string{"model.safetensors"}},
		"nothing":      {func(t *testing.T) { write(t, weights, nil) }, []string{"model.safetensors"}},
		"other width": {func(t *testing.T) {
			path := filepath.Join(dir, "vit/config.json")
			config := read(t, path)
			t.Cleanup(func() { write(t, path, config) })
			write(t, path, bytes.ReplaceAll(config, []byte(`"intermediate_size": 128`), []byte(`"intermediate_size": 256`)))
		}, []string{"model.safetensors", ".mlp.fc1."}},
		"a tensor less": {func(t *testing.T) {
			less := checkpoint.Tensors{}
			for k, v := range tensors {
				if k != tensor {
					less[k] = v
				}
			}
			if err := checkpoint.WriteSafetensors(weights, less, meta); err != nil {
				t.Fatal(err)
			}
		}, []string{"model.safetensors", tensor}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Cleanup(func() { write(t, weights, whole) })
			c.spoil(t)
			out, err := arf(dir, smallArgs("finetune", "wrong", "methods=[flyp]")...)
			mustFail(t, out, err, c.wants...)
		})
	}
}
