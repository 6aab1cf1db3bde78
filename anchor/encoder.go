package anchor

import (
	"context"
	"strings"

	"arf/clip"
	"arf/imaging"
	"arf/index"
	"arf/torch"
)

// Encoder computes features with a CLIP; it is the index.Encoder of retrieval.
type Encoder struct {
	Model     *clip.Model
	Precision torch.DType // torch.BFloat16 or torch.Float32 (the zero value too)
}

// Images maps n preprocessed images [n, size, size, 3] to features [n, Dim].
func (e Encoder) Images(ctx context.Context, pixels []uint8, n int) ([]float32, error) {
	return e.Model.ImageFeatures(ctx, pixels, n, e.Precision)
}

// Texts maps texts to features [len(texts), Dim].
func (e Encoder) Texts(ctx context.Context, texts []string) ([]float32, error) {
	return e.Model.TextFeatures(ctx, texts, e.Precision)
}

// Preprocess is the model's.
func (e Encoder) Preprocess() imaging.Preprocess { return e.Model.Preprocess }

// Dim is the length of a feature.
func (e Encoder) Dim() int { return e.Model.Config.EmbedDim }

// Hash is the model's, with the precision.
func (e Encoder) Hash() (string, error) {
	hash, err := e.Model.Hash()
	if e.Precision == torch.BFloat16 {
		hash += bfloat16
	}
	return hash, err
}

// bfloat16 ends the hash of a model that computes in it.
const bfloat16 = "-bf16"

// sameModel tells whether features are of one model. Of other precisions they are
// much the same: CheckFeatures measures it.
func sameModel(a, b *index.Store) bool {
	of := func(s *index.Store) string { return strings.TrimSuffix(s.Manifest.Model, bfloat16) }
	return a.Dim() == b.Dim() && (of(a) == "" || of(b) == "" || of(a) == of(b))
}
