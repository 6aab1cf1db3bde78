package finetune

import (
	"bytes"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"arf/torch"
	"arf/train"
)

// TestSoak: memory, tensors and goroutines of a long run stay what they were
// after its first fifth. `make soak` sets the number of steps.
func TestSoak(t *testing.T) {
	steps := 400
	if s := os.Getenv("ARF_SOAK_STEPS"); s != "" {
		var err error
		if steps, err = strconv.Atoi(s); err != nil || steps < 100 {
			t.Fatalf("ARF_SOAK_STEPS is %q; want 100 or more", s)
		}
	}
	data := pictures(16, 3)
	o := quick(ARF)
	o.Dir, o.Epochs, o.LR, o.CheckpointEvery = t.TempDir(), steps/4, 1e-5, steps/20
	var resident, live []int64 // of steps, from the second fifth on
	routines := 0
	o.Progress = func(m train.Metrics) {
		if m.Step <= steps/5 || m.Step%max(1, steps/200) != 0 {
			return
		}
		resident, live = append(resident, residentBytes(t)), append(live, torch.Live())
		routines = max(routines, runtime.NumGoroutine())
	}
	mustRun(t, tiny(t), data, o)
	quarter := len(resident) / 4
	early, late := median(resident[:quarter]), median(resident[len(resident)-quarter:])
	t.Logf("%d steps: %.1f MiB resident early, %.1f MiB late; %d tensors; up to %d goroutines",
		steps, float64(early)/(1<<20), float64(late)/(1<<20), live[len(live)-1], routines)
	// The heap's own ups and downs are 3 MiB; 2 KiB a step would be 14 MiB of 10,000.
	if grew := late - early; grew > 8<<20 {
		t.Errorf("memory grew by %.1f MiB", float64(grew)/(1<<20))
	}
	if slices.Max(live) != slices.Min(live) {
		t.Errorf("between %d and %d tensors are live after a step", slices.Min(live), slices.Max(live))
	}
	if routines > 40 { // the test's own, and a handful of workers
		t.Errorf("%d goroutines", routines)
	}
	// TestMain's goleak finds those that outlive the run.
}

func residentBytes(t *testing.T) int64 {
	t.Helper()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(string(bytes.Fields(data)[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

func median(v []int64) int64 {
	v = slices.Clone(v)
	slices.Sort(v)
	return v[len(v)/2]
}
