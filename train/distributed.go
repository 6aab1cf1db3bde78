package train

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"arf/dist"
	"arf/nn"
	"arf/profile"
	"arf/torch"
)

// join gives all processes of the group the weights, the optimiser's state, the
// step and the number of steps skipped up to it of rank 0, which alone has the run's folder. A process that was
// started with another config or other data is an error.
func join(g *dist.Group, hash string, start, skipped int, params []nn.Param, opt *torch.AdamW) (int, int, error) {
	if g == nil {
		return start, skipped, nil
	}
	type begin struct {
		Step, Updates, Skipped int
		Hash                   string
	}
	all, err := dist.GatherOf(g, begin{start, opt.Steps, skipped, hash})
	if err != nil {
		return 0, 0, err
	}
	for rank, b := range all {
		if b.Hash != all[0].Hash {
			return 0, 0, fmt.Errorf("rank %d was started with another config or other data than rank 0; give all processes the same", rank)
		}
	}
	start, opt.Steps, skipped = all[0].Step, all[0].Updates, all[0].Skipped
	for _, p := range params {
		if err := g.Broadcast(p.Tensor); err != nil {
			return 0, 0, err
		}
	}
	if opt.Steps == 0 {
		return start, skipped, nil
	}
	for i := range opt.Groups {
		group := &opt.Groups[i]
		group.MakeState()
		for _, t := range slices.Concat(group.M, group.V) {
			if err := g.Broadcast(t); err != nil {
				return 0, 0, err
			}
		}
	}
	return start, skipped, nil
}

// ranks sums up what the processes of a group compute; nil for a process alone.
type ranks struct {
	group   *dist.Group
	reducer *torch.Reducer
}

func newRanks(g *dist.Group, trained []*torch.Tensor) (*ranks, error) {
	if g == nil {
		return nil, nil
	}
	var watched []*torch.Tensor // the task may have frozen some
	for _, p := range trained {
		if p.RequiresGrad() {
			watched = append(watched, p)
		}
	}
	reducer, err := g.NewReducer(watched)
	return &ranks{g, reducer}, err
}

func (r *ranks) close() {
	if r != nil {
		r.reducer.Close()
	}
}

// backward leaves in every process the gradient of the sum of all their losses.
func (r *ranks) backward(l Loss, p *profile.Profile) {
	p.Phase("backward")
	defer p.Phase(profile.Other)
	switch {
	case r == nil && l.Backward == nil:
		l.Total.Backward()
		return
	case r == nil:
		l.Backward()
		return
	case l.Backward == nil:
		r.reducer.Begin()
		l.Total.Backward()
	default: // weights get their gradients bit by bit, so these travel after it
		l.Backward()
		r.reducer.Begin()
	}
	p.Phase("gradient sums")
	p.Sums(r.reducer.Finish())
}

// sum makes the processes' parts of the loss and its terms whole, and tells
// whether any process is to stop. All must have the same terms.
func (r *ranks) sum(m *Metrics, samples *int, stop bool) (bool, error) {
	if r == nil {
		return stop, nil
	}
	names := slices.Sorted(maps.Keys(m.Terms))
	values := []float64{m.Loss, float64(*samples), 0}
	if stop {
		values[2] = 1
	}
	for _, name := range names {
		values = append(values, m.Terms[name])
	}
	if err := r.group.Sum(values); err != nil {
		return false, err
	}
	m.Loss, *samples = values[0], int(values[1])
	for i, name := range names {
		m.Terms[name] = values[3+i]
	}
	return values[2] > 0, nil
}

// dataContext is the context of the task's data. In a group it doesn't end with
// ctx: the processes agree on the step after which they stop.
func dataContext(ctx context.Context, g *dist.Group) (context.Context, context.CancelFunc) {
	if g != nil {
		ctx = context.WithoutCancel(ctx)
	}
	return context.WithCancel(ctx)
}
