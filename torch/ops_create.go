package torch

// Zeros makes a tensor of zeros.
func Zeros(d Device, dtype DType, shape ...int) *Tensor {
	return call1("aten::zeros", shape, dtype, nil, d)
}

// Full makes a float32 tensor filled with value.
func Full(d Device, value float64, shape ...int) *Tensor {
	return call1("aten::full", shape, value, Float32, nil, d)
}

// Arange makes the int64 tensor 0, 1, … n-1.
func Arange(d Device, n int) *Tensor { return call1("aten::arange", n, Int64, nil, d) }

// Randn draws a float32 tensor from the standard normal distribution.
func Randn(d Device, shape ...int) *Tensor { return call1("aten::randn", shape, Float32, nil, d) }

// Eye makes the n×n identity in float32.
func Eye(d Device, n int) *Tensor { return call1("aten::eye", n, Float32, nil, d) }

// ZerosLike makes zeros of t's shape, type and device.
func (t *Tensor) ZerosLike() *Tensor { return call1("aten::zeros_like", t) }

// Detach is t without its history; they share memory.
func (t *Tensor) Detach() *Tensor { return call1("aten::detach", t) }

// Cast converts to dtype; t itself where it has that type.
func (t *Tensor) Cast(dtype DType) *Tensor { return call1("aten::to.dtype", t, dtype) }

// ToDevice moves t to d; t itself where it is there.
func (t *Tensor) ToDevice(d Device) *Tensor { return call1("aten::to.device", t, d, t.DType()) }

// Copy_ overwrites t with source, converted to t's type.
func (t *Tensor) Copy_(source *Tensor) *Tensor { return call1("aten::copy_", t, source) }

// Fill_ overwrites every element.
func (t *Tensor) Fill_(value float64) *Tensor { return call1("aten::fill_.Scalar", t, value) }
