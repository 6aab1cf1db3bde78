package captioner

import (
	"slices"

	"arf/nn"
	"arf/torch"
)

// blipState is a decoding of BLIP. Keys and values of the text are cached a row,
// those of the picture an image, as they are large: its rows look at it together.
type blipState struct {
	m      *BLIP
	text   *cache
	keys   []*torch.Tensor // of the picture, by layer: [images, heads, tokens, width/heads]
	values []*torch.Tensor
	image  []int         // of each row, in keys
	hidden *torch.Tensor // [R, width], of the last token
}

func (m *BLIP) begin(pixels []uint8, images int, start []int64) decoding {
	s := &blipState{m: m, text: newCache(len(m.Text.Layers))}
	d := m.device()
	torch.Autocast(d, m.Precision, func() {
		picture := m.Vision.forward(m.pixels(pixels, images))
		for _, l := range m.Text.Layers {
			s.keys = append(s.keys, l.Cross.split(l.Cross.Key.Forward(picture)).Contiguous().Keep())
			s.values = append(s.values, l.Cross.split(l.Cross.Value.Forward(picture)).Contiguous().Keep())
		}
		for i := range images {
			s.image = append(s.image, i)
		}
		n := len(start)
		ids := torch.From(d, start, 1, n).Expand(images, n)
		s.hidden = s.forward(ids, nn.CausalMask(d, n)).Select(1, n-1).Contiguous().Keep()
	})
	return s
}

// forward decodes ids [R, T], which follow the cached tokens, and adds them to
// the cache; mask is over the cached tokens and these. The result is [R, T, width].
func (s *blipState) forward(ids, mask *torch.Tensor) *torch.Tensor {
	x := s.m.Text.embed(ids, s.text.positions)
	for i, l := range s.m.Text.Layers {
		a := l.Self
		key, value := a.split(a.Key.Forward(x)), a.split(a.Value.Forward(x))
		if s.text.positions > 0 {
			key, value = torch.Cat(2, s.text.keys[i], key), torch.Cat(2, s.text.values[i], value)
		}
		replace(&s.text.keys[i], key)
		replace(&s.text.values[i], value)
		x = a.close(x, a.attend(a.Query.Forward(x), key, value, mask))
		x = l.Cross.close(x, s.look(i, l.Cross.Query.Forward(x)))
		x = l.feed(x, s.m.Text.activation)
	}
	s.text.positions += ids.Dim(1)
	return x
}

// look mixes what queries [R, T, width] see in their pictures, [R, T, width]. As
// nothing of a picture is hidden, an image's rows are one longer query.
func (s *blipState) look(layer int, query *torch.Tensor) *torch.Tensor {
	a := s.m.Text.Layers[layer].Cross
	images, rows, t, width := s.keys[layer].Dim(0), query.Dim(0), query.Dim(1), query.Dim(2)
	most := 0
	counts := make([]int, images)
	place := make([]int64, rows) // of each row, where images have room for the most
	for _, i := range s.image {
		counts[i]++
		most = max(most, counts[i])
	}
	clear(counts)
	row := make([]int64, images*most) // what is there; where there is none, row 0
	for r, i := range s.image {
		at := i*most + counts[i]
		counts[i]++
		place[r], row[at] = int64(at), int64(r)
	}
	full := rows == images*most
	if !full {
		query = query.IndexSelect(0, torch.From(s.m.device(), row, len(row)))
	}
	out := a.attend(query.Reshape(images, most*t, width), s.keys[layer], s.values[layer], nil).Reshape(images*most, t, width)
	if !full {
		out = out.IndexSelect(0, torch.From(s.m.device(), place, rows))
	}
	return out
}

func (s *blipState) logits() (logits *torch.Tensor) {
	torch.Autocast(s.m.device(), s.m.Precision, func() { logits = s.m.Text.logits(s.hidden) })
	return logits.Cast(torch.Float32)
}

func (s *blipState) keep(rows []int64) {
	index := torch.From(s.m.device(), rows, len(rows))
	s.text.rows(index)
	replace(&s.hidden, s.hidden.IndexSelect(0, index))
	image := make([]int, len(rows))
	for r, from := range rows {
		image[r] = s.image[from]
	}
	s.image = image
	s.forget()
}

// forget frees the pictures that no row looks at, once they're half of all.
func (s *blipState) forget() {
	var seen []int64
	for _, i := range s.image {
		if n := len(seen); n == 0 || seen[n-1] != int64(i) {
			seen = append(seen, int64(i))
		}
	}
	if 2*len(seen) > s.keys[0].Dim(0) {
		return
	}
	index := torch.From(s.m.device(), seen, len(seen))
	for l := range s.keys {
		replace(&s.keys[l], s.keys[l].IndexSelect(0, index))
		replace(&s.values[l], s.values[l].IndexSelect(0, index))
	}
	for r, i := range s.image {
		s.image[r], _ = slices.BinarySearch(seen, int64(i))
	}
}

func (s *blipState) extend(tokens []int64) {
	torch.Autocast(s.m.device(), s.m.Precision, func() {
		ids := torch.From(s.m.device(), tokens, len(tokens), 1)
		replace(&s.hidden, s.forward(ids, nil).Select(1, 0))
	})
}

func (s *blipState) free() {
	s.text.free()
	for l := range s.keys {
		s.keys[l].Free()
		s.values[l].Free()
	}
	s.hidden.Free()
}
