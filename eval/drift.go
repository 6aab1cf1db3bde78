package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"arf/clip"
	"arf/dataset"
	"arf/torch"
)

// DriftResult is how far finetuning moved the features of image-text pairs that
// it didn't see, and what that did to retrieval among them.
type DriftResult struct {
	Pairs    int `json:"num_pairs"`
	Texts    int `json:"num_texts"` // different ones
	LeftOut  int `json:"num_without_text"`
	Broken   int `json:"num_broken"`
	Selected int `json:"num_selected"` // the pairs asked for

	ImageCosine float64 `json:"image_cosine"` // mean cosine of features before and after, [−1, 1]
	TextCosine  float64 `json:"text_cosine"`  // of the different texts
	Before      Recall  `json:"before"`
	After       Recall  `json:"after"`

	Method string `json:"method"` // set by the caller
	Seed   int    `json:"seed"`   // set by the caller
}

// RecallAt are the ranks that recall is given for.
var RecallAt = [3]int{1, 5, 10}

// Recall is the share of queries whose match is among the first 1, 5 and 10,
// each in [0, 1]. Pairs with equal texts are each other's matches. A match that
// ties with others counts as the last of them, so that features that have
// collapsed to one have no recall.
type Recall struct {
	ImageToText [3]float64 // texts ranked for an image, among the different ones
	TextToImage [3]float64
}

// MarshalJSON names the numbers recall_image_to_text@1 and so on.
func (r Recall) MarshalJSON() ([]byte, error) {
	m := map[string]float64{}
	for i, k := range RecallAt {
		m[fmt.Sprintf("recall_image_to_text@%d", k)] = r.ImageToText[i]
		m[fmt.Sprintf("recall_text_to_image@%d", k)] = r.TextToImage[i]
	}
	return json.Marshal(m)
}

// Save writes the JSON atomically and makes the folder.
func (r *DriftResult) Save(path string) error { return save(path, r) }

// Drift compares two models on n pairs spread evenly over a dataset; all of
// them if n is 0 or more than there are. Samples without text are left out.
func Drift(ctx context.Context, before, after *clip.Model, pairs dataset.Dataset, n int, o Options) (*DriftResult, error) {
	if before.Preprocess != after.Preprocess || before.Config.EmbedDim != after.Config.EmbedDim {
		return nil, errors.New("drift: the models differ in preprocessing or in the features' length; they must be one model before and after")
	}
	if o.BatchSize == 0 {
		o.BatchSize = 256
	}
	r := &DriftResult{}
	data, err := r.choose(pairs, n)
	if err != nil {
		return nil, fmt.Errorf("drift: %w", err)
	}
	loader, err := dataset.NewLoader(data, dataset.Options{BatchSize: o.BatchSize, Preprocess: before.Preprocess, Epochs: 1, Workers: o.Workers, Log: o.Log})
	if err != nil {
		return nil, fmt.Errorf("drift: %w", err)
	}
	models := [2]*clip.Model{before, after}
	var images, texts [2][]float32
	var names []string
	number := map[string]int{} // of a text in names
	var textOf []int           // of an image
	for batch, err := range loader.Batches(ctx) {
		if err != nil {
			return nil, fmt.Errorf("drift: %w", err)
		}
		for k, m := range models {
			f, err := m.ImageFeatures(ctx, batch.Pixels, len(batch.Samples), o.Precision)
			if err != nil {
				return nil, fmt.Errorf("drift: images %s to %s: %w", batch.Samples[0].Key, batch.Samples[len(batch.Samples)-1].Key, err)
			}
			images[k] = append(images[k], f...)
		}
		for _, s := range batch.Samples {
			if _, ok := number[s.Text]; !ok {
				number[s.Text] = len(names)
				names = append(names, s.Text)
			}
			textOf = append(textOf, number[s.Text])
		}
		if o.Progress != nil {
			o.Progress(batch.Index[len(batch.Index)-1]+1, data.Len())
		}
		batch.Release()
	}
	for k, m := range models {
		if texts[k], err = m.TextFeatures(ctx, names, o.Precision); err != nil {
			return nil, fmt.Errorf("drift: texts: %w", err)
		}
	}
	r.Pairs, r.Texts, r.Broken = len(textOf), len(names), r.Broken+loader.Broken().Count
	r.ImageCosine, r.TextCosine = meanCosine(images[0], images[1], before.Config.EmbedDim), meanCosine(texts[0], texts[1], before.Config.EmbedDim)
	for k, out := range []*Recall{&r.Before, &r.After} {
		if *out, err = recall(ctx, models[k], images[k], texts[k], textOf); err != nil {
			return nil, fmt.Errorf("drift: %w", err)
		}
	}
	if o.Progress != nil {
		o.Progress(data.Len(), data.Len())
	}
	return r, nil
}

