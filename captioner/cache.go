package captioner

import (
	"arf/nn"
	"arf/torch"
)

// cache holds the keys and values of the positions that were decoded, a pair a
// block, each [R, heads, positions, width/heads]. Its tensors are outside of
// scopes; free them.
type cache struct {
	keys, values []*torch.Tensor
	positions    int
}

func newCache(layers int) *cache {
	return &cache{keys: make([]*torch.Tensor, layers), values: make([]*torch.Tensor, layers)}
}

func replace(at **torch.Tensor, with *torch.Tensor) {
	old := *at
	*at = with.Keep()
	if old != with {
		old.Free()
	}
}

func (c *cache) free() {
	for i := range c.keys {
		c.keys[i].Free()
		c.values[i].Free()
	}
}

// rows keeps the given rows (int64), which may repeat.
func (c *cache) rows(index *torch.Tensor) {
	for i := range c.keys {
		replace(&c.keys[i], c.keys[i].IndexSelect(0, index))
		replace(&c.values[i], c.values[i].IndexSelect(0, index))
	}
}

// extend decodes x [R, T, width], the positions that follow the cached ones,
// and adds them to the cache. mask is as for nn.Attention, over the cached
// positions and x's; nil lets x see all of them. The result is the last hidden
// states [R, T, width].
func (d *Decoder) extend(c *cache, x, mask *torch.Tensor) *torch.Tensor {
	for i, b := range d.Blocks {
		h := b.LN1.Forward(x)
		key, value := heads(b.Attn, b.Attn.Key.Forward(h)), heads(b.Attn, b.Attn.Value.Forward(h))
		if c.positions > 0 {
			key, value = torch.Cat(2, c.keys[i], key), torch.Cat(2, c.values[i], value)
		}
		replace(&c.keys[i], key)
		replace(&c.values[i], value)
		out := torch.Attention(heads(b.Attn, b.Attn.Query.Forward(h)), key, value, mask)
		x = x.Add(b.Attn.Out.Forward(out.Transpose(1, 2).Flatten(2, 3)))
		x = x.Add(b.MLP.Forward(b.LN2.Forward(x)))
	}
	c.positions += x.Dim(1)
	return d.FinalNorm.Forward(x)
}

// heads turns [R, T, width] into [R, heads, T, width/heads].
func heads(a *nn.Attention, x *torch.Tensor) *torch.Tensor {
	s := x.Shape()
	return x.Reshape(s[0], s[1], a.Heads, s[2]/a.Heads).Transpose(1, 2)
}
