package torch

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"
)

// DType is an element type, numbered as libtorch's ScalarType.
type DType int64

const (
	Uint8    DType = 0
	Int32    DType = 3
	Int64    DType = 4
	Float16  DType = 5
	Float32  DType = 6
	Float64  DType = 7
	Bool     DType = 11
	BFloat16 DType = 15
)

func (d DType) String() string {
	switch d {
	case Uint8:
		return "uint8"
	case Int32:
		return "int32"
	case Int64:
		return "int64"
	case Float16:
		return "float16"
	case Float32:
		return "float32"
	case Float64:
		return "float64"
	case Bool:
		return "bool"
	case BFloat16:
		return "bfloat16"
	}
	return fmt.Sprintf("dtype(%d)", int64(d))
}

// Size is the bytes of one element.
func (d DType) Size() int {
	switch d {
	case Uint8, Bool:
		return 1
	case Float16, BFloat16:
		return 2
	case Int32, Float32:
		return 4
	}
	return 8
}

// Tensor is a handle of a libtorch tensor. Methods return new tensors; those
// whose names end in "_" change their receiver, as in libtorch.
type Tensor struct {
	handle  C.int64_t
	scope   *scope
	cleanup runtime.Cleanup
}

func newTensor(handle int64, s *scope) *Tensor {
	if handle == 0 {
		return nil
	}
	live.Add(1)
	t := &Tensor{handle: C.int64_t(handle), scope: s}
	if s != nil {
		s.tensors = append(s.tensors, t)
	} else {
		t.collect()
	}
	return t
}

func (t *Tensor) use(op string) C.int64_t {
	if t == nil {
		panic(&Error{Op: op, Message: "a tensor argument is nil"})
	}
	if t.handle == 0 {
		panic(&Error{Op: op, Message: "a tensor is used after it was freed: Keep it, or use it inside its Scope"})
	}
	return t.handle
}

// Elements is the number of elements of a shape.
func Elements(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// element is what a host slice can hold; see dtypeOf.
type element interface {
	~uint8 | ~int32 | ~int64 | ~float32 | ~float64
}

func dtypeOf[T element]() DType {
	var zero T
	switch any(zero).(type) {
	case uint8:
		return Uint8
	case int32:
		return Int32
	case int64:
		return Int64
	case float32:
		return Float32
	}
	return Float64
}

// From copies a host slice into a new tensor of the given shape on device d.
func From[T element](d Device, data []T, shape ...int) *Tensor {
	if len(data) != Elements(shape) {
		panic(&Error{Op: "from", Message: fmt.Sprintf("%d elements do not make the shape %v", len(data), shape)})
	}
	var p unsafe.Pointer
	if len(data) > 0 {
		p = unsafe.Pointer(&data[0])
	}
	return fromPointer(d, p, dtypeOf[T](), shape)
}

// FromBytes copies raw little-endian elements of type dtype into a new tensor.
func FromBytes(d Device, data []byte, dtype DType, shape ...int) *Tensor {
	if len(data) != Elements(shape)*dtype.Size() {
		panic(&Error{Op: "from", Message: fmt.Sprintf("%d bytes do not make %v of %v", len(data), shape, dtype)})
	}
	var p unsafe.Pointer
	if len(data) > 0 {
		p = unsafe.Pointer(&data[0])
	}
	return fromPointer(d, p, dtype, shape)
}

func fromPointer(d Device, data unsafe.Pointer, dtype DType, shape []int) *Tensor {
	a := api()
	dims := make([]C.int64_t, len(shape)+1)
	for i, n := range shape {
		dims[i] = C.int64_t(n)
	}
	device := C.CString(d.String())
	defer C.free(unsafe.Pointer(device))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var h C.int64_t
	check("from", C.arf_from_data(a, data, C.int64_t(dtype), &dims[0], C.int64_t(len(shape)), device, &h))
	return newTensor(int64(h), currentScope())
}

// To copies t to a host slice; T must be the tensor's element type.
func To[T element](t *Tensor) []T {
	if want := dtypeOf[T](); t.DType() != want {
		panic(&Error{Op: "to", Message: fmt.Sprintf("tensor of %v read as %v", t.DType(), want)})
	}
	data := make([]T, Elements(t.Shape()))
	if len(data) > 0 {
		t.copyTo(unsafe.Pointer(&data[0]), len(data)*int(unsafe.Sizeof(data[0])))
	}
	return data
}

// Bytes copies t's raw elements to the host, little-endian and contiguous.
func (t *Tensor) Bytes() []byte {
	data := make([]byte, Elements(t.Shape())*t.DType().Size())
	if len(data) > 0 {
		t.copyTo(unsafe.Pointer(&data[0]), len(data))
	}
	return data
}

func (t *Tensor) copyTo(p unsafe.Pointer, bytes int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	failed := C.arf_to_data(api(), t.use("to"), p, C.int64_t(bytes))
	runtime.KeepAlive(t)
	check("to", failed)
}

// Item is the value of a tensor of one element.
func (t *Tensor) Item() float64 {
	return To[float64](t.Cast(Float64))[0]
}

func (t *Tensor) info() [24]C.int64_t {
	var out [24]C.int64_t
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	failed := C.arf_info(api(), t.use("info"), &out[0], C.int64_t(len(out)))
	runtime.KeepAlive(t)
	check("info", failed)
	return out
}

// Shape gives the sizes of t's dimensions.
func (t *Tensor) Shape() []int {
	info := t.info()
	shape := make([]int, info[5])
	for i := range shape {
		shape[i] = int(info[6+i])
	}
	return shape
}

// Dim is the size of dimension i; a negative i counts from the end.
func (t *Tensor) Dim(i int) int {
	info := t.info()
	if i < 0 {
		i += int(info[5])
	}
	return int(info[6+i])
}

// DType is t's element type.
func (t *Tensor) DType() DType { return DType(t.info()[0]) }

// Device is where t lives.
func (t *Tensor) Device() Device {
	info := t.info()
	if info[3] == 0 {
		return CPU
	}
	return CUDA(int(info[4]))
}
