package captioner

import (
	"fmt"

	"arf/torch"
)

// targets are texts laid out for the decoder: what goes in, padded, and what
// is to come out at the places that count.
type targets struct {
	input *torch.Tensor // [B, T] int64: bos and the tokens
	place *torch.Tensor // [M] int64: places b·T+t of input that are no padding
	next  *torch.Tensor // [M] int64: the token or eos that follows each
	row   []int         // b of each place
}

// targets lays out ids, rows bos … eos of 2 to ContextLength.
func (d *Decoder) targets(ids [][]int32) targets {
	length := 0
	for i, row := range ids {
		if len(row) < 2 || len(row) > d.Config.ContextLength {
			panic(&torch.Error{Op: "caption", Message: fmt.Sprintf("text %d has %d tokens, the captioner takes 2 to %d", i, len(row), d.Config.ContextLength)})
		}
		length = max(length, len(row)-1)
	}
	input := make([]int64, len(ids)*length) // padding is token 0: nothing sees it
	var place, next []int64
	var rows []int
	for b, row := range ids {
		for t := range len(row) - 1 {
			at := b*length + t
			input[at] = int64(row[t])
			place, next, rows = append(place, int64(at)), append(next, int64(row[t+1])), append(rows, b)
		}
	}
	device := d.device()
	return targets{
		input: torch.From(device, input, len(ids), length),
		place: torch.From(device, place, len(place)), next: torch.From(device, next, len(next)), row: rows,
	}
}

// hiddenAt gives the hidden states [M, width] at the places that count. Only
// for them the scores of the vocabulary, the largest product, are computed.
// regularize, if any, is applied to the prefix and to the embedded texts.
func (d *Decoder) hiddenAt(v Vision, t targets, regularize func(*torch.Tensor) *torch.Tensor) *torch.Tensor {
	prefix, texts := d.EncodePrefix(v), d.Embed(t.input, 0)
	if regularize != nil {
		prefix, texts = regularize(prefix), regularize(texts)
	}
	hidden := d.Forward(prefix, texts)
	return hidden.Reshape(-1, d.Config.Width).IndexSelect(0, t.place)
}

// crossEntropy is the mean over places of −log p(next), with labels smoothed
// by smoothing (Szegedy et al. 2016, §7). In float32.
func crossEntropy(logits, next *torch.Tensor, smoothing float64) *torch.Tensor {
	const mean, ignore = 1, -100
	return torch.Call("aten::cross_entropy_loss", logits.Cast(torch.Float32), next, nil, mean, ignore, smoothing)[0].(*torch.Tensor)
}
