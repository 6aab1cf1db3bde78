package checkpoint

import (
	"encoding/binary"
	"fmt"

	"arf/torch"
)

// CheckFinite is an error about the first tensor, in order of names, that holds
// a NaN or an infinity.
func (t Tensors) CheckFinite() error {
	for _, name := range t.Names() {
		if i := t[name].notFinite(); i >= 0 {
			return fmt.Errorf("tensor %s: element %d of %v is NaN or infinite; the file is damaged, or the training that made it diverged", name, i, t[name].Shape)
		}
	}
	return nil
}

// exponents of the floating point types, repeated over a word: all ones means
// NaN or infinity. Adding one to the lowest bit then carries into the sign,
// which the mask has cleared.
var exponents = map[torch.DType]struct{ mask, one, sign uint64 }{
	torch.Float16:  {0x7c00_7c00_7c00_7c00, 0x0400_0400_0400_0400, 0x8000_8000_8000_8000},
	torch.BFloat16: {0x7f80_7f80_7f80_7f80, 0x0080_0080_0080_0080, 0x8000_8000_8000_8000},
	torch.Float32:  {0x7f800000_7f800000, 0x00800000_00800000, 0x80000000_80000000},
	torch.Float64:  {0x7ff0_0000_0000_0000, 0x0010_0000_0000_0000, 0x8000_0000_0000_0000},
}

// notFinite is the index of the first element that is NaN or infinite, -1 if
// none is.
func (t Tensor) notFinite() int {
	e, ok := exponents[t.DType]
	if !ok {
		return -1
	}
	const block = 4096
	for at := 0; at < len(t.Data); at += block {
		data := t.Data[at:min(at+block, len(t.Data))]
		var found uint64
		for ; len(data) >= 32; data = data[32:] {
			found |= binary.LittleEndian.Uint64(data)&e.mask + e.one
			found |= binary.LittleEndian.Uint64(data[8:])&e.mask + e.one
			found |= binary.LittleEndian.Uint64(data[16:])&e.mask + e.one
			found |= binary.LittleEndian.Uint64(data[24:])&e.mask + e.one
		}
		for ; len(data) >= 8; data = data[8:] {
			found |= binary.LittleEndian.Uint64(data)&e.mask + e.one
		}
		if len(data) > 0 {
			var rest [8]byte
			copy(rest[:], data)
			found |= binary.LittleEndian.Uint64(rest[:])&e.mask + e.one
		}
		if found&e.sign != 0 {
			return t.firstNotFinite(at)
		}
	}
	return -1
}

// firstNotFinite looks at one element after the other, from byte at on.
func (t Tensor) firstNotFinite(at int) int {
	e, size := exponents[t.DType], t.DType.Size()
	for ; at < len(t.Data); at += size {
		var word [8]byte
		copy(word[:], t.Data[at:at+size])
		if (binary.LittleEndian.Uint64(word[:])&e.mask+e.one)&e.sign != 0 {
			return at / size
		}
	}
	return -1
}
