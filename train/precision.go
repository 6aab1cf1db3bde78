package train

import (
	"arf/torch"

	"golang.org/x/sys/cpu"
)

// AutoPrecision is bfloat16 where the CPU multiplies it in hardware, or a GPU
// is there; else float32.
func AutoPrecision() torch.DType {
	if cpu.X86.HasAVX512BF16 || cpu.X86.HasAMXBF16 || torch.CUDADevices() > 0 {
		return torch.BFloat16
	}
	return torch.Float32
}
