package clip

import "arf/torch"

// LocalContrastiveLoss is one process's part of ContrastiveLoss over a batch of
// B pairs that several processes hold. With X and Y [B, D] the features of all
// images and texts, ℓ the cross-entropy and s the scale, CLIP's loss is
//
//	L = 1/2B · Σ_i [ ℓ(s·x_i·Yᵀ, i) + ℓ(s·y_i·Xᵀ, i) ]
//
// A process has the terms of its own rows i: images and texts [b, D], which are
// rows first, first+1, … of allImages and allTexts. So its logits are [b, B], not
// [B, B], and L is the sum of the processes' parts. Where allImages and allTexts
// carry gradients back to the processes that own the rows (dist.Group.AllGather),
// the sum of the processes' gradients is the gradient of L. It is open_clip's
// loss with local_loss and gather_with_grad (open_clip/loss.py), but for the
// factor 1/processes, which open_clip has in the mean of the gradients.
//
// SigLIP's loss is cut in the same way by images. target and excluded [b, B] are
// the process's rows of ContrastiveLoss's; both must be symmetric relations.
func (m *Model) LocalContrastiveLoss(images, texts, allImages, allTexts *torch.Tensor, first int, target, excluded *torch.Tensor) *torch.Tensor {
	share := float64(images.Dim(0)) / float64(allImages.Dim(0))
	if m.Config.SigLIP {
		return m.sigmoidLoss(images, allTexts, first, target, excluded).Scale(share)
	}
	d := images.Device()
	own := torch.Arange(d, allImages.Dim(0)).Narrow(0, first, images.Dim(0))
	loss := func(a, b *torch.Tensor) *torch.Tensor {
		logits := m.Logits(a, b)
		if excluded != nil {
			logits = logits.MaskedFill(excluded, -1e4)
		}
		if target != nil {
			return torch.SoftCrossEntropy(logits, target)
		}
		return torch.CrossEntropy(logits, own)
	}
	return loss(images, allTexts).Add(loss(texts, allImages)).Scale(0.5 * share)
}
