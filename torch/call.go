package torch

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"unsafe"
)

var operators sync.Map // "name.overload" → C.int64_t

func findOperator(name string) C.int64_t {
	if op, ok := operators.Load(name); ok {
		return op.(C.int64_t)
	}
	a := api()
	base, overload, _ := strings.Cut(name, ".")
	cbase, coverload := C.CString(base), C.CString(overload)
	defer C.free(unsafe.Pointer(cbase))
	defer C.free(unsafe.Pointer(coverload))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var op C.int64_t
	check(name, C.arf_op_find(a, cbase, coverload, &op))
	operators.Store(name, op)
	return op
}

// HasOperator tells whether this libtorch knows the operator, such as
// "aten::scaled_dot_product_attention" (2.0 and later).
func HasOperator(name string) bool {
	var err error
	func() {
		defer Catch(&err)
		findOperator(name)
	}()
	return err == nil
}

// stream encodes arguments as arf_torch.h says. Streams are reused.
type stream struct {
	words []int64
	out   [256]int64
}

var streams = sync.Pool{New: func() any { return &stream{words: make([]int64, 0, 256)} }}

func (s *stream) add(tag int64, payload ...int64) {
	s.words = append(append(s.words, tag), payload...)
}

func (s *stream) text(tag int64, v string) {
	s.add(tag, int64(len(v)))
	for len(v) > 0 {
		var word [8]byte
		v = v[copy(word[:], v):]
		s.words = append(s.words, *(*int64)(unsafe.Pointer(&word)))
	}
}

func (s *stream) value(op string, v any) {
	switch v := v.(type) {
	case nil:
		s.add(C.ARF_NONE)
	case *Tensor:
		if v == nil {
			s.add(C.ARF_NONE)
		} else {
			s.add(C.ARF_TENSOR, int64(v.use(op)))
		}
	case int:
		s.add(C.ARF_INT, int64(v))
	case int64:
		s.add(C.ARF_INT, v)
	case DType:
		s.add(C.ARF_INT, int64(v))
	case float64:
		s.add(C.ARF_DOUBLE, int64(math.Float64bits(v)))
	case bool:
		n := int64(0)
		if v {
			n = 1
		}
		s.add(C.ARF_BOOL, n)
	case []int:
		s.add(C.ARF_INT_LIST, int64(len(v)))
		for _, n := range v {
			s.words = append(s.words, int64(n))
		}
	case []int64:
		s.add(C.ARF_INT_LIST, int64(len(v)))
		s.words = append(s.words, v...)
	case []float64:
		s.add(C.ARF_DOUBLE_LIST, int64(len(v)))
		for _, x := range v {
			s.words = append(s.words, int64(math.Float64bits(x)))
		}
	case []*Tensor:
		s.add(C.ARF_TENSOR_LIST, int64(len(v)))
		for _, t := range v {
			s.words = append(s.words, int64(t.use(op)))
		}
	case OptionalTensors:
		s.add(C.ARF_OPTIONAL_TENSOR_LIST, int64(len(v)))
		for _, t := range v {
			h := int64(0)
			if t != nil {
				h = int64(t.use(op))
			}
			s.words = append(s.words, h)
		}
	case string:
		s.text(C.ARF_STRING, v)
	case Device:
		s.text(C.ARF_DEVICE, v.String())
	default:
		panic(&Error{Op: op, Message: fmt.Sprintf("arguments of type %T are not supported", v)})
	}
}

// OptionalTensors is an argument of schema type Tensor?[], as aten::index takes.
type OptionalTensors []*Tensor

// Call runs an operator of libtorch by its schema name ("aten::linear",
// "aten::add.Tensor") with arguments in schema order; left-out trailing ones
// take the schema's defaults. Arguments are *Tensor, int, float64, bool,
// string, DType, Device, []int, []int64, []float64, []*Tensor,
// OptionalTensors, or nil for None. Results are *Tensor, []*Tensor, int64, float64, bool or nil.
func Call(op string, args ...any) []any {
	handle := findOperator(op)
	s := streams.Get().(*stream)
	defer streams.Put(s)
	s.words = s.words[:0]
	for _, v := range args {
		s.value(op, v)
	}
	var argv *C.int64_t
	if len(s.words) > 0 {
		argv = (*C.int64_t)(unsafe.Pointer(&s.words[0]))
	}
	// A TensorList result needs a word a tensor.
	out := s.out[:]
	if need := len(s.words) + 16; need > len(out) {
		out = make([]int64, need)
	}
	var written C.int64_t
	runtime.LockOSThread()
	failed := C.arf_op_call(engine.api, handle, argv, C.int64_t(len(s.words)),
		(*C.int64_t)(unsafe.Pointer(&out[0])), C.int64_t(len(out)), &written)
	runtime.KeepAlive(args)
	defer runtime.UnlockOSThread()
	check(op, failed)
	return decode(out[:written])
}

// call1 is Call for operators with one tensor as their result.
func call1(op string, args ...any) *Tensor { return Call(op, args...)[0].(*Tensor) }

func decode(words []int64) []any {
	current := currentScope()
	var results []any
	for i := 0; i < len(words); {
		tag := words[i]
		i++
		switch tag {
		case C.ARF_NONE:
			results = append(results, nil)
		case C.ARF_TENSOR:
			results = append(results, newTensor(words[i], current))
			i++
		case C.ARF_INT:
			results = append(results, words[i])
			i++
		case C.ARF_DOUBLE:
			results = append(results, math.Float64frombits(uint64(words[i])))
			i++
		case C.ARF_BOOL:
			results = append(results, words[i] != 0)
			i++
		case C.ARF_TENSOR_LIST:
			list := make([]*Tensor, words[i])
			i++
			for j := range list {
				list[j] = newTensor(words[i], current)
				i++
			}
			results = append(results, list)
		}
	}
	return results
}

// currentScope is the innermost scope of the calling thread; the caller is
// locked to it, or is in no scope.
func currentScope() *scope {
	id := int64(C.arf_scope(engine.api, -1))
	if id == 0 {
		return nil
	}
	s, _ := scopes.Load(id)
	return s.(*scope)
}
