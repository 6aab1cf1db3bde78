// Package pretrain trains a small CLIP from nothing on image–text pairs
// (Radford et al. 2021, fig. 3). It made the shipped models/icon-clip:
//
//	arf pretrain clip configs/pretrain-icon-clip.yaml
//
// Two additions help on a corpus of short texts: pairs whose texts are equal
// are no negatives of each other, and in the first part of the run a linear
// head also predicts the words of the text from the image, which gets the
// image tower over the start, where the contrastive loss teaches little.
package pretrain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"arf/clip"
	"arf/dataset"
	"arf/imaging"
	"arf/nn"
	"arf/torch"
	"arf/train"
)

// Options say how to pretrain; the zero value of a field is not useful unless
// its comment gives one.
type Options struct {
	BatchSize      int
	Steps          int // over the whole run
	LR             float64
	WarmupSteps    int
	Cooldown       float64 // last fraction of the steps, in which the rate falls to 0
	WeightDecay    float64
	GradClip       float64 // 0 = none
	Augment        imaging.Augment
	AlternateTexts float64 // probability of an alternative wording in place of the plain text
	WordWeight     float64 // weight of the word prediction at the start; 0 = none
	WordSteps      int     // over which that weight falls to 0

	Seed            uint64
	Precision       torch.DType // Float32 or BFloat16
	Device          torch.Device
	Workers         int
	CacheBytes      int64           // memory for decoded images
	HeldOut         dataset.Dataset // pairs to measure on while training; nil = none
	ValidateEvery   int             // steps between these measurements; 0 = none
	CheckpointEvery int
	KeepCheckpoints int
	Dir             string // run folder
	Hash            string // of model config and data
	StopAfter       int
	Progress        func(train.Metrics)
}

// Run pretrains m, whose weights are drawn from the seed, on pairs. It goes on
// from the newest checkpoint in o.Dir.
func Run(ctx context.Context, m *clip.Model, pairs dataset.Dataset, o Options) (err error) {
	defer torch.Catch(&err)
	if o.Steps <= 0 || o.BatchSize < 2 {
		return errors.New("pretrain: steps must be positive and batch_size at least 2")
	}
	m.Init(int64(o.Seed))
	m.To(o.Device)
	m.SetTraining(true)
	defer m.SetTraining(false)
	t := &task{o: o, pairs: pairs, trained: trained{Model: m}}
	if o.WordWeight > 0 {
		t.trained.Words = newWordHead(m, o.Device)
	}
	return train.Run(ctx, t, train.Options{
		Dir:           o.Dir,
		Schedule:      train.Schedule{LR: o.LR, WarmupSteps: o.WarmupSteps, Steps: o.Steps, Cooldown: o.Cooldown},
		StepsPerEpoch: pairs.Len() / o.BatchSize,
		Beta1:         0.9, Beta2: 0.98, Eps: 1e-6, WeightDecay: o.WeightDecay, GradClip: o.GradClip,
		CheckpointEvery: o.CheckpointEvery, KeepCheckpoints: o.KeepCheckpoints, StopAfter: o.StopAfter,
		Hash: o.Hash, Device: o.Device, Progress: o.Progress,
	})
}

// trained is what a checkpoint holds: the model, and the head that is dropped in the end.
type trained struct {
	*clip.Model `weight:""`
	Words       *nn.Linear `weight:"word_head"`
}

type task struct {
	o       Options
	pairs   dataset.Dataset
	trained trained
	batches <-chan result
	last    *dataset.Batch  // of the last step, for SaveBatch
	texts   []string        // its texts
	ctx     context.Context // of the data, for measurements
}

func (t *task) Trained() any { return &t.trained }
func (t *task) Updated()     { t.trained.ClampLogitScale() }

