package torch

import (
	"errors"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestErrorsBecomePanicsThatCatchTurnsIntoErrors(t *testing.T) {
	run := func() (err error) {
		defer Catch(&err)
		Scope(func() { Zeros(CPU, Float32, 2, 3).MatMul(Zeros(CPU, Float32, 2, 3)) })
		return nil
	}
	err := run()
	if err == nil || !strings.Contains(err.Error(), "aten::matmul") {
		t.Fatalf("want an error that names the operator, got %v", err)
	}
	if HasOperator("aten::no_such_operator") {
		t.Error("an unknown operator is reported as known")
	}
}

func TestNoMemoryIsSaidSo(t *testing.T) {
	err := func() (err error) {
		defer Catch(&err)
		Scope(func() { Zeros(CPU, Float32, 1<<24, 1<<24) }) // a petabyte
		return nil
	}()
	var e *Error
	if !errors.As(err, &e) || !e.OutOfMemory() || !strings.Contains(err.Error(), "lower the batch size") {
		t.Errorf("error %v", err)
	}
}

func TestScopeFreesAllButKept(t *testing.T) {
	before := Live()
	var kept, lost *Tensor
	Scope(func() {
		lost = Full(CPU, 2, 3)
		Scope(func() { kept = lost.Scale(3).Keep() })
	})
	if got := Live() - before; got != 1 {
		t.Errorf("%d tensors live, want the kept one only", got)
	}
	if got := To[float32](kept); got[2] != 6 {
		t.Errorf("kept tensor holds %v", got)
	}
	var err error
	func() {
		defer Catch(&err)
		lost.Exp()
	}()
	if err == nil || !strings.Contains(err.Error(), "freed") {
		t.Errorf("use after the scope: %v", err)
	}
	kept.Free()
	kept.Free()
	if got := Live() - before; got != 0 {
		t.Errorf("%d tensors live after Free", got)
	}
}

func TestHostRoundTrip(t *testing.T) {
	Scope(func() {
		want := []float32{1, -2, 3.5, 0, 5, 6}
		x := From(CPU, want, 2, 3)
		if got := To[float32](x.Transpose(0, 1)); got[1] != 0 || got[2] != -2 {
			t.Errorf("transposed copy is %v", got)
		}
		if got := x.Cast(BFloat16).Shape(); got[0] != 2 || got[1] != 3 {
			t.Errorf("shape %v", got)
		}
		again := FromBytes(CPU, x.Bytes(), Float32, 2, 3)
		for i, v := range To[float32](again) {
			if v != want[i] {
				t.Errorf("element %d is %v, want %v", i, v, want[i])
			}
		}
	})
}

// AdamW against the recurrence worked out in float64.
func TestAdamWFollowsItsDefinition(t *testing.T) {
	const lr, wd, b1, b2, eps = 0.1, 0.05, 0.9, 0.98, 1e-6
	w, m, v := 1.5, 0.0, 0.0
	p := From(CPU, []float32{1.5}, 1).Keep().SetRequiresGrad(true)
	opt := &AdamW{Beta1: b1, Beta2: b2, Eps: eps, Groups: []ParamGroup{{Params: []*Tensor{p}, WeightDecay: wd}}}
	for step := 1; step <= 20; step++ {
		g := 2 * w // of w²
		w *= 1 - lr*wd
		m = b1*m + (1-b1)*g
		v = b2*v + (1-b2)*g*g
		w -= lr * (m / (1 - math.Pow(b1, float64(step)))) / (math.Sqrt(v/(1-math.Pow(b2, float64(step)))) + eps)
		Scope(func() {
			p.Mul(p).Sum().Backward()
			opt.Step(lr, 1)
		})
	}
	if got := p.Item(); math.Abs(got-w) > 1e-5 {
		t.Errorf("after 20 steps %v, want %v", got, w)
	}
}

// Many weights, a gradient in channels-last, and a scaled gradient; any number
// of threads gives the same bits.
func TestAdamWOnManyWeights(t *testing.T) {
	const lr, wd, b1, b2, eps, scale = 1e-2, 0.1, 0.9, 0.999, 1e-8, 0.5
	update := func(threads int) (got, want []float32) {
		SetThreads(threads)
		defer SetThreads(1)
		ManualSeed(3)
		Scope(func() {
			p := Randn(CPU, 40, 30, 9, 9).SetRequiresGrad(true)
			opt := &AdamW{Beta1: b1, Beta2: b2, Eps: eps, Groups: []ParamGroup{{Params: []*Tensor{p}, WeightDecay: wd}}}
			var w, m, v []float64
			for step := 1; step <= 3; step++ {
				g := Randn(CPU, 40, 30, 9, 9)
				values := To[float32](g)
				if w == nil {
					for _, x := range To[float32](p.Detach()) {
						w = append(w, float64(x))
					}
					m, v = make([]float64, len(w)), make([]float64, len(w))
				}
				for i, x := range values {
					x := float64(x) * scale
					m[i], v[i] = b1*m[i]+(1-b1)*x, b2*v[i]+(1-b2)*x*x
					w[i] = w[i]*(1-lr*wd) - lr*(m[i]/(1-math.Pow(b1, float64(step))))/(math.Sqrt(v[i]/(1-math.Pow(b2, float64(step))))+eps)
				}
				p.SetGrad(g.ChannelsLast())
				opt.Step(lr, scale)
				if p.Grad() != nil {
					t.Error("the gradient is still there")
				}
			}
			got = To[float32](p.Detach())
			for _, x := range w {
				want = append(want, float32(x))
			}
		})
		return got, want
	}
	got, want := update(1)
	for i := range want {
		if math.Abs(float64(got[i]-want[i])) > 2e-6 {
			t.Fatalf("weight %d is %v, want %v", i, got[i], want[i])
		}
	}
	if other, _ := update(2); !slices.Equal(got, other) {
		t.Error("two threads give other bits than one")
	}
}

// An operator that libtorch knows to give other bits each time is refused, and
// only while asked for.
func TestDeterministicMode(t *testing.T) {
	// Which of several values for one place wins isn't said.
	put := func() (err error) {
		defer Catch(&err)
		Scope(func() {
			Call("aten::put_", Zeros(CPU, Float32, 3), From(CPU, []int64{0, 0}, 2), From(CPU, []float32{1, 2}, 2), false)
		})
		return nil
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	SetDeterministic(true)
	err := put()
	SetDeterministic(false)
	if err == nil || !strings.Contains(err.Error(), "deterministic") {
		t.Errorf("got %v", err)
	}
	if err := put(); err != nil {
		t.Errorf("still refused: %v", err)
	}
	if os.Getenv("CUBLAS_WORKSPACE_CONFIG") == "" {
		t.Error("cuBLAS isn't told")
	}
}

func TestManualSeedMakesTheSameNumbers(t *testing.T) {
	Scope(func() {
		draw := func(seed int64) []float32 {
			ManualSeed(seed)
			return To[float32](Randn(CPU, 4))
		}
		if a, b := draw(7), draw(7); !slices.Equal(a, b) {
			t.Errorf("%v then %v from one seed", a, b)
		}
		if a, b := draw(7), draw(8); slices.Equal(a, b) {
			t.Errorf("%v from two seeds", a)
		}
	})
}
