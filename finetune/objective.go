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

func (class) Loss(f *Features) *torch.Tensor {
	b := f.Batch
	return f.contrastive(f.Images, b.Prompts, b.Labels)
}

// tca is ARF's text-compensated anchor (§3): the contrastive loss between
// images and their captions, whose wider wording keeps what class names lack.
type tca struct{}

func (tca) Needs() Needs { return Needs{Captions: true} }

func (tca) Loss(f *Features) *torch.Tensor {
	b := f.Batch
	return f.contrastive(f.Images, b.Captions, b.Labels)
}

// ita is ARF's image–text-pair anchor (§3): the pretraining loss on pairs like
// pretraining's, retrieved for the step's images.
type ita struct{}

func (ita) Needs() Needs { return Needs{Pairs: true} }

func (ita) Loss(f *Features) *torch.Tensor {
	b := f.Batch
	if len(b.Rows) == 0 {
		return nil
	}
	return f.contrastive(f.Pool, b.PairTexts, b.Rows)
}

// crossEntropy is plain finetuning (WiSE-FT, Wortsman et al. 2022, §3): the
// head's logits against the class.
type crossEntropy struct{}

func (crossEntropy) Needs() Needs { return Needs{} }

func (crossEntropy) Loss(f *Features) *torch.Tensor {
	labels := f.Batch.Labels
	return torch.CrossEntropy(f.head.forward(f.Images), torch.From(f.Images.Device(), labels, len(labels)))
}

// contrastive is the loss between images [B, D] and the texts of those rows of
// f.Texts; pairs of equal text or equal group match.
func (f *Features) contrastive(images *torch.Tensor, texts, groups []int64) *torch.Tensor {
	d := images.Device()
	target, excluded := f.Negatives.matrices(d, texts, groups)
	// Embedding rather than IndexSelect: its gradient sums equal rows in a fixed
	// order on GPUs too.
	features := torch.Embedding(f.Texts, torch.From(d, texts, len(texts)))
	return f.Model.ContrastiveLoss(images, features, target, excluded)
}