func (t *task) Begin(ctx context.Context, step int) error {
	loader, err := dataset.NewLoader(t.pairs, dataset.Options{
		BatchSize: t.o.BatchSize, Preprocess: t.trained.Preprocess, Augment: t.o.Augment,
		Shuffle: true, Seed: t.o.Seed, DropLast: true, StartStep: step, Workers: t.o.Workers, CacheBytes: t.o.CacheBytes,
	})
	if err != nil {
		return err
	}
	// A channel rather than iter.Pull, which can't be called from a goroutine
	// that is locked to its thread, as one in torch.Scope is.
	batches := make(chan result)
	go func() {
		defer close(batches)
		for batch, err := range loader.Batches(ctx) {
			select {
			case batches <- result{batch, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.batches, t.ctx = batches, ctx
	return nil
}

type result struct {
	batch *dataset.Batch
	err   error
}

func (t *task) Step(step int) (loss train.Loss, err error) {
	next, ok := <-t.batches
	if next.err != nil {
		return loss, next.err
	}
	batch := next.batch
	if !ok || len(batch.Samples) < 2 {
		return loss, fmt.Errorf("step %d: the data ended", step+1)
	}
	if t.last != nil {
		t.last.Release()
	}
	t.last = batch
	m, b := t.trained.Model, len(batch.Samples)
	rng := rand.New(rand.NewPCG(t.o.Seed, uint64(step)))
	texts := make([]string, b)
	for i, s := range batch.Samples {
		texts[i] = s.Text
		if len(s.Texts) > 1 && rng.Float64() < t.o.AlternateTexts {
			texts[i] = s.Texts[1+rng.IntN(len(s.Texts)-1)]
		}
	}
	t.texts = texts
	ids := m.Tokenize(texts)
	var embedding, textFeatures *torch.Tensor
	torch.Autocast(t.o.Device, t.o.Precision, func() {
		embedding = m.ImageEmbedding(m.Pixels(batch.Pixels, b))
		textFeatures = m.EncodeText(ids)
	})
	contrastive := m.ContrastiveLoss(embedding.Normalize(), textFeatures, nil, equalTexts(t.o.Device, texts))
	loss = train.Loss{Total: contrastive, Terms: map[string]*torch.Tensor{"contrastive": contrastive}, LogitScale: m.LogitScale, Samples: b}
	if weight := t.wordWeight(step); weight > 0 {
		words := wordLoss(t.trained.Words, embedding, ids)
		loss.Terms["words"] = words
		loss.Total = contrastive.Add(words.Scale(weight))
	}
	if t.o.HeldOut != nil && t.o.ValidateEvery > 0 && step > 0 && step%t.o.ValidateEvery == 0 {
		h, err := Measure(t.ctx, m, t.o.HeldOut, t.o.Precision)
		m.SetTraining(true)
		if err != nil {
			return loss, err
		}
		loss.Measured = map[string]float64{"held_out_top1": h.Top1, "held_out_top5": h.Top5}
	}
	return loss, nil
}

// SaveBatch writes the last step's images and texts.
func (t *task) SaveBatch(dir string) error {
	if t.last == nil {
		return nil
	}
	out := train.SavedBatch{Step: t.last.Step + 1}
	for i, s := range t.last.Samples {
		out.Samples = append(out.Samples, train.SavedItem{Key: s.Key, Number: t.last.Index[i], Texts: t.texts[i : i+1]})
	}
	return out.Write(dir, t.last.Pixels, t.trained.Preprocess.ImageSize)
}

func (t *task) wordWeight(step int) float64 {
	if t.trained.Words == nil || t.o.WordSteps <= 0 {
		return 0
	}
	return t.o.WordWeight * max(0, 1-float64(step)/float64(t.o.WordSteps))
}

// equalTexts marks the pairs [B, B] off the diagonal whose texts are the same,
// so that they don't count as negatives; nil where there are none.
func equalTexts(d torch.Device, texts []string) *torch.Tensor {
	b := len(texts)
	first := make(map[string]int64, b)
	group := make([]int64, b)
	for i, s := range texts {
		if _, ok := first[s]; !ok {
			first[s] = int64(i)
		}
		group[i] = first[s]
	}
	if len(first) == b {
		return nil
	}
	g := torch.From(d, group, b)
	same := g.Reshape(b, 1).Eq(g.Reshape(1, b))
	return same.Cast(torch.Float32).Sub(torch.Eye(d, b)).EqScalar(1)
}
