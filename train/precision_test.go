package train

import (
	"testing"

	"arf/torch"

	"golang.org/x/sys/cpu"
)

func TestAutoPrecisionIsTheDevices(t *testing.T) {
	if got := AutoPrecision(torch.CUDA(0)); got != torch.BFloat16 {
		t.Errorf("%v on a GPU", got)
	}
	want := torch.Float32
	if cpu.X86.HasAVX512BF16 || cpu.X86.HasAMXBF16 {
		want = torch.BFloat16
	}
	if got := AutoPrecision(torch.CPU); got != want {
		t.Errorf("%v on the CPU, want %v whatever GPUs there are", got, want)
	}
}
