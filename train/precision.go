package train

import "arf/torch"

// AutoPrecision is bfloat16 where the device multiplies it in hardware; else
// float32.
func AutoPrecision(d torch.Device) torch.DType {
	if d.HasBF16() {
		return torch.BFloat16
	}
	return torch.Float32
}
