package pipeline

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"arf/clip"
	"arf/config"
	"arf/eval"
	"arf/finetune"
	"arf/remote"
	"arf/torch"
)

// objectiveTexts says what the terms of a loss are.
var objectiveTexts = map[string]string{
	"ce":    "cross-entropy of a linear classifier on the image features",
	"class": "contrastive loss of images and prompts with their class names (FLYP, Goyal et al. 2023)",
	"tca":   "contrastive loss of images and a second text each: text-compensated anchors (ARF, Han et al. 2024)",
	"ita":   "contrastive loss of images and texts of pairs beside the labelled images: image-text-pair anchors (ARF, Han et al. 2024)",
}

// zeroShot is what the run's models are to tell apart, and how they are asked.
func (r *run) zeroShot() *eval.ZeroShot {
	z := eval.NewZeroShot(r.data.asked, r.data.classes)
	z.Precision = string(config.PrecisionFP32)
	if r.precision == torch.BFloat16 {
		z.Precision = string(config.PrecisionBF16)
	}
	return z
}

// card is the model card of a finetuned model. results are of its evaluation,
// nil before.
func (r *run) card(m config.Method, seed int, results []*eval.Result) clip.Card {
	t := r.cfg.Train
	c := clip.Card{
		Name: fmt.Sprintf("%s %s, seed %d", r.cfg.Name, m, seed), BaseModel: r.cfg.Model, License: clip.License(r.model),
		Tags: []string{"robust-finetuning", "arf", string(m)},
		Data: []string{fmt.Sprintf("%d labelled images of %d classes (%s)", r.data.finetune.Len(), len(r.data.classes), remote.RedactedText(r.cfg.Data.Finetune.Path))},
		Training: []string{
			fmt.Sprintf("AdamW, learning rate %g after %d warm-up steps, then cosine to 0, weight decay %g", t.LR, t.WarmupSteps, t.WeightDecay),
			fmt.Sprintf("%d epochs of batches of %d images, seed %d; towers in %v, weights in float32", m.Epochs(t.Epochs), t.BatchSize, seed, r.precision),
		},
		Prompts: []string{
			"in training: " + config.PromptsInWords(r.data.templates),
			"in evaluation: " + config.PromptsInWords(r.data.asked) + "; " + eval.ZeroShotFile + " has them and the classes",
		},
		Command: remote.RedactedText(r.o.Command), Precision: r.precision,
	}
	weights := map[string]float64{"tca": t.LambdaTCA, "ita": t.LambdaITA}
	for _, name := range finetune.Objectives(m) {
		line := name + ": " + objectiveTexts[name]
		if weight, ok := weights[name]; ok {
			line += fmt.Sprintf(", weight %g", weight)
		}
		c.Objectives = append(c.Objectives, line)
	}
	switch {
	case m.Captions():
		c.Anchors = append(c.Anchors, fmt.Sprintf("captions: %d an image, by %s", r.cfg.Anchors.Captions.PerImage, cmp.Or(r.cfg.Anchors.Captions.Captioner, r.cfg.Anchors.Captions.Endpoint.Model)))
	case m.TCA():
		c.Anchors = append(c.Anchors, "captions: a second class prompt in their place (a control)")
	}
	if source := m.Pairs(); source != config.PairsNone {
		how := strings.ReplaceAll(string(source), "-", " ")
		if query, err := queryOf(r.pairSettings(source)); err == nil && source == config.PairsRetrieved {
			how += " by " + query.String()
		}
		c.Anchors = append(c.Anchors, fmt.Sprintf("pairs: %s, %d an image (%s)", how, r.cfg.Anchors.Pairs.K, remote.RedactedText(r.cfg.Data.Pool.Path)))
	}
	for _, result := range results {
		if !slices.Equal(result.Templates, r.data.asked) {
			c.Prompts = append(c.Prompts, fmt.Sprintf("in the evaluation on %s: %s", result.Dataset, config.PromptsInWords(result.Templates)))
		}
		c.Results = append(c.Results, clip.CardResult{
			Dataset: result.Dataset, Role: result.Role, Metric: "acc1", Value: result.Metrics.Acc1, Images: result.Images,
		})
	}
	return c
}
