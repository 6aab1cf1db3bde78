package eval

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"arf/clip"
	"arf/dataset"
	"arf/torch"
)

// Prediction is what a model takes an image for.
type Prediction struct {
	Image   string  `json:"image"`   // the sample's key
	Classes []Guess `json:"classes"` // most probable first
}

// Guess is a class with its probability, from the logits, which are the scaled
// cosines of image and class: their softmax over all classes, or for SigLIP
// their sigmoid, each class by itself.
type Guess struct {
	Class       string  `json:"class"`
	Probability float64 `json:"probability"`
}

// ErrUnreadable is wrapped by Classify's error about images that it left out.
var ErrUnreadable = errors.New("images could not be read")

// Classify gives each image's top classes (all if top is 0) by a zero-shot head,
// in the images' order and as soon as they are known. Images that can't be
// decoded are logged and left out; after the others the error wraps
// ErrUnreadable. Of o, BatchSize, Workers, Precision, Progress and Log count.
func Classify(ctx context.Context, model *clip.Model, images dataset.Dataset, classes []Class, templates []string, top int, o Options, do func(Prediction) error) error {
	s := Suite{Name: "classify", Data: images, Classes: classes, Templates: templates}
	if _, err := s.competing(); err != nil {
		return fmt.Errorf("classify: %w", err)
	}
	if top <= 0 || top > len(classes) {
		top = len(classes)
	}
	if o.BatchSize == 0 {
		o.BatchSize = 256
	}
	head, err := ZeroShotHead(ctx, model, classes, templates, o.Precision)
	if err != nil {
		return fmt.Errorf("classify: %w", err)
	}
	loader, err := dataset.NewLoader(images, dataset.Options{
		BatchSize: min(o.BatchSize, images.Len()), Preprocess: model.Preprocess, Epochs: 1, Workers: o.Workers, Log: o.Log,
	})
	if err != nil {
		return fmt.Errorf("classify: %w", err)
	}
	for batch, err := range loader.Batches(ctx) {
		if err != nil {
			return fmt.Errorf("classify: %w", err)
		}
		features, err := model.ImageFeatures(ctx, batch.Pixels, len(batch.Samples), o.Precision)
		if err != nil {
			return fmt.Errorf("classify images %s to %s: %w", batch.Samples[0].Key, batch.Samples[len(batch.Samples)-1].Key, err)
		}
		p, err := probabilities(model, features, head)
		if err != nil {
			return fmt.Errorf("classify: %w", err)
		}
		for i, sample := range batch.Samples {
			own := p[i*len(classes) : (i+1)*len(classes)]
			if err := do(Prediction{Image: sample.Key, Classes: best(own, classes, top)}); err != nil {
				return err
			}
		}
		if o.Progress != nil {
			o.Progress(batch.Index[len(batch.Index)-1]+1, images.Len())
		}
		batch.Release()
	}
	if broken := loader.Broken(); broken.Count > 0 {
		return fmt.Errorf("classify: %d of %d %w, first: %s", broken.Count, images.Len(), ErrUnreadable, broken.First[0])
	}
	return nil
}

// probabilities [n, classes] of features [n, dim].
func probabilities(model *clip.Model, features []float32, head *Head) (p []float32, err error) {
	defer torch.Catch(&err)
	torch.Scope(func() {
		torch.NoGrad(func() {
			d := model.Device()
			f := torch.From(d, features, len(features)/head.Dim, head.Dim)
			w := torch.From(d, head.Weight, len(head.Classes), head.Dim)
			logits := model.Logits(f, w)
			if model.LogitBias != nil {
				logits = logits.LogSigmoid().Exp()
			} else {
				logits = logits.Softmax(-1)
			}
			p = torch.To[float32](logits)
		})
	})
	return p, err
}

// best are the top classes, those of equal probability in their order.
func best(p []float32, classes []Class, top int) []Guess {
	order := make([]int, len(p))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] > p[b]:
			return -1
		case p[a] < p[b]:
			return 1
		}
		return 0
	})
	guesses := make([]Guess, top)
	for i, k := range order[:top] {
		guesses[i] = Guess{classes[k].Name, float64(p[k])}
	}
	return guesses
}
