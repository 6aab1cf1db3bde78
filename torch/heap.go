package torch

// #include <malloc.h>
// #include <stdint.h>
// static int64_t arf_heap_bytes(void) { struct mallinfo2 m = mallinfo2(); return (int64_t)(m.uordblks + m.hblkhd); }
import "C"

// HeldBytes is the memory that tensors and all else in C and C++ take: on a GPU
// what libtorch has allocated there, on the CPU the heap in use (glibc's
// mallinfo2), which Go's own memory is no part of.
func HeldBytes(d Device) int64 {
	if d.IsCUDA() {
		now, _ := CUDAMemory(d.Index())
		return now
	}
	return int64(C.arf_heap_bytes())
}
