package clip

import (
	"math"

	"arf/nn"
	"arf/torch"
)

// MAPPooling is SigLIP's attention-pooling head.
const MAPPooling Pooling = "map"

// setSigLIP sets all in which SigLIP's towers differ from CLIP's.
func (c *Config) setSigLIP() {
	c.SigLIP = true
	c.Vision.NoPreNorm, c.Vision.Pooling = true, MAPPooling
	c.Text.NonCausal, c.Text.LastPooling = true, true
}

// classTokens is the number of a ViT's tokens before the patches'.
func (c VisionConfig) classTokens() int {
	if c.Pooling == MAPPooling {
		return 0
	}
	return 1
}

// MAPHead pools tokens by attention from one learnt query (multihead attention
// pooling; Zhai et al. 2022, Scaling vision transformers, §2.2; transformers:
// SiglipMultiheadAttentionPoolingHead).
type MAPHead struct {
	Probe     *torch.Tensor          `weight:"probe,nodecay"` // [1, 1, width]
	Attention *nn.MultiheadAttention `weight:"attention"`
	Norm      *nn.LayerNorm          `weight:"layernorm"`
	MLP       *nn.MLP                `weight:"mlp"`
}

func newMAPHead(c VisionConfig) *MAPHead {
	return &MAPHead{
		Probe:     torch.Zeros(torch.CPU, torch.Float32, 1, 1, c.Width).Keep(),
		Attention: nn.NewMultiheadAttention(c.Width, c.Heads),
		Norm:      nn.NewLayerNorm(c.Width, c.Eps),
		MLP:       nn.NewMLP(c.Width, c.MLPWidth, c.Activation),
	}
}

// Forward maps tokens [B, T, width] to [B, width].
func (h *MAPHead) Forward(tokens *torch.Tensor) *torch.Tensor {
	b, width := tokens.Dim(0), tokens.Dim(2)
	// Under autocast attention gives bfloat16; LayerNorm and the sum stay in the weights' type.
	x := h.Attention.Forward(h.Probe.Expand(b, 1, width), tokens).Cast(h.Probe.DType())
	return x.Add(h.MLP.Forward(h.Norm.Forward(x))).Select(1, 0)
}

// sigmoidLoss is the mean over images of -Σ log σ(±logits) over the texts, +
// for pairs that match and - for others (Zhai et al. 2023, Sigmoid loss for
// language image pre-training, eq. 1). Where target isn't 0, pairs match; each
// of several matches counts whole. Those in excluded don't count. images [b, D]
// are those of texts [B, D] from first on.
func (m *Model) sigmoidLoss(images, texts *torch.Tensor, first int, target, excluded *torch.Tensor) *torch.Tensor {
	logits := m.Logits(images, texts)
	n := logits.Dim(0)
	var match *torch.Tensor
	if target == nil {
		match = torch.Eye(images.Device(), texts.Dim(0)).Narrow(0, first, n)
	} else {
		match = target.EqScalar(0).Not().Cast(torch.Float32)
	}
	sign := match.Scale(2).Sub(torch.Full(images.Device(), 1))
	likelihood := logits.Mul(sign).LogSigmoid()
	if excluded != nil {
		likelihood = likelihood.MaskedFill(excluded, 0)
	}
	return likelihood.Sum().Scale(-1 / float64(n))
}

// initSigLIP draws what Init doesn't for CLIP; logit_scale and logit_bias start
// where Zhai et al. 2023 (§3.2) have them.
func (m *Model) initSigLIP() {
	width := float64(m.Config.Vision.Width)
	h := m.ViT.Head
	normal(h.Probe, 1/math.Sqrt(width))
	normal(h.Attention.InWeight, 1/math.Sqrt(width))
	normal(h.Attention.Out.Weight, 1/math.Sqrt(width))
	normal(h.MLP.FC1.Weight, 1/math.Sqrt(2*width))
	normal(h.MLP.FC2.Weight, 1/math.Sqrt(2*width))
	normal(m.Text.Head.Weight, 1/math.Sqrt(float64(m.Config.Text.Width)))
	m.LogitScale.Fill_(math.Log(10))
	m.LogitBias.Fill_(-10)
}
