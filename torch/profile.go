package torch

// #include "bridge.h"
import "C"

import (
	"runtime"
	"strconv"
	"strings"
)

// OpStats is what one operator took in one phase of a profile.
type OpStats struct {
	Phase   int    // see ProfilePhase
	Op      string // such as "aten::mm"; autograd's own steps too
	Calls   int64
	Seconds float64 // without the operators that it called; on a GPU the time to launch it
	// FLOPs are counted for matrix products and convolutions, forward and
	// backward, a multiply-add as two.
	FLOPs float64
	// Bytes are those of the tensors that it was given and gave, where it did the
	// work itself: it called no operator with bytes, or spent less time in those
	// than without. Views and allocations have none.
	Bytes float64
}

// StartProfile begins to sum up what every operator takes, on all threads. The
// overhead is a few microseconds a call.
func StartProfile() { setProfile(1) }

// ProfilePhase numbers what follows, so that its operators are summed apart.
func ProfilePhase(number int) { C.arf_profile_phase(api(), C.int64_t(number)) }

// StopProfile ends the profile and gives its sums, by phase and operator.
func StopProfile() []OpStats {
	setProfile(0)
	var all []OpStats
	for line := range strings.Lines(C.GoString(C.arf_profile_result(api()))) {
		// Names may have spaces: "autograd::engine::evaluate_function: MulBackward0".
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		numbers := make([]float64, len(fields))
		for i, field := range fields {
			numbers[i], _ = strconv.ParseFloat(field, 64)
		}
		all = append(all, OpStats{
			Phase: int(numbers[0]), Op: fields[1], Calls: int64(numbers[2]), Seconds: numbers[3] / 1e9, FLOPs: numbers[4], Bytes: numbers[5],
		})
	}
	return all
}

func setProfile(on C.int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	check("profile", C.arf_profile(api(), on))
}

// Synchronize waits until a GPU has done what it was given; a CPU has.
func Synchronize(d Device) {
	if d.IsCUDA() {
		Scope(func() { Zeros(d, Float32, 1).Item() })
	}
}
