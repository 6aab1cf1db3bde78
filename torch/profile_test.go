package torch

import "testing"

func TestProfile(t *testing.T) {
	StartProfile()
	Scope(func() {
		ProfilePhase(1)
		a, b := Randn(CPU, 3, 5), Randn(CPU, 5, 7).SetRequiresGrad(true)
		loss := a.MatMul(b).Mean()
		x, w := Randn(CPU, 2, 3, 8, 8), Randn(CPU, 4, 3, 3, 3).SetRequiresGrad(true)
		loss = loss.Add(Conv2D(x, w, nil, 2, 1).Mean())
		batches := Randn(CPU, 2, 3, 4).MatMul(Randn(CPU, 2, 4, 5))
		_ = batches
		ProfilePhase(2)
		loss.Backward()
	})
	all := StopProfile()
	find := func(phase int, op string) (found OpStats) {
		for _, s := range all {
			if s.Phase == phase && s.Op == op {
				return s
			}
		}
		t.Fatalf("no %s in phase %d: %+v", op, phase, all)
		return
	}
	for _, want := range []struct {
		phase int
		op    string
		calls int64
		flops float64
	}{
		{1, "aten::mm", 1, 2 * 3 * 5 * 7},
		{1, "aten::bmm", 1, 2 * 2 * 3 * 4 * 5},
		{1, "aten::convolution", 1, 2 * (2 * 4 * 4) * (4 * 3 * 3 * 3)},
		{1, "aten::matmul", 2, 0},
		{2, "aten::mm", 1, 2 * 3 * 5 * 7}, // only b needs a gradient
		{2, "aten::convolution_backward", 1, 2 * (2 * 4 * 4) * (4 * 3 * 3 * 3)},
	} {
		s := find(want.phase, want.op)
		if s.Calls != want.calls || s.FLOPs != want.flops {
			t.Errorf("phase %d %s: %d calls of %g FLOPs, want %d of %g", want.phase, want.op, s.Calls, s.FLOPs, want.calls, want.flops)
		}
		if s.Seconds <= 0 || s.Seconds > 10 {
			t.Errorf("%s took %g s", s.Op, s.Seconds)
		}
	}
	if s := find(1, "aten::mm"); s.Bytes != 4*(3*5+5*7+3*7) {
		t.Errorf("mm moved %g bytes", s.Bytes)
	}
	// Nothing is recorded after the end.
	Scope(func() { Randn(CPU, 2, 2).Exp() })
	StartProfile()
	if rest := StopProfile(); len(rest) != 0 {
		t.Errorf("a new profile begins with %+v", rest)
	}
}
