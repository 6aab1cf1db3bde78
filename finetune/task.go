package finetune

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"arf/clip"
	"arf/nn"
	"arf/profile"
	"arf/torch"
	"arf/train"
)

// task is the train.Task of a run.
type task struct {
	o     Options
	model *clip.Model
	head  *linear // of method ft
	data  *prepared
	feed  *feed
	last  *Batch // of the last step, for SaveBatch
	terms []term
	steps int

	checkpoints *nn.Checkpoints // nil without activation checkpointing

	resumed bool // a step was done before this process
	planned bool // the first step's memory was estimated
}

// term is an objective in the loss.
type term struct {
	name      string
	weight    float64
	objective Objective
}

func newTask(model *clip.Model, data Data, o Options) (*task, error) {
	if model.Tokenizer == nil {
		return nil, errors.New("the model has no tokenizer")
	}
	if o.MicroBatch > 0 && o.TrainBatchNorm && model.ResNet != nil {
		return nil, errors.New("micro_batch and batch normalisation that is trained don't go together: its statistics are of a whole batch; set train.micro_batch to 0 or train.freeze_batch_norm to true")
	}
	if o.ActivationCheckpointing && o.TrainBatchNorm && model.ResNet != nil {
		return nil, errors.New("activation_checkpointing and batch normalisation that is trained don't go together: its statistics would move twice a step; set train.activation_checkpointing to false or train.freeze_batch_norm to true")
	}
	t := &task{o: o, model: model}
	if o.ActivationCheckpointing {
		t.checkpoints = newCheckpoints(o)
	}
	var needs Needs
	for _, name := range Objectives(o.Method) {
		weight := o.weight(name)
		if weight == 0 {
			slog.Warn("a term of the method has no weight and is left out", "method", o.Method, "term", name, "setting", "lambda_"+name)
			continue
		}
		objective := objectives[name]
		t.terms = append(t.terms, term{name, weight, objective})
		n := objective.Needs()
		needs = Needs{needs.Prompts || n.Prompts, needs.Captions || n.Captions, needs.Pairs || n.Pairs}
	}
	if len(t.terms) == 0 {
		return nil, fmt.Errorf("no term of the method %s has a weight, so there is nothing to train; set one of its train.lambda_… above 0", o.Method)
	}
	var err error
	if t.data, err = prepare(data, needs, o); err != nil {
		return nil, err
	}
	if t.feed, err = newFeed(model, t.data, needs, o); err != nil {
		return nil, err
	}
	t.steps = t.feed.steps
	return t, nil
}

func newCheckpoints(o Options) *nn.Checkpoints {
	return &nn.Checkpoints{Forward: func(layers func()) { torch.Autocast(o.Device, o.Precision, layers) }}
}

// classifier is what method ft trains; the text tower stays out.
type classifier struct {
	ViT              *clip.VisionTransformer `weight:"vision_model"`
	VisualProjection *nn.Linear              `weight:"visual_projection"`
	ResNet           *clip.ModifiedResNet    `weight:"visual"`
	Head             *linear                 `weight:"head"`
}

func (t *task) Trained() any {
	if t.head == nil {
		return t.model
	}
	return &classifier{t.model.ViT, t.model.VisualProjection, t.model.ResNet, t.head}
}

func (t *task) Begin(ctx context.Context, step int) error {
	t.resumed = step > 0
	if t.o.FreezeLogitScale {
		t.model.LogitScale.SetRequiresGrad(false)
		if t.model.LogitBias != nil {
			t.model.LogitBias.SetRequiresGrad(false)
		}
	}
	return t.feed.start(ctx, step)
}

func (t *task) Updated() {
	if t.head == nil && !t.o.FreezeLogitScale {
		t.model.ClampLogitScale()
	}
}

func (t *task) Step(int) (train.Loss, error) {
	if t.last != nil {
		t.feed.recycle(t.last)
		t.last = nil
	}
	t.o.Profile.Phase("data wait")
	b, err := t.feed.next()
	t.o.Profile.Phase(profile.Other)
	if err != nil {
		return train.Loss{}, err
	}
	t.last = b
	if !t.planned && !t.o.Device.IsCUDA() {
		if err := t.warnOfMemory(b); err != nil {
			return train.Loss{}, err
		}
	}
	t.planned = true
	if t.o.Group != nil {
		return t.share(b)
	}
	return t.loss(b), nil
}

