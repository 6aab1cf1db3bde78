package torch

import (
	"runtime"
	"strings"
	"testing"
)

// A product whose shape has left oneDNN's cache is right again in a thread that
// met the shape second, also when the first is gone; see shim/onednn.cc.
func TestForgottenShapesAreCompiledRight(t *testing.T) {
	const width, shapes, kept = 64, 10, 4096
	w, b := Randn(CPU, width, width).Cast(BFloat16).Keep(), Randn(CPU, width).Cast(BFloat16).Keep()
	defer w.Free()
	defer b.Free()
	want := To[float32](b.Cast(Float32))
	thread := func() (call func(rows int), end func()) {
		work, done := make(chan int), make(chan string)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread of the system ends too
			defer close(done)
			for rows := range work {
				Scope(func() {
					wrong := ""
					for i, v := range To[float32](Linear(Zeros(CPU, BFloat16, rows, width), w, b).Cast(Float32)) {
						if v != want[i%width] {
							wrong = "the bias is lost"
						}
					}
					done <- wrong
				})
			}
		}()
		return func(rows int) {
				work <- rows
				if wrong := <-done; wrong != "" {
					t.Errorf("%d rows: %s", rows, wrong)
				}
			}, func() {
				close(work)
				<-done
			}
	}
	first, end := thread()
	second, endSecond := thread()
	defer endSecond()
	third, endThird := thread()
	defer endThird()
	for i := range shapes {
		first(2*kept + i)
		second(2*kept + i)
	}
	end()
	for rows := range kept + shapes {
		third(rows + 1)
	}
	for i := range shapes {
		second(2*kept + i)
	}
	if !strings.HasPrefix(Version(), "1.13") {
		t.Log("another libtorch than Debian's: its oneDNN may never have had the error")
	}
}
