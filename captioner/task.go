package captioner

import (
	"context"
	"fmt"
	"math/rand/v2"

	"arf/torch"
	"arf/train"
)

// batch is one step's samples on the host.
type batch struct {
	step            int
	tokens, feature []byte // float16: [B, tokens, tokenWidth], [B, featureWidth]
	ids             [][]int32
}

// task trains the decoder alone: the tower has spoken already, so no gradient
// can reach it.
type task struct {
	model   *Model
	data    *corpus
	heldout []batch // fixed captions
	o       Options
	device  torch.Device
	batches <-chan batch

	// Of the goroutine that makes batches.
	order   []int
	orderOf int // epoch + 1
}

var _ train.Task = (*task)(nil)

func (t *task) Trained() any { return t.model.Decoder }
func (t *task) Updated()     {}

// stepsPerEpoch leaves out the incomplete batch at an epoch's end.
func (t *task) stepsPerEpoch() int { return max(1, len(t.data.rows)/t.o.BatchSize) }

func (t *task) Begin(ctx context.Context, step int) error {
	batches := make(chan batch, 2)
	go func() {
		defer close(batches)
		for ; ; step++ {
			select {
			case batches <- t.make(step):
			case <-ctx.Done():
				return
			}
		}
	}()
	t.batches = batches
	return nil
}

// make assembles a step's batch; it depends on the seed and the step only.
func (t *task) make(step int) batch {
	epoch, at := step/t.stepsPerEpoch(), step%t.stepsPerEpoch()
	if t.orderOf != epoch+1 {
		t.order, t.orderOf = rand.New(rand.NewPCG(uint64(t.o.Seed), uint64(epoch))).Perm(len(t.data.rows)), epoch+1
	}
	n := min(t.o.BatchSize, len(t.order))
	b := batch{step: step}
	for _, r := range t.order[at*n : (at+1)*n] {
		i := t.data.rows[r]
		rng := rand.New(rand.NewPCG(uint64(t.o.Seed)^(uint64(epoch)+1)*0x9E3779B97F4A7C15, uint64(i)))
		b.add(t.data, t.model, i, rng.IntN(len(t.data.views)), rng)
	}
	return b
}

func (b *batch) add(c *corpus, m *Model, sample, view int, rng *rand.Rand) {
	v := c.views[view]
	if v.row[sample] < 0 {
		v = c.views[0] // read by one view, but not by the other: can't happen unless the file changed
	}
	b.tokens, b.feature = v.gather(b.tokens, b.feature, sample)
	b.ids = append(b.ids, m.Tokenizer.Encode(c.sources[sample].draw(rng)))
}

func (b *batch) vision(c Config, d torch.Device) Vision {
	n := len(b.ids)
	return Vision{
		Tokens:  torch.FromBytes(d, b.tokens, torch.Float16, n, c.Tower.Tokens, c.Tower.TokenWidth).Cast(torch.Float32),
		Feature: torch.FromBytes(d, b.feature, torch.Float16, n, c.Tower.FeatureWidth).Cast(torch.Float32),
	}
}

func (t *task) Step(step int) (train.Loss, error) {
	b, ok := <-t.batches
	if !ok {
		// Interrupted: the loop still wants to end this step, and then saves.
		b = t.make(step)
	}
	if b.step != step {
		return train.Loss{}, fmt.Errorf("batch of step %d where step %d was expected", b.step, step)
	}
	if t.o.Dropout > 0 {
		torch.ManualSeed(t.o.Seed<<32 + int64(step))
	}
	loss := t.loss(b, t.o.Dropout, t.o.LabelSmoothing)
	var measured map[string]float64
	if t.o.ValidateEvery > 0 && step%t.o.ValidateEvery == 0 && len(t.heldout) > 0 {
		measured = map[string]float64{"held_out_loss": t.validate()} // no term: it isn't minimised
	}
	return train.Loss{Total: loss, Terms: map[string]*torch.Tensor{"caption": loss}, Measured: measured, Samples: len(b.ids)}, nil
}

// loss is the mean over tokens of −log p, in nats.
func (t *task) loss(b batch, dropout, smoothing float64) *torch.Tensor {
	d := t.model.Decoder
	var regularize func(*torch.Tensor) *torch.Tensor
	if dropout > 0 {
		regularize = func(x *torch.Tensor) *torch.Tensor {
			return torch.Call("aten::dropout", x, dropout, true)[0].(*torch.Tensor)
		}
	}
	targets := d.targets(b.ids)
	vision := b.vision(d.Config, t.device)
	var logits *torch.Tensor
	torch.Autocast(t.device, t.o.Precision, func() { logits = d.Logits(d.hiddenAt(vision, targets, regularize)) })
	return crossEntropy(logits, targets.next, smoothing)
}

// validate is the mean −log p of a token of the held-out captions.
func (t *task) validate() float64 {
	sum, tokens := 0.0, 0
	for _, b := range t.heldout {
		n := 0
		for _, row := range b.ids {
			n += len(row) - 1
		}
		torch.Scope(func() { torch.NoGrad(func() { sum += float64(n) * t.loss(b, 0, 0).Item() }) })
		tokens += n
	}
	return sum / float64(max(tokens, 1))
}

// hold makes the batches of held-out pairs, whose captions are drawn once.
func hold(c *corpus, m *Model, size, most int) []batch {
	var batches []batch
	rows := c.rows
	if len(rows) > most { // evenly over the set
		spread := make([]int, most)
		for i := range spread {
			spread[i] = rows[i*len(rows)/most]
		}
		rows = spread
	}
	for from := 0; from < len(rows); from += size {
		var b batch
		for _, i := range rows[from:min(from+size, len(rows))] {
			b.add(c, m, i, 0, rand.New(rand.NewPCG(0, uint64(i))))
		}
		batches = append(batches, b)
	}
	return batches
}
