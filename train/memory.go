package train

import (
	"os"
	"strconv"
	"strings"

	"arf/torch"
)

// PeakMemory is the most memory used so far in bytes: a GPU's allocations, or
// this process's resident set.
func PeakMemory(d torch.Device) int64 {
	if d.IsCUDA() {
		_, peak := torch.CUDAMemory(d.Index())
		return peak
	}
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return kb << 10
		}
	}
	return 0
}
