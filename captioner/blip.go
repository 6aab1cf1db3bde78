package captioner

import (
	"context"

	"arf/clip"
	"arf/imaging"
	"arf/nn"
	"arf/text"
	"arf/torch"
)

// BLIP is the captioner of Li et al. 2022 (https://arxiv.org/abs/2201.12086): a
// ViT, and a BERT decoder that looks at all of its tokens by cross-attention. The
// names of the weights are transformers' (modeling_blip.py). It's for one
// goroutine at a time.
type BLIP struct {
	Vision *blipTower   `weight:"vision_model"`
	Text   *blipDecoder `weight:"text_decoder"`

	Config    BLIPConfig
	Tokenizer text.Tokenizer
	// Precision of matrix products: torch.BFloat16 or torch.Float32.
	Precision  torch.DType
	preprocess imaging.Preprocess
	language   language
}

// Preprocess is how images become Caption's pixels.
func (m *BLIP) Preprocess() imaging.Preprocess { return m.preprocess }

// Caption writes o.N captions for each image, which begin with o.Prompt. The
// captions of an image depend on its pixels, its key and the seed, not on the
// other images.
func (m *BLIP) Caption(ctx context.Context, images Images, o GenerateOptions) ([][]Caption, error) {
	return m.language.caption(ctx, images, o)
}

// blipTower is a pre-norm ViT without a norm before its blocks.
type blipTower struct {
	Class    *torch.Tensor `weight:"embeddings.class_embedding"`    // [1, 1, width]
	Position *torch.Tensor `weight:"embeddings.position_embedding"` // [1, tokens, width]
	Patch    *nn.Conv2D    `weight:"embeddings.patch_embedding"`
	Blocks   []*blipBlock  `weight:"encoder.layers"`
	Norm     *nn.LayerNorm `weight:"post_layernorm"`
}

type blipBlock struct {
	LN1  *nn.LayerNorm  `weight:"layer_norm1"`
	Attn *blipAttention `weight:"self_attn"`
	LN2  *nn.LayerNorm  `weight:"layer_norm2"`
	MLP  *nn.MLP        `weight:"mlp"`
}

// blipAttention has the three input projections in one matrix.
type blipAttention struct {
	QKV   *nn.Linear `weight:"qkv"` // [3·width, width]
	Out   *nn.Linear `weight:"projection"`
	heads int
}

// forward keeps x's shape [B, T, width].
func (a *blipAttention) forward(x *torch.Tensor) *torch.Tensor {
	s := x.Shape()
	qkv := a.QKV.Forward(x).Reshape(s[0], s[1], 3, a.heads, s[2]/a.heads).Permute(2, 0, 3, 1, 4)
	out := torch.Attention(qkv.Select(0, 0), qkv.Select(0, 1), qkv.Select(0, 2), nil)
	return a.Out.Forward(out.Transpose(1, 2).Flatten(2, 3))
}

// forward maps pixels [B, 3, H, W] to [B, tokens, width].
func (v *blipTower) forward(pixels *torch.Tensor) *torch.Tensor {
	x := v.Patch.Forward(pixels).Flatten(2, 3).Transpose(1, 2)
	b, width := x.Dim(0), x.Dim(2)
	x = torch.Cat(1, v.Class.Expand(b, 1, width).Cast(x.DType()), x).Add(v.Position)
	for _, block := range v.Blocks {
		x = x.Add(block.Attn.forward(block.LN1.Forward(x)))
		x = x.Add(block.MLP.Forward(block.LN2.Forward(x)))
	}
	return v.Norm.Forward(x)
}

// blipDecoder is BERT (Devlin et al. 2019): norms come after each branch.
type blipDecoder struct {
	Token    *nn.Embedding `weight:"bert.embeddings.word_embeddings"`     // [vocabulary, width]
	Position *nn.Embedding `weight:"bert.embeddings.position_embeddings"` // [context, width]
	Norm     *nn.LayerNorm `weight:"bert.embeddings.LayerNorm"`
	Layers   []*blipLayer  `weight:"bert.encoder.layer"`

	HeadDense *nn.Linear    `weight:"cls.predictions.transform.dense"`
	HeadNorm  *nn.LayerNorm `weight:"cls.predictions.transform.LayerNorm"`
	// Output is Token's table where the file has no other.
	Output     *torch.Tensor `weight:"cls.predictions.decoder.weight"` // [vocabulary, width]
	OutputBias *torch.Tensor `weight:"cls.predictions.bias"`           // [vocabulary]

	activation nn.Activation
}

type blipLayer struct {
	Self  *bertAttention `weight:"attention"`
	Cross *bertAttention `weight:"crossattention"`
	Up    *nn.Linear     `weight:"intermediate.dense"`
	Down  *nn.Linear     `weight:"output.dense"`
	Norm  *nn.LayerNorm  `weight:"output.LayerNorm"`
}

