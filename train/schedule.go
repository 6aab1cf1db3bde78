package train

import "math"

// Schedule is the learning rate over a run: linear warm-up to LR, then down to
// 0 at the last step, per step. The way down is a cosine (as in FLYP,
// src/models/utils.py), or with Cooldown set a constant followed by a straight
// line over that last fraction of the steps. The latter lets a long run be
// lengthened or cut short up to where its cool-down begins.
type Schedule struct {
	LR          float64
	WarmupSteps int
	Steps       int
	Cooldown    float64 // 0 = cosine; else the fraction of Steps, up to 1
}

// At gives the learning rate of a step counted from 0.
func (s Schedule) At(step int) float64 {
	if step < s.WarmupSteps {
		return s.LR * float64(step+1) / float64(s.WarmupSteps)
	}
	if s.Cooldown > 0 {
		left := float64(s.Steps-step) / math.Max(1, s.Cooldown*float64(s.Steps))
		return s.LR * math.Max(0, math.Min(1, left))
	}
	done := float64(step-s.WarmupSteps) / math.Max(1, float64(s.Steps-s.WarmupSteps))
	return s.LR * 0.5 * (1 + math.Cos(math.Pi*math.Min(done, 1)))
}
