package eval

import (
	"testing"

	"arf/dataset"
	"arf/internal/cliptest"
	"arf/internal/graphtest"
)

// Neither the pretrained nor the finetuned model learns from being measured.
func TestMeasuringRecordsNoGraph(t *testing.T) {
	before, after := cliptest.Model(t, 1), cliptest.Model(t, 2)
	pairs := openData(t, cliptest.Pairs(t, t.TempDir(), 20, 0))
	dir := t.TempDir()
	cliptest.Folder(t, dir, cliptest.Shapes[:2], 3, 0)
	images, err := dataset.Images(dir)
	if err != nil {
		t.Fatal(err)
	}
	classes := []Class{{Name: cliptest.Shapes[0]}, {Name: cliptest.Shapes[1]}}
	graphtest.RecordsNothing(t, func() {
		if _, err := Drift(t.Context(), before, after, pairs, 0, Options{}); err != nil {
			t.Error(err)
		}
		if _, err := Interpolate(before, after, 0.5); err != nil {
			t.Error(err)
		}
		suite := Suite{Name: "id", Data: openData(t, dir), Classes: classes, Templates: templates}
		if _, err := Evaluate(t.Context(), after, suite, Options{}); err != nil {
			t.Error(err)
		}
		if err := Classify(t.Context(), after, images, classes, templates, 1, Options{}, func(Prediction) error { return nil }); err != nil {
			t.Error(err)
		}
	}, before, after)
}
