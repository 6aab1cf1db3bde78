package torch

// #include "bridge.h"
import "C"

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/cpu"
)

// Device is where tensors live: the CPU (the zero value) or a CUDA device.
type Device struct {
	cuda int // index + 1; 0 = CPU
}

// CPU is the host.
var CPU = Device{}

// CUDA is the GPU of that index.
func CUDA(index int) Device { return Device{cuda: index + 1} }

// IsCUDA tells whether d is a GPU.
func (d Device) IsCUDA() bool { return d.cuda > 0 }

func (d Device) String() string {
	if d.cuda == 0 {
		return "cpu"
	}
	return "cuda:" + strconv.Itoa(d.cuda-1)
}

// ParseDevice reads "cpu", "cuda", "cuda:N", or "auto" (the first GPU that this
// engine can use, else the CPU; "" is "auto"). It fails for a GPU that isn't there.
func ParseDevice(name string) (Device, error) {
	if err := Load(); err != nil {
		return CPU, err
	}
	count := int(C.arf_cuda_devices(engine.api))
	kind, index, _ := strings.Cut(name, ":")
	switch {
	case name == "" || name == "auto":
		if count > 0 {
			return CUDA(0), nil
		}
		return CPU, nil
	case name == "cpu":
		return CPU, nil
	case kind == "cuda":
		n := 0
		if index != "" {
			var err error
			if n, err = strconv.Atoi(index); err != nil || n < 0 {
				return CPU, fmt.Errorf("device %q: want auto, cpu, cuda or cuda:N", name)
			}
		}
		if n >= count {
			return CPU, fmt.Errorf("device %q: this engine (libtorch %s) sees %d CUDA devices; build it against a CUDA libtorch with `LIBTORCH=… make engine`, or use --device cpu", name, Version(), count)
		}
		return CUDA(n), nil
	}
	return CPU, fmt.Errorf("device %q: want auto, cpu, cuda or cuda:N", name)
}

// HasBF16 tells whether d multiplies bfloat16 in hardware, and adds up in float32: a
// GPU, or a CPU with instructions for it.
func (d Device) HasBF16() bool {
	return d.IsCUDA() || cpu.X86.HasAVX512BF16 || cpu.X86.HasAMXBF16
}

// CUDADevices counts the GPUs that the engine can use.
func CUDADevices() int { return int(C.arf_cuda_devices(api())) }

// CUDAMemory gives the bytes allocated on a GPU now and at most.
func CUDAMemory(index int) (now, peak int64) {
	var n, p C.int64_t
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	check("cuda_memory", C.arf_cuda_memory(api(), C.int64_t(index), &n, &p))
	return int64(n), int64(p)
}

// SetThreads sets the threads that one operator uses on the CPU.
func SetThreads(n int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	check("set_threads", C.arf_set_threads(api(), C.int64_t(n)))
}

// Threads is the number of threads that one operator uses on the CPU.
func Threads() int { return int(C.arf_threads(api())) }

// ManualSeed seeds the generators of all devices.
func ManualSeed(seed int64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	check("manual_seed", C.arf_manual_seed(api(), C.int64_t(seed)))
}

// SetDeterministic has every operator give the same bits each time, for the same
// engine, device and number of threads; one that can't panics. It's for GPUs: on
// the CPU the operators that this project uses do so anyway. Call it before the
// first work on a GPU, since cuBLAS reads its setting
// (CUBLAS_WORKSPACE_CONFIG) when it starts. (PyTorch, use_deterministic_algorithms.)
func SetDeterministic(on bool) {
	const key = "CUBLAS_WORKSPACE_CONFIG"
	flag := C.int(0)
	if on {
		flag = 1
		if os.Getenv(key) == "" {
			_ = os.Setenv(key, ":4096:8")
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	check("set_deterministic", C.arf_set_deterministic(api(), flag))
}

// Index is a GPU's number; 0 for the CPU.
func (d Device) Index() int { return max(d.cuda-1, 0) }
