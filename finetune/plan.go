package finetune

import (
	"errors"
	"strings"

	"arf/clip"
	"arf/dist"
	"arf/nn"
	"arf/torch"
)

// plan is what a step will take of one process, in bytes of the engine; the
// processes tell each other theirs.
type plan struct {
	Held     int64 // already
	Fixed    int64 // that, gradients, and moments where there are none yet
	PerImage int64 // activations that wait for the backward pass
	PerText  int64
	Images   int
	Texts    int

	// Of one of several processes: gradients on their way, held beside those of
	// Fixed, and what its loss needs of all processes' features.
	Sums, SumsInParts, Global int64
}

// need is the peak of a step that encodes so many images and texts at a time; 0
// is all at once.
func (p plan) need(micro int) int64 {
	images, texts, sums := p.Images, p.Texts, p.Sums
	if micro > 0 {
		images, texts, sums = min(images, micro), min(texts, micro), p.SumsInParts
	}
	return p.Fixed + sums + p.Global + int64(images)*p.PerImage + int64(texts)*p.PerText
}

// measure plans a step by the activations of a few of its images and texts: they
// grow in proportion. resumed says that the optimiser has its moments.
func (t *task) measure(b *Batch, resumed bool) plan {
	p := plan{Images: len(b.Samples) + len(b.Rows), Texts: len(b.Tokens), Held: torch.HeldBytes(t.o.Device)}
	defer keepStatistics(t.model)()
	slope := func(n int, encode func(from, to int) *torch.Tensor) int64 {
		few, more := min(n, 2), min(n, 6)
		held := t.held(func() { encode(0, more) })
		was := make([]int64, len(held))
		if more > few {
			copy(was, t.held(func() { encode(0, few) }))
		} else {
			few = 0
		}
		block := int64(0) // that grows most
		for i := 1; i < len(held); i++ {
			block = max(block, held[i]-was[i])
		}
		return (max(0, held[0]-was[0]) + block) / int64(more-few)
	}
	if p.Images > 0 { // a process's share may have none
		p.PerImage = slope(p.Images, func(from, to int) *torch.Tensor { return t.images(b, from, to) })
	}
	if p.Texts > 0 {
		p.PerText = slope(p.Texts, func(from, to int) *torch.Tensor { return t.texts(b, from, to) })
	}
	trained, largest := int64(0), int64(0)
	for _, w := range t.model.Trainable() {
		bytes := 4 * int64(torch.Elements(w.Tensor.Shape()))
		trained, largest = trained+bytes, max(largest, bytes)
	}
	p.Fixed = p.Held + trained
	if !resumed {
		p.Fixed += 2 * trained
	}
	if t.o.Group.Size() > 1 {
		// A bucket of gradients waits for its last; with micro-batches all do, since
		// the sums of the step before are kept to be summed into.
		p.Sums, p.SumsInParts = min(trained, max(largest, dist.BucketBytes(trained))), trained
		if t.checkpoints != nil {
			p.Sums = p.SumsInParts // gradients travel after the backward pass too
		}
	}
	return p
}

// keepStatistics gives what puts the model's running statistics back.
func keepStatistics(m *clip.Model) (restore func()) {
	was := map[*torch.Tensor][]float32{}
	for _, p := range nn.Params(m) {
		if p.Buffer {
			was[p.Tensor] = torch.To[float32](p.Tensor)
		}
	}
	return func() {
		torch.Scope(func() {
			torch.NoGrad(func() {
				for t, values := range was {
					t.Copy_(torch.From(t.Device(), values, t.Shape()...))
				}
			})
		})
	}
}

// held is what a forward pass holds for the gradient and, with activation
// checkpointing, what each block does in addition when its turn comes.
func (t *task) held(encode func()) (bytes []int64) {
	torch.Scope(func() {
		before := torch.HeldBytes(t.o.Device)
		since := func() int64 { return torch.HeldBytes(t.o.Device) - before }
		t.checkpointed(encode)
		bytes = append(bytes, since())
		if t.checkpoints != nil {
			t.checkpoints.Again(func() { bytes = append(bytes, since()-bytes[0]) })
		}
	})
	return bytes
}

// globalBytes is what the loss of a process needs of all processes' features, where
// the one with most has so many rows (images, texts) and pairs of a term.
func (t *task) globalBytes(rows, pairs int) int64 {
	n := int64(t.o.Group.Size())
	if n == 1 || t.head != nil {
		return 0
	}
	dim, all := int64(t.model.Config.EmbedDim), n*int64(pairs)
	logits := int64(pairs) * all // of a direction: products, scaled ones, log-softmax
	gathered := n * int64(rows) * dim
	// Backward adds gradients of the features and of one term's logits.
	return 4 * (4*gathered + int64(len(t.terms))*(2*all*dim+6*logits) + 2*logits)
}

// outOfMemory tells an allocation that failed, on a GPU or the CPU, from other
// errors of libtorch, which has no code for it.
func outOfMemory(err error) bool {
	var engine *torch.Error
	return errors.As(err, &engine) &&
		(strings.Contains(engine.Message, "out of memory") || strings.Contains(engine.Message, "can't allocate memory"))
}
