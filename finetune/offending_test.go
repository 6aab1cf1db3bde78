package finetune

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/checkpoint"
	"arf/torch"
	"arf/train"
)

// A training that diverges leaves the batch that ended it, from which its loss
// can be computed again.
func TestTheOffendingBatchIsSaved(t *testing.T) {
	dir := t.TempDir()
	data := pictures(16, 3)
	m := tiny(t)
	o := quick(ARF)
	o.Dir, o.Epochs = dir, 4
	o.Progress = func(s train.Metrics) {
		if s.Step == 3 { // from here on no feature is finite
			torch.NoGrad(func() { m.VisualProjection.Weight.Fill_(3e38) })
		}
	}
	_, err := Run(context.Background(), m, data, o)
	where := filepath.Join(dir, "nonfinite", "step-13")
	if err == nil || !strings.Contains(err.Error(), where) || !strings.Contains(err.Error(), "10 times in a row") {
		t.Fatalf("got %v, want one that names %s", err, where)
	}
	var saved train.SavedBatch
	content, err := os.ReadFile(filepath.Join(where, "batch.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &saved); err != nil {
		t.Fatal(err)
	}
	// The same step of a run that is well.
	want, err := startTask(t, tiny(t), data, quickOf(o), 12).feed.next()
	if err != nil {
		t.Fatal(err)
	}
	if saved.Step != 13 || len(saved.Samples) != 4 || len(saved.Pairs) != len(want.Rows) || len(want.Rows) == 0 {
		t.Fatalf("saved %+v", saved)
	}
	for i, item := range saved.Samples {
		s := data.Finetune.(*memory).samples[want.Samples[i]]
		if item.Key != s.Key || item.Number != want.Samples[i] || *item.Label != want.Labels[i] ||
			len(item.Texts) != 2 || !strings.Contains(item.Texts[0], s.Class) || !slices.Contains(data.Captions[s.Key], item.Texts[1]) {
			t.Errorf("row %d: %+v of %s", i, item, s.Key)
		}
	}
	for i, item := range saved.Pairs {
		s := data.Pool.(*memory).samples[want.Rows[i]]
		if item.Key != s.Key || len(item.Texts) != 1 || !slices.Contains(s.Texts, item.Texts[0]) {
			t.Errorf("pair %d: %+v of %s", i, item, s.Key)
		}
	}
	tensors, _, err := checkpoint.ReadSafetensors(filepath.Join(where, "batch.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if p := tensors["pixels"]; !slices.Equal(p.Shape, []int{4 + len(want.Rows), 16, 16, 3}) || !slices.Equal(p.Data, want.Pixels) {
		t.Errorf("pixels of shape %v, or others than the step's", p.Shape)
	}
}

// quickOf is o without its folder.
func quickOf(o Options) Options {
	o.Dir, o.Progress = "", nil
	return o
}
