package torch

// #include "bridge.h"
import "C"

import (
	"math"
	"runtime"
)

// AdamW is Adam with decoupled weight decay (Loshchilov & Hutter 2019,
// algorithm 2, as torch.optim.AdamW). The weights are updated in place; the
// state is in their type, which should be float32.
type AdamW struct {
	Beta1, Beta2, Eps float64
	Groups            []ParamGroup
	Steps             int // updates done so far
}

// ParamGroup is a set of weights with one decay.
type ParamGroup struct {
	Params      []*Tensor
	WeightDecay float64
	M, V        []*Tensor // first and second moments, made by the first Step
}

// Step updates every weight that has a gradient, multiplied by gradScale, and
// drops the gradients.
func (o *AdamW) Step(lr, gradScale float64) {
	o.Steps++
	correction1 := 1 - math.Pow(o.Beta1, float64(o.Steps))
	correction2 := math.Sqrt(1 - math.Pow(o.Beta2, float64(o.Steps)))
	Scope(func() {
		NoGrad(func() {
			for i := range o.Groups {
				o.Groups[i].step(o, lr, gradScale, correction1, correction2)
			}
		})
	})
}

func (g *ParamGroup) step(o *AdamW, lr, gradScale, correction1, correction2 float64) {
	g.MakeState()
	var params, grads, m, v []*Tensor
	for i, p := range g.Params {
		if grad := p.Grad(); grad != nil {
			params, grads, m, v = append(params, p), append(grads, grad), append(m, g.M[i]), append(v, g.V[i])
		}
	}
	if len(params) == 0 {
		return
	}
	defer func() {
		for _, p := range params {
			p.SetGrad(nil)
		}
	}()
	if !params[0].Device().IsCUDA() {
		keep := 1 - lr*g.WeightDecay
		adamw(params, grads, m, v, [7]C.double{C.double(keep), C.double(gradScale), C.double(o.Beta1), C.double(o.Beta2),
			C.double(o.Eps), C.double(lr / correction1), C.double(1 / correction2)})
		return
	}
	if gradScale != 1 {
		Call("aten::_foreach_mul_.Scalar", grads, gradScale)
	}
	if g.WeightDecay != 0 {
		Call("aten::_foreach_mul_.Scalar", params, 1-lr*g.WeightDecay)
	}
	Call("aten::_foreach_mul_.Scalar", m, o.Beta1)
	Call("aten::_foreach_add_.List", m, grads, 1-o.Beta1)
	Call("aten::_foreach_mul_.Scalar", v, o.Beta2)
	Call("aten::_foreach_addcmul_.Scalar", v, grads, grads, 1-o.Beta2)
	denominator := Call("aten::_foreach_sqrt", v)[0].([]*Tensor)
	Call("aten::_foreach_div_.Scalar", denominator, correction2)
	Call("aten::_foreach_add_.Scalar", denominator, o.Eps)
	Call("aten::_foreach_addcdiv_.Scalar", params, m, denominator, -lr/correction1)
}

// adamw is the whole update in one pass over the weights, on the CPU, where the
// foreach operators pass ten times.
func adamw(params, grads, m, v []*Tensor, rates [7]C.double) {
	handles := make([]C.int64_t, 0, 4*len(params))
	for i := range params {
		handles = append(handles, params[i].use("adamw"), grads[i].use("adamw"), m[i].use("adamw"), v[i].use("adamw"))
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	failed := C.arf_adamw(api(), &handles[0], C.int64_t(len(params)), &rates[0])
	runtime.KeepAlive([][]*Tensor{params, grads, m, v})
	check("adamw", failed)
}

// MakeState makes the moments, zeros, where there are none.
func (g *ParamGroup) MakeState() {
	if g.M != nil {
		return
	}
	for _, p := range g.Params {
		g.M = append(g.M, p.Detach().ZerosLike().Keep())
		g.V = append(g.V, p.Detach().ZerosLike().Keep())
	}
}

// GradNorm is the Euclidean norm of all gradients together.
func GradNorm(params []*Tensor) float64 {
	norm := 0.0
	Scope(func() {
		NoGrad(func() {
			var grads []*Tensor
			for _, p := range params {
				if g := p.Grad(); g != nil {
					grads = append(grads, g)
				}
			}
			if len(grads) > 0 {
				norms := Call("aten::_foreach_norm.Scalar", grads, 2)[0].([]*Tensor)
				norm = Stack(0, norms...).Norm(0, false).Item()
			}
		})
	})
	return norm
}

// ClipScale is the factor that brings a gradient of this norm down to max;
// 1 where it is below, or max is 0.
func ClipScale(norm, max float64) float64 {
	if max <= 0 || norm <= max {
		return 1
	}
	return max / (norm + 1e-6)
}
