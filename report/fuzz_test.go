package report

import (
	"errors"
	"io"
	"path/filepath"
	"testing"
)

// FuzzLoad puts any bytes in the place of one JSON file: Load and what the
// outputs are made of give an error or a report, never a panic.
func FuzzLoad(f *testing.F) {
	files := []string{"eval/arf/seed-0/id.json", "eval/arf/seed-0/drift.json", "train/arf/seed-0/metrics.jsonl", "anchors/captions.jsonl", "run.json"}
	for _, seed := range []struct {
		file uint8
		text string
	}{
		{0, `{"role":"id","num_images":10,"num_classes":2,"metrics":{"acc1":0.5},"per_class":{"cat":{"n":5,"acc1":0.4}}}`},
		{0, `{"role":"shift","metrics":{"acc1":1e400}}`},
		{0, `{"role":"zero-shot","num_images":0,"metrics":{"acc1":null}}`},
		{1, `{"image_cosine":0.9,"before":{"recall_image_to_text@1":0.1},"after":{"recall_image_to_text@1":0.2}}`},
		{2, "{\"step\":0,\"loss\":1.5,\"lr\":1e-5,\"loss_tca\":1}\n{\"step\":1,\"loss\":null}\n"},
		{2, "{\"step\":9223372036854775807,\"loss\":1e308}\n{\"step\":-5,\"loss\":-1e308}\n"},
		{2, "{\"step\":3,\"loss\":1e308}\n{\"step\":3,\"loss\":-1e308,\"skipped\":true}\n{"},
		{3, `{"key":"a","class":"cat","captions":[{"text":"a cat","log_prob":-3,"clip_score":0.3}]}`},
		{4, `{"threads":2,"data":[{"role":"id","images":3}],"started":"2026-01-05T09:12:00Z"}`},
		{0, ""}, {2, "null"}, {3, "[]"}, {1, "{}"},
	} {
		f.Add(seed.file, []byte(seed.text))
	}
	good := `{"role":"id","num_images":10,"num_classes":2,"metrics":{"acc1":0.5},"per_class":{"cat":{"n":5,"acc1":0.4}}}`
	f.Fuzz(func(t *testing.T, file uint8, data []byte) {
		dir := t.TempDir()
		writeText(t, filepath.Join(dir, "eval/zeroshot/seed-0/id.json"), good)
		writeText(t, filepath.Join(dir, "eval/arf/seed-0/id.json"), good)
		writeText(t, filepath.Join(dir, files[int(file)%len(files)]), string(data))
		r, err := Load(dir)
		if err != nil {
			return
		}
		_, pageErr := r.page()
		_, jsonErr := encode(r.document())
		if err := errors.Join(pageErr, jsonErr, r.writeCSV(io.Discard), r.Table(io.Discard)); err != nil {
			t.Error(err)
		}
	})
}

// FuzzDataURI: any bytes give a picture or an error.
func FuzzDataURI(f *testing.F) {
	small, err := drawnImages{}.FinetuneImage("a")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(small)
	f.Add([]byte("GIF89a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if uri, err := dataURI(data); (uri == "") != (err != nil) {
			t.Errorf("%.40q and error %v", uri, err)
		}
	})
}
