package clip

import (
	"arf/nn"
	"arf/torch"
)

// VisionTransformer is CLIP's ViT (openai/CLIP, model.py).
type VisionTransformer struct {
	Embeddings *VisionEmbeddings `weight:"embeddings"`
	PreNorm    *nn.LayerNorm     `weight:"pre_layrnorm"` // spelt so in Hugging Face's weights; nil with NoPreNorm
	Blocks     []*nn.Block       `weight:"encoder.layers"`
	PostNorm   *nn.LayerNorm     `weight:"post_layernorm"`
	Head       *MAPHead          `weight:"head"` // with MAPPooling only
	config     VisionConfig

	checkpoints *nn.Checkpoints
}

// VisionEmbeddings cuts the image into patches and adds the class token and positions.
type VisionEmbeddings struct {
	Class    *torch.Tensor `weight:"class_embedding,nodecay"` // [width]; nil with MAPPooling
	Patch    *nn.Conv2D    `weight:"patch_embedding"`
	Position *nn.Embedding `weight:"position_embedding"` // [1+patches, width], without the 1 where there's no class token
}

func newVisionTransformer(c VisionConfig) *VisionTransformer {
	grid := c.ImageSize / c.PatchSize
	v := &VisionTransformer{
		Embeddings: &VisionEmbeddings{
			Patch:    nn.NewConv2D(3, c.Width, c.PatchSize, c.PatchSize, 0),
			Position: nn.NewEmbedding(c.classTokens()+grid*grid, c.Width),
		},
		PostNorm: nn.NewLayerNorm(c.Width, c.Eps),
		config:   c,
	}
	if c.Pooling == MAPPooling {
		v.Embeddings.Patch.Bias = torch.Zeros(torch.CPU, torch.Float32, c.Width).Keep()
		v.Head = newMAPHead(c)
	} else {
		v.Embeddings.Class = nn.NewEmbedding(1, c.Width).Weight.Reshape(c.Width).Keep()
	}
	if !c.NoPreNorm {
		v.PreNorm = nn.NewLayerNorm(c.Width, c.Eps)
	}
	for range c.Layers {
		v.Blocks = append(v.Blocks, newBlock(c.Width, c.MLPWidth, c.Heads, c.Activation, c.Eps, c.LayerScale))
	}
	return v
}

func newBlock(width, hidden, heads int, activation nn.Activation, eps, layerScale float64) *nn.Block {
	b := nn.NewBlock(width, hidden, heads, activation, eps)
	if layerScale > 0 {
		b.Scale1, b.Scale2 = nn.NewLayerScale(width, layerScale), nn.NewLayerScale(width, layerScale)
	}
	return b
}

// Tokens maps pixels [B, 3, H, W] to the last block's output [B, 1+patches, width],
// [B, patches, width] where there's no class token.
func (v *VisionTransformer) Tokens(pixels *torch.Tensor) *torch.Tensor {
	x := torch.Tidy(func() *torch.Tensor { return v.embed(pixels) })
	return nn.Chain(v.checkpoints, x, v.Blocks, func(b *nn.Block, x *torch.Tensor) *torch.Tensor { return b.Forward(x, nil) })
}

// embed is Tokens before the first block.
func (v *VisionTransformer) embed(pixels *torch.Tensor) *torch.Tensor {
	x := v.Embeddings.Patch.Forward(pixels).Flatten(2, 3).Transpose(1, 2)
	if v.Embeddings.Class != nil {
		b, width := x.Dim(0), x.Dim(2)
		x = torch.Cat(1, v.Embeddings.Class.Reshape(1, 1, width).Expand(b, 1, width).Cast(x.DType()), x)
	}
	x = x.Add(v.Embeddings.Position.Weight)
	if v.PreNorm != nil {
		x = v.PreNorm.Forward(x)
	}
	return x
}

// Forward maps pixels to the image's feature before its projection, [B, width].
func (v *VisionTransformer) Forward(pixels *torch.Tensor) *torch.Tensor {
	return v.Pool(v.Tokens(pixels))
}

// Pool makes of Tokens the normalised class token, mean patch, or attention
// pool's output, [B, width].
func (v *VisionTransformer) Pool(tokens *torch.Tensor) *torch.Tensor {
	if v.Head != nil {
		return v.Head.Forward(v.PostNorm.Forward(tokens))
	}
	if v.config.Pooling == "" {
		return v.PostNorm.Forward(tokens.Select(1, 0))
	}
	patches := tokens.Narrow(1, 1, tokens.Dim(1)-1)
	if v.config.NormAfterPool {
		return v.PostNorm.Forward(patches.MeanDim(1, false))
	}
	return v.PostNorm.Forward(patches).MeanDim(1, false)
}