// share is this process's part of the loss of all processes' batches.
func (t *task) share(b *Batch) (loss train.Loss, err error) {
	f, backward := t.encode(b)
	if f.global, err = newGlobal(t.o.Group, b); err != nil {
		return loss, err
	}
	if t.head == nil {
		if err := f.global.gather(f); err != nil {
			return loss, err
		}
	}
	return backward(t.lossOf(f)), nil
}

// loss is L = Σ λ·L_term of a batch (ARF §3).
func (t *task) loss(b *Batch) train.Loss {
	f, backward := t.encode(b)
	return backward(t.lossOf(f))
}

// encode runs each tower once, or in parts; backward sets how the loss's gradient
// comes to the weights. A process's share of a step may have no images.
func (t *task) encode(b *Batch) (f *Features, backward func(train.Loss) train.Loss) {
	if t.o.MicroBatch > 0 {
		return t.cached(b)
	}
	var images, texts *torch.Tensor
	t.checkpointed(func() {
		if n := len(b.Samples) + len(b.Rows); n > 0 {
			images = t.images(b, 0, n)
		}
		if len(b.Tokens) > 0 {
			texts = t.texts(b, 0, len(b.Tokens))
		}
	})
	return t.features(b, images, texts), func(l train.Loss) train.Loss {
		if t.checkpoints != nil {
			l.Backward = func() {
				l.Total.Backward()
				t.checkpoints.Backward()
			}
		}
		return l
	}
}

// checkpointed runs encode with activation checkpointing, where that's wanted.
func (t *task) checkpointed(encode func()) {
	if t.checkpoints != nil {
		t.model.SetCheckpoints(t.checkpoints)
		defer t.model.SetCheckpoints(nil)
	}
	encode()
}

// images encodes some of the batch's images, the finetune ones and behind them
// the pairs'.
func (t *task) images(b *Batch, from, to int) (features *torch.Tensor) {
	size := t.model.Preprocess.Bytes()
	torch.Autocast(t.o.Device, t.o.Precision, func() {
		t.o.Profile.Phase("pixels")
		pixels := t.model.Pixels(b.Pixels[from*size:to*size], to-from)
		t.o.Profile.Phase("image tower")
		features = t.model.EncodeImage(pixels)
	})
	return features
}

// texts encodes some of the batch's different texts.
func (t *task) texts(b *Batch, from, to int) (features *torch.Tensor) {
	t.o.Profile.Phase("text tower")
	torch.Autocast(t.o.Device, t.o.Precision, func() { features = t.model.EncodeText(b.Tokens[from:to]) })
	return features
}

// features are what the terms see of a batch.
func (t *task) features(b *Batch, images, texts *torch.Tensor) *Features {
	f := &Features{Model: t.model, head: t.head, Negatives: t.o.Negatives, Batch: b, Images: images, Texts: texts}
	if n, pool := len(b.Samples), len(b.Rows); pool > 0 {
		f.Images, f.Pool = images.Narrow(0, 0, n), images.Narrow(0, n, pool)
	}
	return f
}

// lossOf adds up the terms.
func (t *task) lossOf(f *Features) train.Loss {
	t.o.Profile.Phase("loss")
	loss := train.Loss{Terms: map[string]*torch.Tensor{}, LogitScale: t.model.LogitScale, Samples: len(f.Batch.Samples)}
	for _, term := range t.terms {
		value := term.objective.Loss(f)
		if value == nil {
			continue
		}
		loss.Terms[term.name] = value
		if term.weight != 1 {
			value = value.Scale(term.weight)
		}
		if loss.Total == nil {
			loss.Total = value
		} else {
			loss.Total = loss.Total.Add(value)
		}
	}
	if loss.Total == nil { // a step of pairs alone, none of whose images has one
		loss.Total = torch.Zeros(t.o.Device, torch.Float32).SetRequiresGrad(true)
	}
	if f.global != nil && f.global.unused != nil {
		// Every process takes part in the backward collective, whatever its terms.
		loss.Total = loss.Total.Add(f.global.unused)
	}
	return loss
}
