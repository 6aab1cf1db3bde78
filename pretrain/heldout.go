package pretrain

import (
	"context"
	"fmt"

	"arf/clip"
	"arf/dataset"
	"arf/torch"
)

// HeldOut is how well a model names pairs that it was not trained on: zero-shot
// classification of each image among all distinct texts of the held-out pairs.
type HeldOut struct {
	Top1   float64 `json:"top1"` // fractions
	Top5   float64 `json:"top5"`
	Images int     `json:"images"`
	Texts  int     `json:"texts"`
}

// Measure evaluates m on held-out pairs.
func Measure(ctx context.Context, m *clip.Model, pairs dataset.Dataset, precision torch.DType) (h HeldOut, err error) {
	defer torch.Catch(&err)
	const batchSize = 256
	loader, err := dataset.NewLoader(pairs, dataset.Options{BatchSize: batchSize, Preprocess: m.Preprocess, Epochs: 1})
	if err != nil {
		return h, err
	}
	m.SetTraining(false)
	d := m.Device()
	number := map[string]int64{}
	var texts []string
	var target []int64
	var images []*torch.Tensor
	torch.NoGrad(func() {
		for batch, failed := range loader.Batches(ctx) {
			if failed != nil {
				err = failed
				return
			}
			torch.Scope(func() {
				torch.Autocast(d, precision, func() {
					images = append(images, m.EncodeImage(m.Pixels(batch.Pixels, len(batch.Samples))).Keep())
				})
			})
			for _, s := range batch.Samples {
				if _, ok := number[s.Text]; !ok {
					number[s.Text] = int64(len(texts))
					texts = append(texts, s.Text)
				}
				target = append(target, number[s.Text])
			}
			batch.Release()
		}
		if len(target) == 0 {
			err = fmt.Errorf("held-out pairs: no sample could be read")
			return
		}
		torch.Scope(func() {
			var features []*torch.Tensor
			for start := 0; start < len(texts); start += batchSize {
				torch.Autocast(d, precision, func() {
					features = append(features, m.EncodeText(m.Tokenize(texts[start:min(start+batchSize, len(texts))])))
				})
			}
			head := torch.Cat(0, features...).Transpose(0, 1)
			row := 0
			for _, f := range images {
				_, best := f.MatMul(head).TopK(min(5, len(texts)))
				ranks := torch.To[int64](best)
				k := best.Dim(1)
				for i := range best.Dim(0) {
					for j, id := range ranks[i*k : (i+1)*k] {
						if id == target[row] {
							h.Top5++
							if j == 0 {
								h.Top1++
							}
						}
					}
					row++
				}
				f.Free()
			}
		})
	})
	if err != nil {
		return HeldOut{}, err
	}
	h.Images, h.Texts = len(target), len(texts)
	h.Top1, h.Top5 = h.Top1/float64(h.Images), h.Top5/float64(h.Images)
	return h, nil
}
