package nn

import (
	"slices"

	"arf/torch"
)

// Checkpoints is activation checkpointing (Chen et al. 2016, arXiv 1604.06174):
// a Chain keeps what its layers are given, and what they make on the way is
// computed again in the backward pass. The gradient stays the same, at the cost
// of a second forward pass.
type Checkpoints struct {
	// Forward runs layers again, in the modes of the first time (Autocast).
	Forward func(layers func())

	chains []chain
}

// chain is what layers were given, and how to run one again.
type chain struct {
	x, end *torch.Tensor
	inputs []*torch.Tensor
	layer  func(i int, x *torch.Tensor) *torch.Tensor
}

// Backward takes the gradient through the chains since the last call, after the
// loss's Backward has brought it to their ends. Of nil it does nothing.
func (c *Checkpoints) Backward() {
	if c == nil {
		return
	}
	chains := c.chains
	c.chains = nil
	for _, chain := range slices.Backward(chains) {
		c.backward(chain)
	}
}

// Again runs all layers of the chains since the last call, instead of Backward,
// and calls f while what a layer's backward pass needs is there.
func (c *Checkpoints) Again(f func()) {
	chains := c.chains
	c.chains = nil
	for _, chain := range chains {
		for i := range chain.inputs {
			torch.Scope(func() {
				_, y := c.again(chain, i, true)
				torch.Zeros(y.Device(), y.DType(), y.Shape()...) // its gradient
				f()
			})
		}
	}
}

// checkpointed is Chain whose end is a leaf; Backward goes on from there.
func checkpointed[L any](c *Checkpoints, x *torch.Tensor, layers []L, forward func(layer L, x *torch.Tensor) *torch.Tensor) *torch.Tensor {
	var inputs []*torch.Tensor
	end := x.Detach()
	torch.NoGrad(func() {
		for _, layer := range layers {
			inputs = append(inputs, end)
			end = torch.Tidy(func() *torch.Tensor { return forward(layer, end) })
		}
	})
	end.SetRequiresGrad(true)
	c.chains = append(c.chains, chain{x, end, inputs, func(i int, x *torch.Tensor) *torch.Tensor { return forward(layers[i], x) }})
	return end
}

func (c *Checkpoints) backward(chain chain) {
	gradient := chain.end.Grad()
	if gradient == nil {
		return // the loss doesn't depend on it
	}
	for i, input := range slices.Backward(chain.inputs) {
		wanted := i > 0 || chain.x.RequiresGrad()
		var next *torch.Tensor
		torch.Scope(func() {
			x, y := c.again(chain, i, wanted)
			if y.RequiresGrad() {
				y.BackwardFrom(gradient)
			}
			if wanted {
				next = x.Grad().Keep()
			}
		})
		gradient.Free()
		input.Free()
		gradient = next
	}
	if gradient != nil {
		chain.x.BackwardFrom(gradient)
		gradient.Free()
	}
}

// again runs a layer on its input; wanted says whether the gradient goes on to x.
func (c *Checkpoints) again(chain chain, i int, wanted bool) (x, y *torch.Tensor) {
	x = chain.inputs[i].Detach().SetRequiresGrad(wanted)
	c.Forward(func() { y = torch.Tidy(func() *torch.Tensor { return chain.layer(i, x) }) })
	return x, y
}
