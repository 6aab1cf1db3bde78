// Package finetune adapts a CLIP to a classification task while it keeps the
// feature space that it was pretrained with: ARF (arXiv 2404.06244), on top of
// FLYP (Goyal et al., CVPR 2023, arXiv 2212.00638). The loss of a step is
//
//	L = L_class + λ_tca·L_tca + λ_ita·L_ita
//
// each term a contrastive loss (clip.Model.ContrastiveLoss) over its pairs:
//
//	class  an image and its class's name in a template (FLYP)
//	tca    an image and a caption of it, the text-compensated anchor (ARF §3)
//	ita    an image–text pair that an image retrieved from a pool of pairs that
//	       resembles the pretraining data (ARF §3)
//
// A [Method] is a preset of terms. [Run] trains in a run folder and resumes
// there, with the weights of an uninterrupted run:
//
//	result, err := finetune.Run(ctx, model, data, finetune.Options{Dir: "runs/x", Method: finetune.ARF, …})
//
// One step encodes all its images in one call of the image tower, the finetune
// images once for class and tca, and all its different texts in one call of the
// text tower. That changes no gradient, only the time.
package finetune

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"arf/clip"
	"arf/dataset"
	"arf/eval"
	"arf/torch"
	"arf/train"
)

// Result tells what a run did besides moving the weights.
type Result struct {
	Steps         int           // of the whole run
	StepsPerEpoch int           // full batches of the finetune images
	Last          train.Metrics // of the last step; zero where the run was complete before
	Skipped       int           // steps of this call whose gradient was not finite
	Head          *eval.Head    // of method ft, else nil; save it beside the model

	Broken          dataset.Problems // finetune images that could not be read
	BrokenPairs     dataset.Problems // the same for pairs of the pool
	MissingCaptions int              // images whose caption was the class prompt; see Options.AllowMissingCaptions
	MissingPairs    int              // images that brought no pair; see Options.AllowMissingPairs
	Truncated       int              // different texts that are longer than the context, as far as they were met
}

// Run trains model on data and leaves the finetuned weights in it. It works in
// o.Dir as train.Run does: metrics.jsonl, checkpoints/, exact resume. When ctx
// ends it saves, and the error wraps ctx's. Method zeroshot returns at once. In
// a group of processes each calls it, and each has the weights in the end.
func Run(ctx context.Context, model *clip.Model, data Data, o Options) (result *Result, err error) {
	defer torch.Catch(&err)
	if err := torch.Load(); err != nil {
		return nil, err
	}
	o = o.filled()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("finetune: %w", err)
	}
	if len(Objectives(o.Method)) == 0 {
		return &Result{}, nil
	}
	t, err := newTask(model, data, o)
	if err != nil {
		return nil, fmt.Errorf("finetune: %w", err)
	}
	if o.Group.Size() > 1 && o.TrainBatchNorm && model.ResNet != nil {
		return nil, errors.New("finetune: BatchNorm's statistics can't be trained on several processes, each of which sees a part of the batch; set train.freeze_batch_norm: true, or use one process")
	}
	model.To(o.Device)
	model.SetTraining(o.TrainBatchNorm)
	defer model.SetTraining(false)
	if o.Method == FT {
		if t.head, err = newLinear(model, t.data.classes, data.ZeroShotHead); err != nil {
			return nil, fmt.Errorf("finetune: %w", err)
		}
	}
	result = &Result{
		Steps: t.steps, StepsPerEpoch: t.feed.perEpoch,
		MissingCaptions: t.data.missingCaptions, MissingPairs: t.data.missingPairs,
	}
	if o.WarmupSteps > t.steps {
		slog.Warn("the warm-up is longer than the run, which won't reach its learning rate; lower warmup_steps",
			"warmup_steps", o.WarmupSteps, "steps", t.steps, "reached", o.LR*float64(t.steps)/float64(o.WarmupSteps))
	}
	if o.Planned != nil {
		o.Planned(t.steps)
	}
	// The workers must not outlive the run.
	defer t.feed.wait()
	err = train.Run(ctx, t, train.Options{
		Dir:           o.Dir,
		Schedule:      train.Schedule{LR: o.LR, WarmupSteps: o.WarmupSteps, Steps: t.steps},
		StepsPerEpoch: t.feed.perEpoch,
		Beta1:         o.Beta1, Beta2: o.Beta2, Eps: o.Eps, WeightDecay: o.WeightDecay, GradClip: o.GradClip,
		CheckpointEvery: o.checkpointEvery(t.feed.perEpoch), KeepCheckpoints: o.KeepCheckpoints,
		StopAfter: o.StopAfter, Hash: o.hash(t.data), Device: o.Device, Group: o.Group, Profile: o.Profile,
		Progress: func(m train.Metrics) {
			result.Last = m
			if m.Skipped {
				result.Skipped++
			}
			if o.Progress != nil {
				o.Progress(m)
			}
		},
	})
	if outOfMemory(err) {
		err = fmt.Errorf("%w; set train.micro_batch to a part of the batch, or take a smaller batch", err)
	}
	if err != nil {
		return nil, err
	}
	t.feed.wait()
	if t.head != nil {
		result.Head = t.head.head(model, t.data.classes)
	}
	return result, t.feed.report(result)
}
