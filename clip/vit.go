package clip

import (
	"arf/nn"
	"arf/torch"
)

// VisionTransformer is CLIP's ViT (openai/CLIP, model.py).
type VisionTransformer struct {
	Embeddings *VisionEmbeddings `weight:"embeddings"`
	PreNorm    *nn.LayerNorm     `weight:"pre_layrnorm"` // spelt so in Hugging Face's weights
	Blocks     []*nn.Block       `weight:"encoder.layers"`
	PostNorm   *nn.LayerNorm     `weight:"post_layernorm"`
}

// VisionEmbeddings cuts the image into patches and adds the class token and positions.
type VisionEmbeddings struct {
	Class    *torch.Tensor `weight:"class_embedding,nodecay"` // [width]
	Patch    *nn.Conv2D    `weight:"patch_embedding"`
	Position *nn.Embedding `weight:"position_embedding"` // [1+patches, width]
}

func newVisionTransformer(c VisionConfig) *VisionTransformer {
	grid := c.ImageSize / c.PatchSize
	v := &VisionTransformer{
		Embeddings: &VisionEmbeddings{
			Class:    nn.NewEmbedding(1, c.Width).Weight.Reshape(c.Width).Keep(),
			Patch:    nn.NewConv2D(3, c.Width, c.PatchSize, c.PatchSize, 0),
			Position: nn.NewEmbedding(1+grid*grid, c.Width),
		},
		PreNorm: nn.NewLayerNorm(c.Width, c.Eps), PostNorm: nn.NewLayerNorm(c.Width, c.Eps),
	}
	for range c.Layers {
		v.Blocks = append(v.Blocks, nn.NewBlock(c.Width, c.MLPWidth, c.Heads, c.Activation, c.Eps))
	}
	return v
}

// Tokens maps pixels [B, 3, H, W] to the last block's output [B, 1+patches, width].
func (v *VisionTransformer) Tokens(pixels *torch.Tensor) *torch.Tensor {
	patches := v.Embeddings.Patch.Forward(pixels).Flatten(2, 3).Transpose(1, 2)
	b, width := patches.Dim(0), patches.Dim(2)
	class := v.Embeddings.Class.Reshape(1, 1, width).Expand(b, 1, width).Cast(patches.DType())
	x := v.PreNorm.Forward(torch.Cat(1, class, patches).Add(v.Embeddings.Position.Weight))
	for _, block := range v.Blocks {
		x = block.Forward(x, nil)
	}
	return x
}

// Forward maps pixels to the normalised class token [B, width].
func (v *VisionTransformer) Forward(pixels *torch.Tensor) *torch.Tensor {
	return v.PostNorm.Forward(v.Tokens(pixels).Select(1, 0))
}
