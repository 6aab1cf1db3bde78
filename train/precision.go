package train

import (
	"arf/torch"

	"golang.org/x/sys/cpu"
)

// AutoPrecision is bfloat16 on a GPU, and on a CPU that multiplies it in
// hardware; else float32.
func AutoPrecision(d torch.Device) torch.DType {
	if d.IsCUDA() || cpu.X86.HasAVX512BF16 || cpu.X86.HasAMXBF16 {
		return torch.BFloat16
	}
	return torch.Float32
}
