package torch

import (
	"runtime"
	"sync"
	"testing"
)

// libtorch keeps the number for each thread of the system; a goroutine may run
// on any of them.
func TestSetThreadsReachesThreadsThatHaveComputed(t *testing.T) {
	before := Threads()
	defer SetThreads(before)
	SetThreads(1)
	var wg sync.WaitGroup
	ready, changed := make(chan struct{}), make(chan struct{})
	const others = 3
	for range others {
		wg.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			Full(CPU, 1, 4).Exp()
			ready <- struct{}{}
			<-changed
			Full(CPU, 1, 4).Exp()
			if got := Threads(); got != 2 {
				t.Errorf("a thread that computed before works with %d threads, want 2", got)
			}
		})
	}
	for range others {
		<-ready
	}
	SetThreads(2)
	close(changed)
	wg.Wait()
	var err error
	func() {
		defer Catch(&err)
		SetThreads(0)
	}()
	if err == nil {
		t.Error("zero threads are accepted")
	}
}
