package eval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"arf/clip"
	"arf/dataset"
	"arf/dist"
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
// them if n is 0 or more than there are. Samples without text are left out. In a
// group (Options) all processes call it and have the result. Each encodes its
// batches; it holds the features of these by both models, and while it ranks its
// part of the pairs, all features by one.
func Drift(ctx context.Context, before, after *clip.Model, pairs dataset.Dataset, n int, o Options) (*DriftResult, error) {
	if before.Preprocess != after.Preprocess || before.Config.EmbedDim != after.Config.EmbedDim {
		return nil, errors.New("drift: the models differ in preprocessing or in the features' length; they must be one model before and after")
	}
	if o.BatchSize == 0 {
		o.BatchSize = 256
	}
	r := &DriftResult{}
	if err := r.measure(ctx, [2]*clip.Model{before, after}, pairs, n, o); err != nil {
		return nil, fmt.Errorf("drift: %w", err)
	}
	return r, nil
}

func (r *DriftResult) measure(ctx context.Context, models [2]*clip.Model, pairs dataset.Dataset, n int, o Options) error {
	data, keys, textOfRow, err := r.choose(pairs, n)
	if err != nil {
		return err
	}
	g := o.Group
	err = sameSet(g, func(write func(string, ...any)) {
		write("%d %d", o.BatchSize, r.Selected)
		for i, text := range textOfRow {
			write(" %q %q", keys[i], text)
		}
	})
	if err != nil {
		return err
	}
	images, ownImages, err := encodeImages(ctx, g, data, models[:], o)
	if err != nil {
		return err
	}
	var names []string
	number := map[string]int{} // of a text in names
	var textOf []int           // of an image
	for _, i := range images.all {
		text := textOfRow[i]
		if _, ok := number[text]; !ok {
			number[text] = len(names)
			names = append(names, text)
		}
		textOf = append(textOf, number[text])
	}
	var texts *shared
	var ownTexts [2][]float32
	for k, m := range models {
		if texts, ownTexts[k], err = encodeTexts(ctx, g, m, names, o); err != nil {
			return err
		}
	}
	r.Pairs, r.Texts, r.Broken = len(textOf), len(names), r.Broken+data.Len()-len(images.all)
	dim := models[0].Config.EmbedDim
	if r.ImageCosine, err = meanCosine(images, ownImages[0], ownImages[1], dim); err != nil {
		return err
	}
	if r.TextCosine, err = meanCosine(texts, ownTexts[0], ownTexts[1], dim); err != nil {
		return err
	}
	for k, out := range []*Recall{&r.Before, &r.After} {
		allImages, err := images.join(ownImages[k], dim)
		if err != nil {
			return err
		}
		allTexts, err := texts.join(ownTexts[k], dim)
		if err != nil {
			return err
		}
		ownImages[k], ownTexts[k] = nil, nil
		if *out, err = recall(ctx, g, models[k], allImages, allTexts, textOf); err != nil {
			return err
		}
	}
	if o.Progress != nil {
		o.Progress(data.Len(), data.Len())
	}
	return nil
}

// choose takes n pairs at even distances, of those that have a text, and gives their keys and texts.
func (r *DriftResult) choose(pairs dataset.Dataset, n int) (data dataset.Dataset, keys, texts []string, err error) {
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
			rows, keys, texts = append(rows, row), append(keys, s.Key), append(texts, s.Text)
		}
	}
	if len(rows) == 0 {
		return nil, nil, nil, fmt.Errorf("none of %d samples has a text and can be read", n)
	}
	data, err = dataset.Subset(pairs, rows)
	return data, keys, texts, err
}

// meanCosine is over the rows of a set; a and b are this process's, of length 1.
func meanCosine(s *shared, a, b []float32, dim int) (float64, error) {
	mean, err := s.mean(func(i int) float64 { return dot(a[i*dim:(i+1)*dim], b[i*dim:(i+1)*dim]) })
	// Rows of length 1 in float32 may exceed 1 by rounding.
	return min(max(mean, -1), 1), err
}

func dot(a, b []float32) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}

// recall ranks among images [n, dim] and texts [m, dim], where image i belongs
// to text textOf[i].
func recall(ctx context.Context, g *dist.Group, m *clip.Model, images, texts []float32, textOf []int) (r Recall, err error) {
	dim := m.Config.EmbedDim
	imagesOf := make([][]int, len(texts)/dim)
	for i, t := range textOf {
		imagesOf[t] = append(imagesOf[t], i)
	}
	r.ImageToText, err = ranked(ctx, g, m.Device(), images, texts, dim, func(i int, scores []float32, hits *[3]float64) {
		own := scores[textOf[i]]
		rank := -1 // itself
		for _, s := range scores {
			if s >= own {
				rank++
			}
		}
		count(hits, rank)
	})
	if err != nil {
		return r, err
	}
	r.TextToImage, err = ranked(ctx, g, m.Device(), texts, images, dim, func(t int, scores []float32, hits *[3]float64) {
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
		count(hits, rank)
	})
	for i := range RecallAt {
		r.ImageToText[i] /= float64(len(textOf))
		r.TextToImage[i] /= float64(len(imagesOf))
	}
	return r, err
}

func count(hits *[3]float64, rank int) {
	for i, k := range RecallAt {
		if rank < k {
			hits[i]++
		}
	}
}
