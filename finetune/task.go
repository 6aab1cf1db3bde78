package finetune

import (
	"context"
	"errors"
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
	t := &task{o: o, model: model}
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
	f := t.encode(b)
	if t.o.Group != nil {
		if f.global, err = newGlobal(t.o.Group, b); err != nil {
			return train.Loss{}, err
		}
		if t.head == nil {
			if err := f.global.gather(f); err != nil {
				return train.Loss{}, err
			}
		}
	}
	return t.loss(f), nil
}

// loss is L = Σ λ·L_term of a step (ARF §3), or this process's part of it.
func (t *task) loss(f *Features) train.Loss {
	b := f.Batch
	t.o.Profile.Phase("loss")
	loss := train.Loss{Terms: map[string]*torch.Tensor{}, LogitScale: t.model.LogitScale, Samples: len(b.Samples)}
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
	if f.global != nil && f.global.unused != nil {
		// Every process takes part in the backward collective, whatever its terms.
		loss.Total = loss.Total.Add(f.global.unused)
	}
	return loss
}

// encode runs each tower once. A process's share of a step may have no images.
func (t *task) encode(b *Batch) *Features {
	m, n, pool := t.model, len(b.Samples), len(b.Rows)
	f := &Features{Model: m, head: t.head, Negatives: t.o.Negatives, Batch: b}
	torch.Autocast(t.o.Device, t.o.Precision, func() {
		if n+pool > 0 {
			t.o.Profile.Phase("pixels")
			pixels := m.Pixels(b.Pixels, n+pool)
			t.o.Profile.Phase("image tower")
			f.Images = m.EncodeImage(pixels)
		}
		if len(b.Tokens) > 0 {
			t.o.Profile.Phase("text tower")
			f.Texts = m.EncodeText(b.Tokens)
		}
	})
	if pool > 0 {
		f.Images, f.Pool = f.Images.Narrow(0, 0, n), f.Images.Narrow(0, n, pool)
	}
	return f
}
