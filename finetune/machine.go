package finetune

import (
	"fmt"
	"log/slog"
	"os"

	"arf/dist"
	"arf/internal/ram"

	"github.com/dustin/go-humanize"
)

// machine is the plans of the processes that share a machine's memory.
type machine struct {
	plans     []plan
	available int64 // with what they hold; 0 = not known
}

// warnOfMemory says before the first step what would fit where it doesn't. All
// processes of the group call it.
func (t *task) warnOfMemory(b *Batch) error {
	m, speaks, err := t.machine(b)
	if err == nil && speaks {
		m.warn(t.o.MicroBatch)
	}
	return err
}

// machine estimates a step of all processes on this process's machine; one of
// them speaks.
func (t *task) machine(b *Batch) (m machine, speaks bool, err error) {
	type own struct {
		Plan        plan
		Rows, Pairs int
		Host        string
		Free        int64
	}
	p := own{Plan: t.measure(b, t.resumed), Rows: len(b.Samples) + len(b.Rows) + len(b.Tokens), Pairs: max(len(b.Samples), len(b.Rows))}
	p.Host, _ = os.Hostname() // a container has a memory, and mostly a name, of its own
	// What others take for a moment to measure isn't to count as taken.
	if err := t.o.Group.Barrier(); err != nil {
		return m, false, err
	}
	p.Free = ram.Available()
	all, err := dist.GatherOf(t.o.Group, p)
	if err != nil {
		return m, false, err
	}
	rows, pairs, first := 0, 0, -1
	free, held := int64(0), int64(0)
	for rank, other := range all {
		rows, pairs = max(rows, other.Rows), max(pairs, other.Pairs)
		if other.Host != p.Host {
			continue
		}
		if first < 0 {
			first, free = rank, other.Free
		}
		free, held = min(free, other.Free), held+other.Plan.Held
		m.plans = append(m.plans, other.Plan)
	}
	for i := range m.plans {
		m.plans[i].Global = t.globalBytes(rows, pairs)
	}
	if free > 0 {
		m.available = free + held
	}
	return m, first == t.o.Group.Rank(), nil
}

func (m machine) need(micro int) (bytes int64) {
	for _, p := range m.plans {
		bytes += p.need(micro)
	}
	return bytes
}

// microBatch is the largest power of two that leaves a tenth of what is
// available; 0 if there is none.
func (m machine) microBatch() int {
	most, fits := 0, 0
	for _, p := range m.plans {
		most = max(most, p.Images, p.Texts)
	}
	for n := 1; n < most && m.need(n) < m.available/10*9; n *= 2 {
		fits = n
	}
	return fits
}

// warn says what would fit where the step doesn't. It's an estimate, so that the
// run goes on. A GPU says itself when its memory ends; a CPU's process is killed.
func (m machine) warn(micro int) {
	need := m.need(micro)
	if m.available == 0 || need < m.available {
		return
	}
	who, they, end, fewer := "a step needs", "a step needs", "the program", "take a smaller model"
	if n := len(m.plans); n > 1 {
		who, they, end = fmt.Sprintf("the %d processes of this machine need for a step", n), "they need", "them"
		fewer = "start fewer processes on it, or " + fewer
	}
	bytes := func(n int64) string { return humanize.IBytes(uint64(n)) }
	text := fmt.Sprintf("%s about %s of memory, and %s are free; the system may end %s", who, bytes(need), bytes(m.available), end)
	if fits := m.microBatch(); fits > 0 {
		slog.Warn(fmt.Sprintf("%s: with train.micro_batch=%d %s about %s", text, fits, they, bytes(m.need(fits))))
		return
	}
	slog.Warn(text + ": not even one image at a time fits; " + fewer)
}
