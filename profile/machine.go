package profile

import (
	"time"

	"arf/torch"
)

// Machine is what the device reaches at best, measured in this process.
type Machine struct {
	GFLOPs        float64 `json:"gflops"`         // of a matrix product in the run's precision, a second
	GFLOPsFloat32 float64 `json:"gflops_float32"` // the same in float32
	GBPerSecond   float64 `json:"gb_per_second"`  // read and written by a copy
	GEMMSize      int     `json:"gemm_size"`      // rows and columns of that product
	CopyBytes     int     `json:"copied_bytes"`   // of that copy
	MeasuredTimes int     `json:"measured_times"` // of which the best counts
}

func measureMachine(d torch.Device, precision torch.DType) Machine {
	m := Machine{GEMMSize: 2048, CopyBytes: 256 << 20, MeasuredTimes: 5}
	if d.IsCUDA() {
		m.GEMMSize, m.CopyBytes = 8192, 1<<30
	}
	m.GFLOPsFloat32 = m.gemm(d, torch.Float32)
	m.GFLOPs = m.GFLOPsFloat32
	if precision != torch.Float32 {
		m.GFLOPs = m.gemm(d, precision)
	}
	torch.Scope(func() {
		torch.NoGrad(func() {
			from := torch.Zeros(d, torch.Float32, m.CopyBytes/4)
			to := from.ZerosLike()
			m.GBPerSecond = 2 * float64(m.CopyBytes) / 1e9 / m.best(d, func() { to.Copy_(from) })
		})
	})
	return m
}

func (m Machine) gemm(d torch.Device, precision torch.DType) (gflops float64) {
	torch.Scope(func() {
		torch.NoGrad(func() {
			n := m.GEMMSize
			a, b := torch.Randn(d, n, n).Cast(precision), torch.Randn(d, n, n).Cast(precision)
			seconds := m.best(d, func() { torch.Scope(func() { a.MatMul(b) }) })
			gflops = 2 * float64(n) * float64(n) * float64(n) / 1e9 / seconds
		})
	})
	return gflops
}

// best is the shortest time of fn, which is run once before.
func (m Machine) best(d torch.Device, fn func()) float64 {
	fn()
	torch.Synchronize(d)
	shortest := 0.0
	for i := range m.MeasuredTimes {
		began := time.Now()
		fn()
		torch.Synchronize(d)
		if s := time.Since(began).Seconds(); i == 0 || s < shortest {
			shortest = s
		}
	}
	return shortest
}
