// Package profile finds out where the time of training steps goes: by phase of
// the step, by class of operator, and beside what the machine could do at best
// (its roofline; Williams et al. 2009).
package profile

import (
	"runtime"
	"slices"
	"time"

	"arf/torch"
)

// Profile measures Steps steps after Warmup others. The loop calls Begin and End
// around each step, and what works in it says by Phase what comes next. All
// methods of a nil Profile do nothing.
type Profile struct {
	Warmup, Steps int

	device  torch.Device
	phases  []Phase
	current int
	since   time.Time
	began   time.Time
	seen    int
	on      bool
	seconds float64 // of all measured steps
	ops     []torch.OpStats
	sums    *torch.Overlap
}

// Phase is a part of a step.
type Phase struct {
	Name            string  `json:"name"`
	Seconds         float64 `json:"seconds"`          // a step
	Share           float64 `json:"share"`            // of the step
	OperatorSeconds float64 `json:"operator_seconds"` // of Seconds, in libtorch's operators; the rest is Go, calls and waiting
	GFLOP           float64 `json:"gflop"`            // a step
}

// Other is the phase of all that is in no other: metrics, and what the loop does
// between steps.
const Other = "other"

// Begin starts a step on device d.
func (p *Profile) Begin(d torch.Device) {
	if p == nil {
		return
	}
	p.seen++
	if p.seen == p.Warmup+1 {
		p.device, p.on = d, true
		torch.Synchronize(d)
		torch.StartProfile()
		p.began = time.Now()
		p.since = p.began
		p.current = p.number(Other)
		torch.ProfilePhase(p.current)
	}
	p.Phase(Other)
}

// Phase ends the phase before and begins another.
func (p *Profile) Phase(name string) {
	if p == nil || !p.on {
		return
	}
	torch.Synchronize(p.device)
	now := time.Now()
	p.phases[p.current].Seconds += now.Sub(p.since).Seconds()
	p.current, p.since = p.number(name), now
	torch.ProfilePhase(p.current)
}

func (p *Profile) number(name string) int {
	i := slices.IndexFunc(p.phases, func(s Phase) bool { return s.Name == name })
	if i < 0 {
		i = len(p.phases)
		p.phases = append(p.phases, Phase{Name: name})
	}
	return i
}

// Sums tells how the gradients of a step were summed over several processes; the
// last step's is reported.
func (p *Profile) Sums(o torch.Overlap) {
	if p != nil && p.on {
		p.sums = &o
	}
}

// End ends a step, the last one also the profile.
func (p *Profile) End() {
	if p == nil {
		return
	}
	p.Phase(Other)
	if p.on && p.seen == p.Warmup+p.Steps {
		p.on = false
		p.seconds = p.since.Sub(p.began).Seconds() // what the phases add up to
		p.ops = torch.StopProfile()
	}
}

// Report sums up after the last step, per step. It also measures the machine.
// precision is that of the towers' products, samples the finetune images a step.
func (p *Profile) Report(precision torch.DType, samples int) *Report {
	steps := float64(p.Steps)
	r := &Report{
		Device: p.device.String(), Engine: "libtorch " + torch.Version(), Precision: precision.String(), Threads: torch.Threads(),
		Cores: runtime.NumCPU(), Steps: p.Steps, Samples: samples, StepSeconds: p.seconds / steps, SamplesPerSecond: float64(samples) * steps / p.seconds,
		Machine: measureMachine(p.device, precision), GradientSums: p.sums,
	}
	for _, phase := range p.phases {
		phase.Seconds /= steps
		phase.Share = phase.Seconds / r.StepSeconds
		r.Phases = append(r.Phases, phase)
	}
	classes := map[string]*Class{}
	operators := map[string]*Class{}
	for _, op := range p.ops {
		phase := &r.Phases[op.Phase]
		phase.OperatorSeconds += op.Seconds / steps
		phase.GFLOP += op.FLOPs / 1e9 / steps
		for of, name := range map[*map[string]*Class]string{&classes: classOf(op.Op), &operators: op.Op} {
			c := (*of)[name]
			if c == nil {
				c = &Class{Name: name}
				(*of)[name] = c
			}
			c.Calls += float64(op.Calls) / steps
			c.Seconds += op.Seconds / steps
			c.GFLOP += op.FLOPs / 1e9 / steps
			c.GB += op.Bytes / 1e9 / steps
		}
	}
	r.Classes, r.Operators = r.sorted(classes), r.sorted(operators)
	r.Operators = r.Operators[:min(len(r.Operators), 25)]
	for _, c := range r.Classes {
		r.GFLOP += c.GFLOP
		r.RooflineSeconds += c.RooflineSeconds
	}
	r.Utilisation = r.GFLOP / (r.StepSeconds * r.Machine.GFLOPs)
	return r
}