// bertAttention is attention with the residual and the norm after it.
type bertAttention struct {
	Query *nn.Linear    `weight:"self.query"`
	Key   *nn.Linear    `weight:"self.key"`
	Value *nn.Linear    `weight:"self.value"`
	Out   *nn.Linear    `weight:"output.dense"`
	Norm  *nn.LayerNorm `weight:"output.LayerNorm"`
	heads int
}

// split turns [R, T, width] into [R, heads, T, width/heads].
func (a *bertAttention) split(x *torch.Tensor) *torch.Tensor {
	s := x.Shape()
	return x.Reshape(s[0], s[1], a.heads, s[2]/a.heads).Transpose(1, 2)
}

// attend mixes values by queries [R, Tq, width]; keys and values are split. The
// result is [R, Tq, width].
func (a *bertAttention) attend(query, key, value, mask *torch.Tensor) *torch.Tensor {
	return torch.Attention(a.split(query), key, value, mask).Transpose(1, 2).Flatten(2, 3)
}

// close adds the branch to x and normalises.
func (a *bertAttention) close(x, mixed *torch.Tensor) *torch.Tensor {
	return a.Norm.Forward(a.Out.Forward(mixed).Add(x))
}

// feed is the second half of a layer.
func (l *blipLayer) feed(x *torch.Tensor, activation nn.Activation) *torch.Tensor {
	return l.Norm.Forward(l.Down.Forward(activation.Forward(l.Up.Forward(x))).Add(x))
}

// embed maps ids [R, T] (int64), which stand at positions from start on, to [R, T, width].
func (d *blipDecoder) embed(ids *torch.Tensor, start int) *torch.Tensor {
	return d.Norm.Forward(d.Token.Forward(ids).Add(d.Position.Weight.Narrow(0, start, ids.Dim(1))))
}

// logits maps hidden states [..., width] to scores of the next token [..., vocabulary].
func (d *blipDecoder) logits(hidden *torch.Tensor) *torch.Tensor {
	x := d.activation.Forward(d.HeadDense.Forward(hidden)).Cast(torch.Float32) // norms are float32
	x = d.HeadNorm.Forward(x)
	return torch.Linear(x, d.Output, d.OutputBias)
}

// newBLIP makes a model of zero weights on the CPU.
func newBLIP(c BLIPConfig) *BLIP {
	v, t := c.Vision, c.Text
	zeros := func(shape ...int) *torch.Tensor { return torch.Zeros(torch.CPU, torch.Float32, shape...).Keep() }
	patch := nn.NewConv2D(3, v.Width, v.PatchSize, v.PatchSize, 0)
	patch.Bias = zeros(v.Width)
	m := &BLIP{
		Vision: &blipTower{
			Class: zeros(1, 1, v.Width), Position: zeros(1, v.tokens(), v.Width), Patch: patch, Norm: nn.NewLayerNorm(v.Width, v.Eps),
		},
		Text: &blipDecoder{
			Token: nn.NewEmbedding(t.VocabSize, t.Width), Position: nn.NewEmbedding(t.Context, t.Width), Norm: nn.NewLayerNorm(t.Width, t.Eps),
			HeadDense: nn.NewLinear(t.Width, t.Width, true), HeadNorm: nn.NewLayerNorm(t.Width, t.Eps),
			Output: zeros(t.VocabSize, t.Width), OutputBias: zeros(t.VocabSize), activation: t.Activation,
		},
		Config: c, Precision: torch.Float32, preprocess: c.preprocess(),
	}
	for range v.Layers {
		m.Vision.Blocks = append(m.Vision.Blocks, &blipBlock{
			LN1: nn.NewLayerNorm(v.Width, v.Eps), LN2: nn.NewLayerNorm(v.Width, v.Eps),
			Attn: &blipAttention{QKV: nn.NewLinear(v.Width, 3*v.Width, true), Out: nn.NewLinear(v.Width, v.Width, true), heads: v.Heads},
			MLP:  nn.NewMLP(v.Width, v.MLPWidth, v.Activation),
		})
	}
	attention := func(memory int) *bertAttention {
		return &bertAttention{
			Query: nn.NewLinear(t.Width, t.Width, true), Key: nn.NewLinear(memory, t.Width, true), Value: nn.NewLinear(memory, t.Width, true),
			Out: nn.NewLinear(t.Width, t.Width, true), Norm: nn.NewLayerNorm(t.Width, t.Eps), heads: t.Heads,
		}
	}
	for range t.Layers {
		m.Text.Layers = append(m.Text.Layers, &blipLayer{
			Self: attention(t.Width), Cross: attention(v.Width),
			Up: nn.NewLinear(t.Width, t.MLPWidth, true), Down: nn.NewLinear(t.MLPWidth, t.Width, true), Norm: nn.NewLayerNorm(t.Width, t.Eps),
		})
	}
	return m
}

// pixels turns bytes [B, H, W, 3] into the tower's input.
func (m *BLIP) pixels(rgb []uint8, images int) *torch.Tensor {
	return clip.Pixels(m.device(), rgb, images, m.preprocess)
}

func (m *BLIP) device() torch.Device { return m.Text.OutputBias.Device() }
