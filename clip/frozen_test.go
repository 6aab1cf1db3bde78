package clip

import (
	"testing"

	"arf/internal/graphtest"
	"arf/torch"
)

// Features are taken of the pool, of classes and of the model before finetuning,
// which all are only looked at.
func TestFeaturesRecordNoGraph(t *testing.T) {
	for _, name := range []string{"vit_gelu_eos", "resnet"} {
		for _, precision := range []torch.DType{torch.Float32, torch.BFloat16} {
			m := randomModel(t, name)
			pixels := make([]uint8, 2*m.Preprocess.Bytes())
			graphtest.RecordsNothing(t, func() {
				if _, err := m.ImageFeatures(t.Context(), pixels, 2, precision); err != nil {
					t.Error(err)
				}
				if _, err := m.TextFeatures(t.Context(), []string{"a red cat", "the blue dog"}, precision); err != nil {
					t.Error(err)
				}
			}, m)
		}
	}
}
