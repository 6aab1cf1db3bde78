package pretrain

import (
	"testing"

	"arf/internal/graphtest"
	"arf/torch"
)

// Held-out pairs teach nothing.
func TestMeasuringRecordsNoGraph(t *testing.T) {
	pairs := makeShapes(t)
	m, err := NewModel(smallConfig(false), pairs, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	graphtest.RecordsNothing(t, func() {
		if _, err := Measure(t.Context(), m, pairs, torch.Float32); err != nil {
			t.Error(err)
		}
	}, m)
}
