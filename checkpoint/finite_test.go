package checkpoint

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"arf/torch"
)

func TestCheckFinite(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(-1)
	for _, dtype := range []torch.DType{torch.Float16, torch.BFloat16, torch.Float32, torch.Float64} {
		largest := map[torch.DType]float64{torch.Float16: 65504, torch.BFloat16: 3e38, torch.Float32: math.MaxFloat32, torch.Float64: math.MaxFloat64}[dtype]
		for _, n := range []int{0, 1, 3, 4, 5, 513, 4097} {
			values := make([]float64, n)
			for i := range values {
				values[i] = largest * float64(1-i%3) // largest, 0, -largest
			}
			check := func() error {
				var tensors Tensors
				torch.Scope(func() {
					tensors = Tensors{"a": {DType: torch.Int64, Shape: []int{1}, Data: []byte{255, 255, 255, 255, 255, 255, 255, 255}},
						"b": FromTorch(torch.From(torch.CPU, values, n).Cast(dtype))}
				})
				return tensors.CheckFinite()
			}
			if err := check(); err != nil {
				t.Errorf("%v, %d elements: %v", dtype, n, err)
			}
			for _, bad := range []float64{nan, inf} {
				for _, i := range []int{0, n / 2, n - 1} {
					if n == 0 {
						continue
					}
					was := values[i]
					values[i] = bad
					if err := check(); err == nil || !strings.Contains(err.Error(), "tensor b: element ") {
						t.Errorf("%v, %g at %d of %d: got %v", dtype, bad, i, n, err)
					} else if want := fmt.Sprintf(" %d of", i); !strings.Contains(err.Error(), want) {
						t.Errorf("%v, %g at %d of %d: got %v", dtype, bad, i, n, err)
					}
					values[i] = was
				}
			}
		}
	}
}

func BenchmarkCheckFinite(b *testing.B) {
	tensors := Tensors{"w": {DType: torch.Float32, Shape: []int{1 << 24}, Data: make([]byte, 4<<24)}}
	b.SetBytes(4 << 24)
	for b.Loop() {
		if err := tensors.CheckFinite(); err != nil {
			b.Fatal(err)
		}
	}
}
