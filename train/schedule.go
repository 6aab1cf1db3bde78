package train

import "math"

// Schedule is the learning rate over a run: linear warm-up, then a cosine down
// to Final·LR at the last step, per step (FLYP: src/models/utils.py).
type Schedule struct {
	LR          float64
	WarmupSteps int
	Steps       int
	Final       float64 // fraction of LR at the end, usually 0
}

// At gives the learning rate of a step counted from 0.
func (s Schedule) At(step int) float64 {
	if step < s.WarmupSteps {
		return s.LR * float64(step+1) / float64(s.WarmupSteps)
	}
	done := float64(step-s.WarmupSteps) / math.Max(1, float64(s.Steps-s.WarmupSteps))
	return s.LR * (s.Final + (1-s.Final)*0.5*(1+math.Cos(math.Pi*math.Min(done, 1))))
}
