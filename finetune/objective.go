package finetune

import (
	"arf/clip"
	"arf/torch"
)

// Objective is one term of the loss.
type Objective interface {
	// Needs says what a step must encode for the term.
	Needs() Needs
	// Loss is the term's scalar in float32, unweighted; nil where the step has
	// nothing for it.
	Loss(f *Features) *torch.Tensor
}

// Needs are the parts of a step besides its finetune images.
type Needs struct{ Prompts, Captions, Pairs bool }

// Features is a step after the towers.
type Features struct {
	Model     *clip.Model
	head      *linear // of method ft
	Negatives Negatives
	Batch     *Batch
	Images    *torch.Tensor // [B, D] of the finetune images, each of length 1
	Pool      *torch.Tensor // [P, D] of the pairs' images, or nil
	Texts     *torch.Tensor // [U, D] of the step's different texts, or nil

	global *global // the step of all processes; nil for a process alone
}

// objectives by name; the key is the term's name in metrics.jsonl, loss_<name>.
var objectives = map[string]Objective{
	"class": class{},
	"tca":   tca{},
	"ita":   ita{},
	"ce":    crossEntropy{},
}

// weight of a term in the loss.
func (o Options) weight(name string) float64 {
	switch name {
	case "tca":
		return o.LambdaTCA
	case "ita":
		return o.LambdaITA
	}
	return 1
}

// class is FLYP's loss (locuslab/FLYP, src/models/flyp_loss.py): the
// contrastive loss between images and prompts of their classes.
type class struct{}

func (class) Needs() Needs { return Needs{Prompts: true} }

func (class) Loss(f *Features) *torch.Tensor { return f.contrastive(ofPrompts) }

// tca is ARF's text-compensated anchor (§3): the contrastive loss between
// images and their captions, whose wider wording keeps what class names lack.
type tca struct{}

func (tca) Needs() Needs { return Needs{Captions: true} }

func (tca) Loss(f *Features) *torch.Tensor { return f.contrastive(ofCaptions) }

// ita is ARF's image–text-pair anchor (§3): the pretraining loss on pairs like
// pretraining's, retrieved for the step's images.
type ita struct{}

func (ita) Needs() Needs { return Needs{Pairs: true} }

func (ita) Loss(f *Features) *torch.Tensor { return f.contrastive(ofPool) }

// crossEntropy is plain finetuning (WiSE-FT, Wortsman et al. 2022, §3): the
// head's logits against the class.
type crossEntropy struct{}

func (crossEntropy) Needs() Needs { return Needs{} }

func (crossEntropy) Loss(f *Features) *torch.Tensor {
	labels := f.Batch.Labels
	if len(labels) == 0 {
		return f.global.nothing(f)
	}
	loss := torch.CrossEntropy(f.head.forward(f.Images), torch.From(f.Images.Device(), labels, len(labels)))
	if f.global != nil {
		loss = loss.Scale(float64(len(labels)) / float64(f.global.images))
	}
	return loss
}

// kind of pairs that a contrastive term is of.
type kind int

const (
	ofPrompts kind = iota
	ofCaptions
	ofPool
)

// texts and groups of a step's pairs: rows of Tokens, and labels or rows of the pool.
func (b *Batch) texts(k kind) []int64  { return [][]int64{b.Prompts, b.Captions, b.PairTexts}[k] }
func (b *Batch) groups(k kind) []int64 { return [][]int64{b.Labels, b.Labels, b.Rows}[k] }

// contrastive is the loss of a kind of pairs; those of equal text or equal group
// match. It's nil where the step has none.
func (f *Features) contrastive(k kind) *torch.Tensor {
	if f.global != nil {
		return f.global.contrastive(f, k)
	}
	images := f.Images
	if k == ofPool {
		images = f.Pool
	}
	texts := f.Batch.texts(k)
	if len(texts) == 0 {
		return nil
	}
	d := images.Device()
	target, excluded := f.Negatives.matrices(d, 0, len(texts), texts, f.Batch.groups(k))
	// Embedding rather than IndexSelect: its gradient sums equal rows in a fixed
	// order on GPUs too.
	features := torch.Embedding(f.Texts, torch.From(d, texts, len(texts)))
	return f.Model.ContrastiveLoss(images, features, target, excluded)
}
