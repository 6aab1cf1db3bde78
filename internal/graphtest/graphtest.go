// Package graphtest finds what autograd records where it shall not: in models
// and parts of models that are only looked at.
package graphtest

import (
	"testing"

	"arf/nn"
	"arf/torch"
)

// RecordsNothing fails the test if run records nodes of autograd's graph or
// leaves a gradient, though all weights of the models require one, as in the
// middle of their training. What run computes with them must be on its goroutine.
func RecordsNothing(t testing.TB, run func(), models ...any) {
	t.Helper()
	for _, m := range models {
		for _, p := range nn.Params(m) {
			if !p.Buffer {
				p.Tensor.SetRequiresGrad(true)
				defer p.Tensor.SetRequiresGrad(false)
			}
		}
	}
	if n := nodes(run); n > 0 {
		t.Errorf("autograd recorded %d nodes", n)
	}
	for _, m := range models {
		for _, p := range nn.Params(m) {
			if p.Tensor.Grad() != nil {
				t.Errorf("%s has a gradient", p.Name)
			}
		}
	}
	// The count counts.
	w := torch.From(torch.CPU, []float32{1}, 1).SetRequiresGrad(true)
	defer w.Free()
	if n := nodes(func() { w.Exp().Sum() }); n != 2 {
		t.Errorf("autograd recorded %d nodes of two operators", n)
	}
}

func nodes(run func()) (n int64) {
	torch.Scope(func() {
		before := torch.GraphNodes()
		run()
		n = torch.GraphNodes() - before
	})
	return n
}
