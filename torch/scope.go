package torch

// #include "bridge.h"
import "C"

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// scope lists the tensors made on one thread since the scope began.
type scope struct {
	id      int64
	outer   int64 // id of the scope around; 0 = none
	tensors []*Tensor
}

var scopes struct {
	sync.Map // id → *scope
	last     atomic.Int64
}

// Scope runs fn and then frees every tensor made by it on this goroutine,
// except those that Keep was called on. Go's collector can't see the size of
// tensors, so loops must run in scopes. Scopes nest; a tensor belongs to the
// innermost. Using a freed tensor panics with a clear message.
//
// fn is locked to its OS thread, since libtorch keeps gradient and autocast
// modes per thread.
func Scope(fn func()) {
	a := api()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := &scope{id: scopes.last.Add(1)}
	scopes.Store(s.id, s)
	s.outer = int64(C.arf_scope(a, C.int64_t(s.id)))
	defer func() {
		C.arf_scope(a, C.int64_t(s.outer))
		scopes.Delete(s.id)
		s.free()
	}()
	fn()
}

// Tidy runs fn in a scope of its own and hands its result to the scope around:
// what fn made on the way is freed at once, not at the end of a whole step. What
// Backward needs stays. Layers run in it, so that a forward pass without
// gradient holds one layer's intermediate tensors, and a training step only
// those that its gradient is made of.
func Tidy(fn func() *Tensor) *Tensor {
	var result *Tensor
	Scope(func() {
		result = fn()
		inner := currentScope()
		if result.scope != inner {
			return // made outside, such as fn's input
		}
		if s, ok := scopes.Load(inner.outer); ok {
			result.scope = s.(*scope)
			result.scope.tensors = append(result.scope.tensors, result)
		} else {
			result.Keep()
		}
	})
	return result
}

func (s *scope) free() {
	handles := make([]C.int64_t, 0, len(s.tensors))
	for _, t := range s.tensors {
		if t.handle != 0 && t.scope == s {
			handles = append(handles, t.handle)
			t.handle = 0
		}
	}
	if len(handles) > 0 {
		live.Add(int64(-len(handles)))
		C.arf_free(engine.api, &handles[0], C.int64_t(len(handles)))
	}
}

// Keep takes t out of its scope: it lives until Free, or until Go's collector
// finds it unreachable. It returns t.
func (t *Tensor) Keep() *Tensor {
	if t != nil && t.scope != nil {
		t.scope = nil
		t.collect()
	}
	return t
}

// Free releases t now. It may be called twice.
func (t *Tensor) Free() {
	if t == nil || t.handle == 0 {
		return
	}
	t.cleanup.Stop()
	h := t.handle
	t.handle = 0
	live.Add(-1)
	C.arf_free(engine.api, &h, 1)
}

// collect has the collector free t, the net under tensors outside scopes.
func (t *Tensor) collect() {
	t.cleanup = runtime.AddCleanup(t, func(h C.int64_t) {
		live.Add(-1)
		C.arf_free(engine.api, &h, 1)
	}, t.handle)
}

var live atomic.Int64

// Live counts the tensor handles that are not freed yet, for leak tests.
func Live() int64 { return live.Load() }