// choose takes n pairs at even distances, of those that have a text.
func (r *DriftResult) choose(pairs dataset.Dataset, n int) (dataset.Dataset, error) {
	if n <= 0 || n > pairs.Len() {
		n = pairs.Len()
	}
	r.Selected = n
	var rows []int
	for i := range n {
		row := int(int64(i) * int64(pairs.Len()) / int64(n))
		s, err := dataset.Describe(pairs, row)
		switch {
		case errors.Is(err, dataset.ErrNoText) || err == nil && s.Text == "":
			r.LeftOut++
		case err != nil:
			r.Broken++
		default:
			rows = append(rows, row)
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("none of %d samples has a text and can be read", n)
	}
	return dataset.Subset(pairs, rows)
}

// meanCosine is over the rows of a and b, which have length 1.
func meanCosine(a, b []float32, dim int) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	// Rows of length 1 in float32 may exceed 1 by rounding.
	return min(max(sum/float64(len(a)/dim), -1), 1)
}

// recall ranks among images [n, dim] and texts [m, dim], where image i belongs
// to text textOf[i].
func recall(ctx context.Context, m *clip.Model, images, texts []float32, textOf []int) (r Recall, err error) {
	defer torch.Catch(&err)
	dim := m.Config.EmbedDim
	n, unique := len(images)/dim, len(texts)/dim
	imagesOf := make([][]int, unique)
	for i, t := range textOf {
		imagesOf[t] = append(imagesOf[t], i)
	}
	var toText, toImage [3]int
	err = eachRow(ctx, m.Device(), images, texts, dim, func(i int, scores []float32) {
		own := scores[textOf[i]]
		rank := -1 // itself
		for _, s := range scores {
			if s >= own {
				rank++
			}
		}
		count(&toText, rank)
	})
	if err != nil {
		return r, err
	}
	err = eachRow(ctx, m.Device(), texts, images, dim, func(t int, scores []float32) {
		own := scores[imagesOf[t][0]]
		for _, i := range imagesOf[t] {
			own = max(own, scores[i])
		}
		rank := 0
		for i, s := range scores {
			if s >= own && textOf[i] != t {
				rank++
			}
		}
		count(&toImage, rank)
	})
	for i := range RecallAt {
		r.ImageToText[i], r.TextToImage[i] = float64(toText[i])/float64(n), float64(toImage[i])/float64(unique)
	}
	return r, err
}

func count(hits *[3]int, rank int) {
	for i, k := range RecallAt {
		if rank < k {
			hits[i]++
		}
	}
}

// eachRow calls visit with the cosines of each row of a to all rows of b.
func eachRow(ctx context.Context, d torch.Device, a, b []float32, dim int, visit func(row int, scores []float32)) error {
	n, m := len(a)/dim, len(b)/dim
	block := max(1, min(1024, (32<<20)/m)) // bounds the scores to 128 MB
	for from := 0; from < n; from += block {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		to := min(from+block, n)
		var scores []float32
		torch.Scope(func() {
			torch.NoGrad(func() {
				rows := torch.From(d, a[from*dim:to*dim], to-from, dim)
				scores = torch.To[float32](rows.MatMul(torch.From(d, b, m, dim).Transpose(0, 1)))
			})
		})
		for i := from; i < to; i++ {
			visit(i, scores[(i-from)*m:(i-from+1)*m])
		}
	}
	return nil
}
