package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"arf/torch"
)

// element is the type of a storage's elements.
type element struct {
	name  string // of the dtype, such as torch.float32
	size  int    // bytes; 0 if we don't know it
	dtype torch.DType
	ok    bool // dtype is one that we read
}

func (e *element) storage() string { return "a storage of " + e.name }

// storageTypes are PyTorch's storage classes.
var storageTypes = map[string]element{
	"torch.FloatStorage":            {"torch.float32", 4, torch.Float32, true},
	"torch.DoubleStorage":           {"torch.float64", 8, torch.Float64, true},
	"torch.HalfStorage":             {"torch.float16", 2, torch.Float16, true},
	"torch.BFloat16Storage":         {"torch.bfloat16", 2, torch.BFloat16, true},
	"torch.LongStorage":             {"torch.int64", 8, torch.Int64, true},
	"torch.IntStorage":              {"torch.int32", 4, torch.Int32, true},
	"torch.ByteStorage":             {"torch.uint8", 1, torch.Uint8, true},
	"torch.BoolStorage":             {"torch.bool", 1, torch.Bool, true},
	"torch.ShortStorage":            {name: "torch.int16", size: 2},
	"torch.CharStorage":             {name: "torch.int8", size: 1},
	"torch.ComplexFloatStorage":     {name: "torch.complex64", size: 8},
	"torch.ComplexDoubleStorage":    {name: "torch.complex128", size: 16},
	"torch.UntypedStorage":          {name: "bytes", size: 1},
	"torch.storage.UntypedStorage":  {name: "bytes", size: 1},
	"torch.storage._UntypedStorage": {name: "bytes", size: 1},
}

// section is where a storage's bytes are in the file.
type section struct {
	at, size int64
}

// tensorReader reads views of a file's storages.
type tensorReader struct {
	file   io.ReaderAt
	locate func(*storage) (section, error)
	budget int64 // bytes that may still be read
	made   map[string]Tensor
}

// newTensorReader bounds what is read from a file of size bytes: views of one
// storage may overlap, but a file can't ask for many times its size.
func newTensorReader(file io.ReaderAt, size int64, locate func(*storage) (section, error)) *tensorReader {
	return &tensorReader{file: file, locate: locate, budget: 4*size + 1<<20, made: map[string]Tensor{}}
}

// read makes the tensor contiguous. Views that are the same share memory.
func (r *tensorReader) read(t *tensorRef) (Tensor, error) {
	if t.err != nil {
		return Tensor{}, t.err
	}
	if !t.element.ok {
		return Tensor{}, fmt.Errorf("element type %s is not supported", t.element.name)
	}
	key := fmt.Sprintf("%q %d %d %v %v", t.storage.key, t.element.dtype, t.offset, t.shape, t.stride)
	if made, ok := r.made[key]; ok {
		return made, nil
	}
	elements, span, err := t.extent()
	if err != nil {
		return Tensor{}, err
	}
	where, err := r.locate(t.storage)
	if err != nil {
		return Tensor{}, err
	}
	size := int64(t.element.size)
	out := Tensor{DType: t.element.dtype, Shape: t.shape, Data: []byte{}}
	if elements > 0 {
		// Nothing is allocated before these hold.
		if int64(t.offset)+span > where.size/size {
			return Tensor{}, fmt.Errorf("its shape %v, strides %v and offset %d go beyond its storage of %d bytes; the file is damaged", t.shape, t.stride, t.offset, where.size)
		}
		if r.budget -= max(elements, span) * size; r.budget < 0 {
			return Tensor{}, errors.New("the tensors up to it overlap to many times the file's size; this is no model")
		}
		data := make([]byte, span*size)
		if _, err := r.file.ReadAt(data, where.at+int64(t.offset)*size); err != nil {
			return Tensor{}, fmt.Errorf("read: %w", err)
		}
		out.Data = t.gather(data, int(elements))
	}
	r.made[key] = out
	return out, nil
}

// extent gives the number of elements, and of elements of the storage from the
// first to the last.
func (t *tensorRef) extent() (elements, span int64, err error) {
	if len(t.shape) > maxDims {
		return 0, 0, fmt.Errorf("%d dimensions; at most %d are supported", len(t.shape), maxDims)
	}
	if len(t.shape) != len(t.stride) || t.offset < 0 || t.offset > math.MaxInt64>>8 {
		return 0, 0, fmt.Errorf("its shape %v, strides %v and offset %d don't fit; the file is damaged", t.shape, t.stride, t.offset)
	}
	const most = math.MaxInt64 >> 8 // bytes of eight or less in a file
	elements, span = 1, 1
	for i, n := range t.shape {
		if n < 0 || n > math.MaxInt32 || t.stride[i] < 0 {
			return 0, 0, fmt.Errorf("shape %v, strides %v: out of range; the file is damaged", t.shape, t.stride)
		}
		if n == 0 {
			elements = 0
		}
		if n > 1 && int64(t.stride[i]) > (most-span)/int64(n-1) || n > 0 && elements > most/int64(n) {
			return 0, 0, fmt.Errorf("shape %v, strides %v: too large; the file is damaged", t.shape, t.stride)
		}
		elements *= int64(n)
		if n > 1 {
			span += int64(n-1) * int64(t.stride[i])
		}
	}
	return elements, span, nil
}

// gather orders the elements row by row; data begins with the first.
func (t *tensorRef) gather(data []byte, elements int) []byte {
	size := t.element.size
	// The last dimensions that are in order already are copied in one run.
	run, dims := 1, len(t.shape)
	for ; dims > 0 && (t.shape[dims-1] == 1 || t.stride[dims-1] == run); dims-- {
		run *= t.shape[dims-1]
	}
	if dims == 0 {
		return data
	}
	out := make([]byte, 0, elements*size)
	index := make([]int, dims)
	at := 0
	for {
		out = append(out, data[at*size:(at+run)*size]...)
		d := dims - 1
		for ; d >= 0; d-- {
			index[d]++
			at += t.stride[d]
			if index[d] < t.shape[d] {
				break
			}
			at -= index[d] * t.stride[d]
			index[d] = 0
		}
		if d < 0 {
			return slices.Clip(out)
		}
	}
}
