package eval

import (
	"errors"
	"fmt"
	"math"
)

// Point is one model's accuracy in distribution and under a shift, each in
// [0, 1].
type Point struct{ ID, Shift float64 }

// LogitLine predicts accuracy under shift from accuracy in distribution:
// logit(shift) = Slope·logit(id) + Intercept.
type LogitLine struct{ Slope, Intercept float64 }

// FitLogitLine fits the line to baseline models by least squares (Taori et al.
// 2020, §2.1: a linear fit of logit-scaled accuracies). It takes at least two
// models of different accuracy in distribution. Accuracies of 0 and 1 have no
// logit, and are an error.
func FitLogitLine(baseline []Point) (LogitLine, error) {
	if len(baseline) < 2 {
		return LogitLine{}, fmt.Errorf("effective robustness: %d baseline models; a line needs two or more", len(baseline))
	}
	var mx, my float64
	for _, p := range baseline {
		if err := p.check(); err != nil {
			return LogitLine{}, err
		}
		mx, my = mx+logit(p.ID), my+logit(p.Shift)
	}
	n := float64(len(baseline))
	mx, my = mx/n, my/n
	var xx, xy float64
	for _, p := range baseline {
		dx := logit(p.ID) - mx
		xx, xy = xx+dx*dx, xy+dx*(logit(p.Shift)-my)
	}
	// Rounding leaves a trace of variance where there is none.
	if xx <= 1e-18*n*(1+mx*mx) {
		return LogitLine{}, errors.New("effective robustness: the baseline models have the same accuracy in distribution; a line needs different ones")
	}
	slope := xy / xx
	return LogitLine{slope, my - slope*mx}, nil
}

// Predict gives the accuracy under shift that the baseline models would have,
// in [0, 1]. id is in [0, 1].
func (l LogitLine) Predict(id float64) float64 {
	if l.Slope == 0 {
		return 1 / (1 + math.Exp(-l.Intercept))
	}
	return 1 / (1 + math.Exp(-(l.Slope*logit(id) + l.Intercept)))
}

// EffectiveRobustness is a model's accuracy under shift beyond the baseline's at
// the same accuracy in distribution (Taori et al. 2020, eq. 1).
func (l LogitLine) EffectiveRobustness(p Point) float64 { return p.Shift - l.Predict(p.ID) }

func (p Point) check() error {
	for _, v := range []float64{p.ID, p.Shift} {
		if !(v > 0 && v < 1) {
			return fmt.Errorf("effective robustness: a baseline accuracy is %v, which has no logit; leave that model out", v)
		}
	}
	return nil
}

func logit(p float64) float64 { return math.Log(p / (1 - p)) }
