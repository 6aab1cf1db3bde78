package dist

import (
	"encoding/json"
	"errors"
	"fmt"

	"arf/torch"
)

// AllReduce replaces t by its sum over the processes; all get the same bits.
func (g *Group) AllReduce(t *torch.Tensor) (err error) {
	if g == nil {
		return nil
	}
	return g.do(func() { g.pg.AllReduce(t) })
}

// AllGather concatenates the processes' t [n, …] to [Size·n, …], in the order of
// ranks; all must have one shape. Its Backward is a collective; see
// torch.ProcessGroup.AllGather.
func (g *Group) AllGather(t *torch.Tensor) (all *torch.Tensor, err error) {
	if g == nil {
		return t, nil
	}
	err = g.do(func() { all = g.pg.AllGather(t) })
	return all, err
}

// Broadcast replaces t by rank 0's.
func (g *Group) Broadcast(t *torch.Tensor) error {
	if g == nil {
		return nil
	}
	return g.do(func() { g.pg.Broadcast(t, 0) })
}

// Barrier waits until all processes are there.
func (g *Group) Barrier() error {
	if g == nil {
		return nil
	}
	return g.do(func() {
		torch.Scope(func() { g.pg.AllReduce(torch.From(g.device, []int64{1}, 1)) })
	})
}

func (g *Group) do(f func()) error {
	if g.alone {
		return errAlone
	}
	caught := func() (err error) {
		defer torch.Catch(&err)
		f()
		return nil
	}()
	return g.Explain(caught)
}

// errAlone is told rather than waited for: the others are in Agree.
var errAlone = errors.New("a collective inside of Agree or Lead, where the other processes wait for rank 0 and take no part")

// Sum adds up values over the processes, in place.
func (g *Group) Sum(values []float64) error {
	if g == nil || len(values) == 0 {
		return nil
	}
	return g.do(func() {
		torch.Scope(func() {
			t := torch.From(g.device, values, len(values))
			g.pg.AllReduce(t)
			copy(values, torch.To[float64](t))
		})
	})
}

// Counts gives each process's n, by rank.
func (g *Group) Counts(n int64) (all []int64, err error) {
	if g == nil {
		return []int64{n}, nil
	}
	err = g.do(func() {
		torch.Scope(func() { all = torch.To[int64](g.pg.AllGather(torch.From(g.device, []int64{n}, 1))) })
	})
	return all, err
}

// Gather gives each process's bytes, by rank, to all processes.
func (g *Group) Gather(data []byte) ([][]byte, error) {
	if g == nil {
		return [][]byte{data}, nil
	}
	sizes, err := g.Counts(int64(len(data)))
	if err != nil {
		return nil, err
	}
	most := int64(0)
	for _, n := range sizes {
		most = max(most, n)
	}
	all := make([][]byte, len(sizes))
	if most == 0 {
		return all, nil
	}
	padded := make([]byte, most)
	copy(padded, data)
	err = g.do(func() {
		torch.Scope(func() {
			joined := torch.To[uint8](g.pg.AllGather(torch.From(g.device, padded, int(most))))
			for i, n := range sizes {
				all[i] = joined[int64(i)*most:][:n]
			}
		})
	})
	return all, err
}

// GatherOf is Gather of a value that JSON can hold.
func GatherOf[T any](g *Group, own T) ([]T, error) {
	if g == nil {
		return []T{own}, nil
	}
	data, err := json.Marshal(own)
	if err != nil {
		return nil, err
	}
	parts, err := g.Gather(data)
	if err != nil {
		return nil, err
	}
	all := make([]T, len(parts))
	for i, p := range parts {
		if err := json.Unmarshal(p, &all[i]); err != nil {
			return nil, fmt.Errorf("what rank %d sent: %w", i, err)
		}
	}
	return all, nil
}

// Agree gives what rank 0 finds, a value that JSON can hold, to all processes.
// An error of rank 0 ends all once it closes the group. The others wait for as
// long as rank 0 lives, however long it takes, such as to search a large pool.
func Agree[T any](g *Group, find func() (T, error)) (value T, err error) {
	if g == nil {
		return find()
	}
	if g.alone { // else the others would take this value for the outer one
		return value, errAlone
	}
	var data []byte
	g.agreed++
	if g.Leads() {
		value, err = func() (T, error) {
			g.alone = true
			defer func() { g.alone = false }() // also if find panics
			return find()
		}()
		if err != nil {
			return value, err
		}
		if data, err = json.Marshal(value); err != nil {
			return value, err
		}
		g.watch.announce(g.agreed)
	} else if err := g.watch.await(g.agreed); err != nil {
		return value, g.Explain(err)
	}
	err = g.do(func() {
		torch.Scope(func() {
			size := torch.From(g.device, []int64{int64(len(data))}, 1)
			g.pg.Broadcast(size, 0)
			content := make([]byte, torch.To[int64](size)[0])
			copy(content, data)
			t := torch.From(g.device, content, len(content))
			g.pg.Broadcast(t, 0)
			data = torch.To[uint8](t)
		})
	})
	if err != nil || g.Leads() {
		return value, err
	}
	return value, json.Unmarshal(data, &value)
}

// Lead has rank 0 do what only one process may, and the others wait for it.
func (g *Group) Lead(f func() error) error {
	_, err := Agree(g, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// Share gives the part [from, to) of n things that is this process's: the parts
// are in the order of ranks and differ in size by at most one.
func (g *Group) Share(n int) (from, to int) {
	return n * g.Rank() / g.Size(), n * (g.Rank() + 1) / g.Size()
}

// BucketBytes is the size of the buckets that so many bytes of gradients are
// summed in: 25 MB, as DistributedDataParallel's, large enough that a message's
// latency doesn't count. Of a small model it's an eighth, since the last bucket
// has no backward pass left to travel in.
func BucketBytes(gradients int64) int64 {
	return min(25<<20, max(1<<20, gradients/8))
}

// NewReducer sums the gradients of params over the processes; nil for a process alone.
func (g *Group) NewReducer(params []*torch.Tensor) (r *torch.Reducer, err error) {
	if g == nil {
		return nil, nil
	}
	bytes := int64(0)
	for _, p := range params {
		bytes += 4 * int64(torch.Elements(p.Shape()))
	}
	err = g.do(func() { r = g.pg.NewReducer(params, BucketBytes(bytes)) })
	return r, err
}
