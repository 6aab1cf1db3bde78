package finetune

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"arf/torch"

	"github.com/dustin/go-humanize"
)

// plan is what a step will take, in bytes of the engine.
type plan struct {
	held      int64 // already
	fixed     int64 // that, gradients, and moments where there are none yet
	perImage  int64 // activations that wait for the backward pass
	perText   int64
	images    int
	texts     int
	available int64 // with what is held; 0 = not known
}

// need is the peak of a step that encodes so many images and texts at a time.
func (p plan) need(images, texts int) int64 {
	return p.fixed + int64(min(images, p.images))*p.perImage + int64(min(texts, p.texts))*p.perText
}

// microBatch is the largest power of two that leaves a tenth of what is
// available; 0 if there is none.
func (p plan) microBatch() int {
	fits := 0
	for n := 1; n < max(p.images, p.texts) && p.need(n, n) < p.available/10*9; n *= 2 {
		fits = n
	}
	return fits
}

// measure plans a step by the activations of a few of its images and texts: they
// grow in proportion. resumed says that the optimiser has its moments.
func (t *task) measure(b *Batch, resumed bool) plan {
	p := plan{images: len(b.Samples) + len(b.Rows), texts: len(b.Tokens), held: torch.HeldBytes(t.o.Device)}
	t.model.SetTraining(false) // statistics must not move
	defer t.model.SetTraining(t.o.TrainBatchNorm)
	slope := func(n int, encode func(from, to int) *torch.Tensor) int64 {
		held := func(n int) (bytes int64) {
			torch.Scope(func() {
				before := torch.HeldBytes(t.o.Device)
				encode(0, n)
				bytes = torch.HeldBytes(t.o.Device) - before
			})
			return bytes
		}
		few, more := min(n, 2), min(n, 6)
		if more == few {
			return held(n) / int64(max(n, 1))
		}
		return max(0, held(more)-held(few)) / int64(more-few)
	}
	p.perImage = slope(p.images, func(from, to int) *torch.Tensor { return t.images(b, from, to) })
	if p.texts > 0 {
		p.perText = slope(p.texts, func(from, to int) *torch.Tensor { return t.texts(b, from, to) })
	}
	trained := int64(0)
	for _, w := range t.model.Trainable() {
		trained += 4 * int64(torch.Elements(w.Tensor.Shape()))
	}
	p.fixed = p.held + trained
	if !resumed {
		p.fixed += 2 * trained
	}
	return p
}

// warn says what would fit where the step doesn't. It's an estimate, so that the
// run goes on. A GPU says itself when its memory ends; a CPU's process is killed.
func (p plan) warn(micro int) {
	all := max(p.images, p.texts)
	if micro == 0 {
		micro = all
	}
	need := p.need(micro, micro)
	if p.available == 0 || need < p.available {
		return
	}
	text := fmt.Sprintf("a step needs about %s of memory, and %s are free; the system may end the program", humanize.IBytes(uint64(need)), humanize.IBytes(uint64(p.available)))
	if fits := p.microBatch(); fits > 0 {
		slog.Warn(fmt.Sprintf("%s: with train.micro_batch=%d a step needs about %s", text, fits, humanize.IBytes(uint64(p.need(fits, fits)))))
		return
	}
	slog.Warn(text + ": not even one image at a time fits; take a smaller model")
}

// outOfMemory tells an allocation that failed, on a GPU or the CPU, from other
// errors of libtorch, which has no code for it.
func outOfMemory(err error) bool {
	var engine *torch.Error
	return errors.As(err, &engine) &&
		(strings.Contains(engine.Message, "out of memory") || strings.Contains(engine.Message, "can't allocate memory"))
}
