package captioner

import (
	"errors"
	"fmt"
	"math"

	"arf/clip"
	"arf/nn"
	"arf/torch"
)

// Decoder is a causal transformer over an image prefix and the tokens of a
// text. The prefix, the image's map and feature mapped to the decoder's width,
// sees itself in both directions; a token sees the prefix, the tokens before it
// and itself. Input and output share the token table (Press & Wolf 2017).
type Decoder struct {
	Prefix    *Prefix       `weight:"prefix"`
	Token     *nn.Embedding `weight:"token_embedding"`    // [vocabulary, width]
	Position  *nn.Embedding `weight:"position_embedding"` // [contextLength, width]
	Blocks    []*nn.Block   `weight:"layers"`
	FinalNorm *nn.LayerNorm `weight:"final_layer_norm"`

	Config Config
}

// Prefix maps what the image tower gives to the decoder's width. The norms
// take out the towers' scales, which differ by orders of magnitude.
type Prefix struct {
	TokenNorm   *nn.LayerNorm `weight:"token_norm"`
	Tokens      *nn.Linear    `weight:"token_proj"`
	FeatureNorm *nn.LayerNorm `weight:"feature_norm"`
	Feature     *nn.Linear    `weight:"feature_proj"`
	Position    *nn.Embedding `weight:"position_embedding"` // [1+tokens, width]
}

// NewDecoder makes a decoder of zero weights on the CPU; Init or a folder
// fills them.
func NewDecoder(c Config) (*Decoder, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	d := &Decoder{
		Prefix: &Prefix{
			TokenNorm: nn.NewLayerNorm(c.Tower.TokenWidth, c.Eps), Tokens: nn.NewLinear(c.Tower.TokenWidth, c.Width, true),
			FeatureNorm: nn.NewLayerNorm(c.Tower.FeatureWidth, c.Eps), Feature: nn.NewLinear(c.Tower.FeatureWidth, c.Width, true),
			Position: nn.NewEmbedding(1+c.Tower.Tokens, c.Width),
		},
		Token: nn.NewEmbedding(c.VocabSize, c.Width), Position: nn.NewEmbedding(c.ContextLength, c.Width),
		FinalNorm: nn.NewLayerNorm(c.Width, c.Eps), Config: c,
	}
	for range c.Layers {
		d.Blocks = append(d.Blocks, nn.NewBlock(c.Width, c.MLPWidth, c.Heads, c.Activation, c.Eps))
	}
	return d, nil
}

// Init draws the weights as GPT-2 does (Radford et al. 2019, §2.3): normal with
// standard deviation 0.02, the last layer of each residual branch divided by
// the root of their number; zero biases.
func (d *Decoder) Init(seed int64) {
	torch.ManualSeed(seed)
	torch.Scope(func() {
		torch.NoGrad(func() {
			const std = 0.02
			residual := std / math.Sqrt(2*float64(len(d.Blocks)))
			normal(d.Prefix.Tokens.Weight, std)
			normal(d.Prefix.Feature.Weight, std)
			normal(d.Prefix.Position.Weight, std)
			normal(d.Token.Weight, std)
			normal(d.Position.Weight, std)
			for _, b := range d.Blocks {
				for _, l := range []*nn.Linear{b.Attn.Query, b.Attn.Key, b.Attn.Value, b.MLP.FC1} {
					normal(l.Weight, std)
				}
				normal(b.Attn.Out.Weight, residual)
				normal(b.MLP.FC2.Weight, residual)
			}
		})
	})
}

// InitFromText overwrites the token table and the blocks with those of a CLIP's
// text tower, which knows the words already; its sizes must be the decoder's.
func (d *Decoder) InitFromText(m *clip.Model) error {
	c, t := d.Config, m.Config.Text
	if t.Width != c.Width || t.Heads != c.Heads || t.MLPWidth != c.MLPWidth || t.Activation != c.Activation || t.VocabSize != c.VocabSize {
		return fmt.Errorf("captioner: width %d, heads %d, MLP %d, %s and vocabulary %d are not the text tower's %d, %d, %d, %s and %d, which it is to start from",
			c.Width, c.Heads, c.MLPWidth, c.Activation, c.VocabSize, t.Width, t.Heads, t.MLPWidth, t.Activation, t.VocabSize)
	}
	if t.LayerScale > 0 { // the decoder's blocks have none
		return errors.New("captioner: a text tower with LayerScale (ls_init_value) is not supported to start from; start from random weights")
	}
	copyAll := func(to, from any) {
		source := nn.Params(from)
		for i, p := range nn.Params(to) {
			p.Tensor.Copy_(source[i].Tensor)
		}
	}
	torch.Scope(func() {
		torch.NoGrad(func() {
			copyAll(d.Token, m.Text.Embeddings.Token)
			for i := range min(len(d.Blocks), len(m.Text.Blocks)) {
				copyAll(d.Blocks[i], m.Text.Blocks[i])
			}
		})
	})
	return nil
}

func normal(t *torch.Tensor, std float64) {
	t.Copy_(torch.Randn(t.Device(), t.Shape()...).Scale_(std))
}

// device is where the weights are.
func (d *Decoder) device() torch.Device { return d.Token.Weight.Device() }

// EncodePrefix maps an image batch's map [B, tokens, tokenWidth] and feature
// [B, featureWidth] to the prefix [B, 1+tokens, width].
func (d *Decoder) EncodePrefix(v Vision) *torch.Tensor {
	p := d.Prefix
	feature := p.Feature.Forward(p.FeatureNorm.Forward(v.Feature)).Unsqueeze(1)
	tokens := p.Tokens.Forward(p.TokenNorm.Forward(v.Tokens))
	return torch.Cat(1, feature, tokens).Add(p.Position.Weight)
}

// Embed maps token ids [B, T] (int64), which stand at positions from start on,
// to [B, T, width].
func (d *Decoder) Embed(ids *torch.Tensor, start int) *torch.Tensor {
	return d.Token.Forward(ids).Add(d.Position.Weight.Narrow(0, start, ids.Dim(1)))
}

// Forward maps a prefix [B, P, width] and embedded texts [B, T, width] to the
// texts' last hidden states [B, T, width]. See Logits.
func (d *Decoder) Forward(prefix, texts *torch.Tensor) *torch.Tensor {
	p, t := prefix.Dim(1), texts.Dim(1)
	x := torch.Cat(1, prefix, texts)
	mask := prefixMask(d.device(), p, t)
	for _, b := range d.Blocks {
		x = b.Forward(x, mask)
	}
	return d.FinalNorm.Forward(x.Narrow(1, p, t))
}

// Logits maps hidden states [..., width] to scores of the next token
// [..., vocabulary].
func (d *Decoder) Logits(hidden *torch.Tensor) *torch.Tensor {
	return torch.Linear(hidden, d.Token.Weight, nil)
}

// prefixMask is additive, [p+t, p+t]: all see the p prefix positions, the t
// positions after them are causal.
func prefixMask(d torch.Device, p, t int) *torch.Tensor {
	n := p + t
	mask := make([]float32, n*n)
	for i := range n {
		for j := max(i+1, p); j < n; j++ {
			mask[i*n+j] = -1e4 // as nn.CausalMask
		}
	}
	return torch.From(d, mask, n, n)
}
