package report

import (
	"errors"
	"io"
	"path/filepath"
	"testing"
)

// FuzzLoad puts any bytes in the place of each JSON file: Load and the outputs
// give an error or a report, never a panic.
func FuzzLoad(f *testing.F) {
	for _, seed := range []string{
		`{"role":"id","num_images":10,"num_classes":2,"metrics":{"acc1":0.5},"per_class":{"cat":{"n":5,"acc1":0.4}}}`,
		`{"image_cosine":0.9,"recall_image_to_text@1":{"before":0.1,"after":0.2}}`,
		"{\"step\":0,\"loss\":1.5,\"lr\":1e-5}\n{\"step\":1,\"loss\":null}\n",
		"{\"step\":9223372036854775807,\"loss\":1e308}\n{\"step\":-5,\"loss\":-1e308}\n",
		`{"key":"a","class":"cat","captions":[{"text":"a cat","log_prob":-3,"clip_score":0.3}]}`,
		`{"threads":2,"data":[{"role":"id","images":3}],"started":"2026-01-05T09:12:00Z"}`,
		`{"role":"shift","metrics":{"acc1":1e400}}`, "", "null", "[]", "{}",
	} {
		f.Add([]byte(seed))
	}
	good := `{"role":"id","num_images":10,"num_classes":2,"metrics":{"acc1":0.5},"per_class":{"cat":{"n":5,"acc1":0.4}}}`
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, file := range []string{"eval/arf/seed-0/id.json", "eval/arf/seed-0/drift.json", "train/arf/seed-0/metrics.jsonl", "anchors/captions.jsonl", "run.json"} {
			dir := t.TempDir()
			writeText(t, filepath.Join(dir, "eval/zeroshot/seed-0/id.json"), good)
			writeText(t, filepath.Join(dir, "eval/arf/seed-0/id.json"), good)
			writeText(t, filepath.Join(dir, file), string(data))
			r, err := Load(dir)
			if err != nil {
				continue
			}
			_, err = encode(r.document())
			if err := errors.Join(err, r.writeHTML(io.Discard), r.writeCSV(io.Discard), r.Table(io.Discard)); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	})
}

func FuzzDataURI(f *testing.F) {
	small, _ := drawnImages{}.FinetuneImage("a")
	f.Add(small)
	f.Add([]byte("GIF89a"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := dataURI(data); err != nil {
			return
		}
	})
}
