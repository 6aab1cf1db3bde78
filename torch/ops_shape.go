package torch

// Reshape gives t another shape of as many elements; one size may be -1.
func (t *Tensor) Reshape(shape ...int) *Tensor { return call1("aten::reshape", t, shape) }

// Permute reorders the dimensions.
func (t *Tensor) Permute(dims ...int) *Tensor { return call1("aten::permute", t, dims) }

// Transpose swaps two dimensions.
func (t *Tensor) Transpose(a, b int) *Tensor { return call1("aten::transpose.int", t, a, b) }

// Contiguous lays t out in row-major order.
func (t *Tensor) Contiguous() *Tensor { return call1("aten::contiguous", t) }

// ChannelsLast lays an [N,C,H,W] tensor out as NHWC, which convolutions on the
// CPU prefer; its shape stays.
func (t *Tensor) ChannelsLast() *Tensor {
	const channelsLast = 2 // c10::MemoryFormat
	return call1("aten::contiguous", t, channelsLast)
}

// Expand repeats dimensions of size 1 without copying; -1 keeps a size.
func (t *Tensor) Expand(shape ...int) *Tensor { return call1("aten::expand", t, shape) }

// Unsqueeze inserts a dimension of size 1.
func (t *Tensor) Unsqueeze(dim int) *Tensor { return call1("aten::unsqueeze", t, dim) }

// Flatten merges the dimensions from start to end, inclusive.
func (t *Tensor) Flatten(start, end int) *Tensor {
	return call1("aten::flatten.using_ints", t, start, end)
}

// Narrow takes length entries from start along a dimension, without copying.
func (t *Tensor) Narrow(dim, start, length int) *Tensor {
	return call1("aten::narrow", t, dim, start, length)
}

// Select takes one entry along a dimension, which goes away.
func (t *Tensor) Select(dim, index int) *Tensor { return call1("aten::select.int", t, dim, index) }

// IndexSelect gathers entries along a dimension by an int64 vector.
func (t *Tensor) IndexSelect(dim int, index *Tensor) *Tensor {
	return call1("aten::index_select", t, dim, index)
}

// Index2 picks t[rows[i], cols[i]] (int64 vectors) from the first two dimensions.
func (t *Tensor) Index2(rows, cols *Tensor) *Tensor {
	return call1("aten::index.Tensor", t, OptionalTensors{rows, cols})
}

// Gather picks along a dimension by an int64 tensor of t's rank.
func (t *Tensor) Gather(dim int, index *Tensor) *Tensor {
	return call1("aten::gather", t, dim, index)
}

// Cat joins tensors along an existing dimension.
func Cat(dim int, tensors ...*Tensor) *Tensor { return call1("aten::cat", tensors, dim) }

// Stack joins tensors along a new dimension.
func Stack(dim int, tensors ...*Tensor) *Tensor { return call1("aten::stack", tensors, dim) }

// Triu keeps the part on and above the given diagonal.
func (t *Tensor) Triu(diagonal int) *Tensor { return call1("aten::triu", t, diagonal) }
