package clip

import (
	"math"

	"arf/nn"
	"arf/torch"
)

// Init draws the weights as openai/CLIP's model.py does (initialize_parameters):
// normal with standard deviations that fall with width and depth, zero biases.
func (m *Model) Init(seed int64) {
	torch.ManualSeed(seed)
	torch.Scope(func() {
		torch.NoGrad(func() {
			if m.ViT != nil {
				width := float64(m.Config.Vision.Width)
				if m.ViT.Embeddings.Class != nil {
					normal(m.ViT.Embeddings.Class, 1/math.Sqrt(width))
				}
				normal(m.ViT.Embeddings.Position.Weight, 1/math.Sqrt(width))
				kaiming(m.ViT.Embeddings.Patch)
				initBlocks(m.ViT.Blocks, width)
				if m.Config.SigLIP {
					m.initSigLIP()
				} else {
					normal(m.VisualProjection.Weight, 1/math.Sqrt(width))
				}
			} else {
				initResNet(m.ResNet)
			}
			width := float64(m.Config.Text.Width)
			normal(m.Text.Embeddings.Token.Weight, 0.02)
			normal(m.Text.Embeddings.Position.Weight, 0.01)
			initBlocks(m.Text.Blocks, width)
			if m.TextProjection != nil {
				normal(m.TextProjection.Weight, 1/math.Sqrt(width))
			}
		})
	})
}

func initBlocks(blocks []*nn.Block, width float64) {
	proj := 1 / math.Sqrt(width) / math.Sqrt(2*float64(len(blocks)))
	for _, b := range blocks {
		for _, l := range []*nn.Linear{b.Attn.Query, b.Attn.Key, b.Attn.Value} {
			normal(l.Weight, 1/math.Sqrt(width))
		}
		normal(b.Attn.Out.Weight, proj)
		normal(b.MLP.FC1.Weight, 1/math.Sqrt(2*width))
		normal(b.MLP.FC2.Weight, proj)
	}
}

// initResNet follows the reference, whose residual blocks start as the
// identity (the last norm of each scales by 0).
func initResNet(r *ModifiedResNet) {
	for _, c := range []*nn.Conv2D{r.Conv1, r.Conv2, r.Conv3} {
		kaiming(c)
	}
	for _, stage := range [][]*Bottleneck{r.Layer1, r.Layer2, r.Layer3, r.Layer4} {
		for _, b := range stage {
			for _, c := range []*nn.Conv2D{b.Conv1, b.Conv2, b.Conv3} {
				kaiming(c)
			}
			if b.Downsample != nil {
				kaiming(b.Downsample.Conv)
			}
			b.BN3.Weight.Fill_(0)
		}
	}
	std := 1 / math.Sqrt(float64(r.Pool.Query.Weight.Dim(1)))
	for _, l := range []*nn.Linear{r.Pool.Query, r.Pool.Key, r.Pool.Value, r.Pool.Out} {
		normal(l.Weight, std)
	}
	normal(r.Pool.Position, std)
}

// kaiming is PyTorch's default for convolutions, as a normal distribution of
// the same variance, 1/(3·fan-in).
func kaiming(c *nn.Conv2D) {
	s := c.Weight.Shape()
	normal(c.Weight, 1/math.Sqrt(3*float64(s[1]*s[2]*s[3])))
}

func normal(t *torch.Tensor, std float64) {
	t.Copy_(torch.Randn(t.Device(), t.Shape()...).Scale_(std))
}
