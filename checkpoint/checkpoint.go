// Package checkpoint keeps named tensors on disk: safetensors files, written
// atomically, and read beside all that PyTorch writes. Files are foreign: every
// size is checked, and nothing of a pickle is run.
package checkpoint

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"arf/internal/atomicfile"
	"arf/torch"

	"github.com/nlpodyssey/safetensors"
)

// Tensor is a tensor in host memory: row-major, little-endian elements.
type Tensor struct {
	DType torch.DType
	Shape []int
	Data  []byte
}

// Tensors are named tensors, such as a model's weights.
type Tensors map[string]Tensor

// Names lists the names in order.
func (t Tensors) Names() []string {
	names := make([]string, 0, len(t))
	for name := range t {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

var dtypes = map[safetensors.DType]torch.DType{
	safetensors.U8: torch.Uint8, safetensors.I32: torch.Int32, safetensors.I64: torch.Int64,
	safetensors.F16: torch.Float16, safetensors.BF16: torch.BFloat16,
	safetensors.F32: torch.Float32, safetensors.F64: torch.Float64, safetensors.BOOL: torch.Bool,
}

// maxDims bounds what a file can make the engine do.
const maxDims = 8

// ReadSafetensors reads a safetensors file and its metadata. Errors name the
// file, and the tensor where one is at fault.
func ReadSafetensors(path string) (Tensors, map[string]string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	tensors, metadata, err := decode(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w; the file is damaged or is not safetensors", path, err)
	}
	return tensors, metadata, nil
}

func decode(data []byte) (Tensors, map[string]string, error) {
	file, err := safetensors.Deserialize(data)
	if err != nil {
		return nil, nil, err
	}
	_, header, err := safetensors.ReadMetadata(data)
	if err != nil {
		return nil, nil, err
	}
	tensors := Tensors{}
	for _, view := range file.Tensors() {
		dtype, ok := dtypes[view.TensorView.DType()]
		if !ok {
			return nil, nil, fmt.Errorf("tensor %s: element type %v is not supported", view.Name, view.TensorView.DType())
		}
		if n := len(view.TensorView.Shape()); n > maxDims {
			return nil, nil, fmt.Errorf("tensor %s has %d dimensions; at most %d are supported", view.Name, n, maxDims)
		}
		shape := make([]int, len(view.TensorView.Shape()))
		for i, n := range view.TensorView.Shape() {
			if n > math.MaxInt32 {
				return nil, nil, fmt.Errorf("tensor %s: size %d of dimension %d is too large", view.Name, n, i)
			}
			shape[i] = int(n)
		}
		tensors[view.Name] = Tensor{DType: dtype, Shape: shape, Data: view.TensorView.Data()}
	}
	return tensors, header.Metadata(), nil
}

// view lets safetensors write a Tensor.
type view struct {
	dtype safetensors.DType
	shape []uint64
	data  []byte
}

func (v view) DType() safetensors.DType { return v.dtype }
func (v view) Shape() []uint64          { return v.shape }
func (v view) Data() []byte             { return v.data }
func (v view) DataLen() uint64          { return uint64(len(v.data)) }

// WriteSafetensors writes a file atomically: it is there whole or not at all.
func WriteSafetensors(path string, tensors Tensors, metadata map[string]string) (err error) {
	views := make(map[string]view, len(tensors))
	for name, t := range tensors {
		v := view{data: t.Data, shape: []uint64{}} // a scalar's shape is [], not null
		for file, ours := range dtypes {
			if ours == t.DType {
				v.dtype = file
			}
		}
		for _, n := range t.Shape {
			v.shape = append(v.shape, uint64(n))
		}
		views[name] = v
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer file.Cleanup()
	if err := safetensors.SerializeToWriter(views, metadata, file); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return file.CloseAtomicallyReplace()
}

// FromTorch copies a tensor to the host.
func FromTorch(t *torch.Tensor) Tensor {
	return Tensor{DType: t.DType(), Shape: t.Shape(), Data: t.Bytes()}
}

// ToTorch copies to device d.
func (t Tensor) ToTorch(d torch.Device) *torch.Tensor {
	return torch.FromBytes(d, t.Data, t.DType, t.Shape...)
}

// Cast converts floating point elements to dtype; other tensors stay.
func (t Tensor) Cast(dtype torch.DType) Tensor {
	switch t.DType {
	case dtype, torch.Uint8, torch.Int32, torch.Int64, torch.Bool:
		return t
	}
	var out Tensor
	torch.Scope(func() { out = FromTorch(t.ToTorch(torch.CPU).Cast(dtype)) })
	return out
}
