// Package torch is a thin Go face of libtorch: tensors, autograd, mixed
// precision. It is private to this project.
//
// The engine, build/libarf_torch.so, is made by `make engine` and loaded at run
// time, so that the Go program itself links no libtorch. Operators are called
// by their schema names through libtorch's dispatcher (see Call); the methods
// of Tensor give the ones that this project uses a Go signature.
//
// Errors of the engine are panics of type *Error; Catch turns them into an
// error at a package's boundary. Tensors made inside Scope are freed when it
// ends; see Scope.
package torch

// #cgo CFLAGS: -I${SRCDIR}/shim
// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"arf/internal/sharedlib"
)

// libraryName is the engine's file, as `make engine` builds it.
const libraryName = "libarf_torch.so"

var engine struct {
	once sync.Once
	api  *C.arf_torch_api
	path string
	err  error
}

// Load finds and loads the engine. The first call does the work, later ones
// return its result. Every function of this package calls it; a program calls
// it early to report a missing engine as an error rather than a panic.
func Load() error {
	engine.once.Do(func() {
		engine.path, engine.err = sharedlib.Find(libraryName, "ARF_ENGINE")
		if errors.Is(engine.err, fs.ErrNotExist) {
			engine.err = fmt.Errorf("the engine isn't there (%w); build it with `make engine`, or name it in ARF_ENGINE", engine.err)
		}
		if engine.err != nil {
			return
		}
		path := C.CString(engine.path)
		defer C.free(unsafe.Pointer(path))
		var message *C.char
		loaded := C.arf_open(path, &message)
		if loaded == nil {
			defer C.free(unsafe.Pointer(message))
			engine.err = fmt.Errorf("load engine %s: %s; rebuild it with `make engine`", engine.path, C.GoString(message))
			return
		}
		if loaded.abi != C.ARF_TORCH_ABI {
			engine.err = fmt.Errorf("engine %s has ABI %d, this program needs %d; rebuild it with `make engine`",
				engine.path, loaded.abi, C.ARF_TORCH_ABI)
			return
		}
		engine.api = loaded
		// libtorch may come up with one thread whatever the machine has.
		C.arf_set_threads(engine.api, C.int64_t(runtime.NumCPU()))
	})
	return engine.err
}

// api returns the loaded engine's table, or panics with the reason it can't.
func api() *C.arf_torch_api {
	if err := Load(); err != nil {
		panic(&Error{Op: "load", Message: err.Error()})
	}
	return engine.api
}

// Version is libtorch's version, such as "1.13.1".
func Version() string { return C.GoString(api().torch_version) }

// LibraryPath is the file that the engine was loaded from.
func LibraryPath() string { api(); return engine.path }

// Error is an exception of libtorch. It is raised as a panic; see Catch.
type Error struct {
	Op      string // operator or function, such as "aten::linear"
	Message string
}

func (e *Error) Error() string {
	if e.OutOfMemory() {
		return e.Op + ": out of memory; lower the batch size, or end other programs (" + e.Message + ")"
	}
	return e.Op + ": " + e.Message
}

// OutOfMemory tells whether the machine or the GPU had no memory left.
func (e *Error) OutOfMemory() bool {
	for _, text := range []string{"bad_alloc", "can't allocate memory", "CUDA out of memory"} {
		if strings.Contains(e.Message, text) {
			return true
		}
	}
	return false
}

// Catch, deferred, turns a panic of type *Error into *err. Other panics go on.
//
//	func (m *Model) Run() (err error) {
//		defer torch.Catch(&err)
func Catch(err *error) {
	switch r := recover().(type) {
	case nil:
	case *Error:
		*err = r
	default:
		panic(r)
	}
}

// check panics with the engine's last error text when failed is not 0. The
// text is per thread: callers hold the thread from the call to here, which cgo
// does not promise, so both run locked.
func check(op string, failed C.int) {
	if failed != 0 {
		panic(&Error{Op: op, Message: C.GoString(C.arf_last_error(engine.api))})
	}
}
