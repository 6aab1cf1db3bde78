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

// decoderState is a decoding of the small decoder.
type decoderState struct {
	d      *Decoder
	cache  *cache
	hidden *torch.Tensor // [R, width], of the last token
	length int           // tokens of each row
}

// begin decodes the prefixes and the start.
func (m *Model) begin(pixels []uint8, images int, start []int64) decoding {
	d, device, n := m.Decoder, m.Decoder.device(), len(start)
	s := &decoderState{d: d, cache: newCache(len(d.Blocks)), length: n}
	prefix := d.EncodePrefix(look(m.CLIP, m.CLIP.Pixels(pixels, images)))
	texts := d.Embed(torch.From(device, start, 1, n).Expand(images, n), 0)
	p := prefix.Dim(1)
	s.hidden = d.extend(s.cache, torch.Cat(1, prefix, texts), prefixMask(device, p, n)).Select(1, p+n-1).Contiguous().Keep()
	return s
}

func (s *decoderState) logits() *torch.Tensor { return s.d.Logits(s.hidden) }

func (s *decoderState) keep(rows []int64) {
	index := torch.From(s.d.device(), rows, len(rows))
	s.cache.rows(index)
	replace(&s.hidden, s.hidden.IndexSelect(0, index))
}

func (s *decoderState) extend(tokens []int64) {
	x := s.d.Embed(torch.From(s.d.device(), tokens, len(tokens), 1), s.length)
	replace(&s.hidden, s.d.extend(s.cache, x, nil).Select(1, 0))
	s.length++
}

func (s *decoderState) free() {
	s.cache.free()
	s.hidden.Free()
}

// heads turns [R, T, width] into [R, heads, T, width/heads].
func heads(a *nn.Attention, x *torch.Tensor) *torch.Tensor {
	s := x.Shape()
	return x.Reshape(s[0], s[1], a.Heads, s[2]/a.Heads).Transpose(1, 2)
}
