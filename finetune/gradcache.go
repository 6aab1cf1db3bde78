package finetune

import (
	"arf/torch"
	"arf/train"
)

// cached is encode of a batch whose activations don't fit into memory; its loss
// has the gradient of the whole batch (GradCache: Gao et al. 2021, arXiv
// 2101.06983, §3.2). Contrastive losses can't be added up over parts of a batch, since each
// pair is compared with all others. So the towers first encode the batch in
// parts, without keeping activations; the loss's gradient goes as far as the
// features; then each part is encoded again, and takes its features' gradient on
// to the weights. That costs a second forward pass. Parts have MicroBatch images
// or different texts. In a group each process has its share of the batch in parts.
func (t *task) cached(b *Batch) (*Features, func(train.Loss) train.Loss) {
	images := t.inParts(len(b.Samples)+len(b.Rows), func(from, to int) *torch.Tensor { return t.images(b, from, to) })
	texts := t.inParts(len(b.Tokens), func(from, to int) *torch.Tensor { return t.texts(b, from, to) })
	return t.features(b, images.features, texts.features), func(l train.Loss) train.Loss {
		l.Backward = func() {
			l.Total.Backward()
			images.backward()
			texts.backward()
		}
		return l
	}
}

// parts is a tower's work on a batch.
type parts struct {
	features *torch.Tensor // [n, D], a leaf; nil of nothing
	backward func()        // from the features' gradient to the weights'
}

// inParts encodes n images or texts, from and to giving a part of them.
func (t *task) inParts(n int, encode func(from, to int) *torch.Tensor) parts {
	if n == 0 {
		return parts{nil, func() {}}
	}
	each := func(do func(features *torch.Tensor, from, to int)) {
		for from := 0; from < n; from += t.o.MicroBatch {
			to := min(from+t.o.MicroBatch, n)
			torch.Scope(func() { do(encode(from, to), from, to) })
		}
	}
	all := torch.Zeros(t.o.Device, torch.Float32, n, t.model.Config.EmbedDim)
	torch.NoGrad(func() {
		each(func(f *torch.Tensor, from, to int) { all.Narrow(0, from, to-from).Copy_(f) })
	})
	all.SetRequiresGrad(true)
	return parts{all, func() {
		gradient := all.Grad()
		if gradient == nil {
			return // no term compares them
		}
		t.checkpointed(func() {
			each(func(f *torch.Tensor, from, to int) {
				t.o.Profile.Phase("backward")
				f.BackwardFrom(gradient.Narrow(0, from, to-from))
				t.checkpoints.Backward()
			})
		})
	}}
}
