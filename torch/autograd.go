package torch

// #include "bridge.h"
import "C"

import "runtime"

// RequiresGrad tells whether gradients reach t.
func (t *Tensor) RequiresGrad() bool { return t.info()[2] != 0 }

// SetRequiresGrad makes a leaf tensor collect its gradient, or stop to. It returns t.
func (t *Tensor) SetRequiresGrad(on bool) *Tensor {
	flag := C.int(0)
	if on {
		flag = 1
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	failed := C.arf_set_requires_grad(api(), t.use("set_requires_grad"), flag)
	runtime.KeepAlive(t) // its cleanup may not run meanwhile; so below
	check("set_requires_grad", failed)
	return t
}

// Backward adds the gradient of t, a scalar, to the leaves that it depends on.
func (t *Tensor) Backward() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	failed := C.arf_backward(api(), t.use("backward"), 0)
	runtime.KeepAlive(t)
	check("backward", failed)
}

// BackwardFrom adds the gradient of t, given what it is of t (of its shape), to the
// leaves that it depends on.
func (t *Tensor) BackwardFrom(gradient *Tensor) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	failed := C.arf_backward(api(), t.use("backward"), gradient.use("backward"))
	runtime.KeepAlive(t)
	runtime.KeepAlive(gradient)
	check("backward", failed)
}

// Grad is a leaf's collected gradient, or nil.
func (t *Tensor) Grad() *Tensor {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var h C.int64_t
	failed := C.arf_grad(api(), t.use("grad"), &h)
	runtime.KeepAlive(t)
	check("grad", failed)
	return newTensor(int64(h), currentScope())
}

// SetGrad replaces a leaf's gradient; nil drops it.
func (t *Tensor) SetGrad(gradient *Tensor) {
	var g C.int64_t
	if gradient != nil {
		g = gradient.use("set_grad")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	failed := C.arf_set_grad(api(), t.use("set_grad"), g)
	runtime.KeepAlive(t)
	runtime.KeepAlive(gradient)
	check("set_grad", failed)
}

// GraphNodes counts the nodes of autograd's graph that were recorded on this
// thread so far; inside of Scope a goroutine stays on its thread. What runs
// without gradients leaves it as it is.
func GraphNodes() int64 { return int64(C.arf_graph_nodes(api())) }

// NoGrad runs fn without recording for Backward.
func NoGrad(fn func()) {
	a := api()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var previous, ignored C.int
	check("grad_mode", C.arf_grad_mode(a, 0, &previous))
	defer C.arf_grad_mode(a, previous, &ignored)
	fn()
}

// Autocast runs fn with matrix products and convolutions in dtype (BFloat16, or
// Float16 on CUDA) and the rest as libtorch's autocast decides. Weights stay as
// they are. Float32 switches nothing on. Call Backward outside.
func Autocast(d Device, dtype DType, fn func()) {
	if dtype == Float32 {
		fn()
		return
	}
	a := api()
	cuda := C.int(0)
	if d.IsCUDA() {
		cuda = 1
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var previous, ignored C.int
	check("autocast", C.arf_autocast(a, 1, cuda, C.int64_t(dtype), &previous))
	defer C.arf_autocast(a, previous, cuda, C.int64_t(dtype), &ignored)
	fn()
}
