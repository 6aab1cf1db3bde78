package nn

import "arf/torch"

// Chain sends x through layers, one after the other. What a layer makes on the
// way is freed when it's done, and its output when the next layer is, except
// what the gradient needs. So a forward pass without gradient holds the tensors
// of one layer, not of all. c is nil or has it keep less for the gradient.
func Chain[L any](c *Checkpoints, x *torch.Tensor, layers []L, forward func(layer L, x *torch.Tensor) *torch.Tensor) *torch.Tensor {
	if c != nil && len(layers) > 0 {
		return checkpointed(c, x, layers, forward)
	}
	for i, layer := range layers {
		y := torch.Tidy(func() *torch.Tensor { return forward(layer, x) })
		if i > 0 && y != x {
			x.Free()
		}
		x = y
	}
	return x
}
