// Package dist makes processes compute together, on one machine or many: over
// libtorch's c10d with Gloo on CPUs and NCCL on GPUs. All collectives of a group
// must be called by all its processes in one order, from one goroutine.
//
// A nil *Group is a process alone: of rank 0 and size 1, whose collectives
// change nothing.
package dist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"arf/torch"
)

// Options of Open. A zero takes the value in the comment.
type Options struct {
	// Join is how long the processes wait for each other at the start; 0 = 5 minutes.
	Join time.Duration
	// Timeout is the longest that a collective waits for processes that live; 0 =
	// 30 minutes. Dead ones are found in seconds. Agree and Lead wait longer.
	Timeout time.Duration

	timing timing
}

// Group is this process among the others.
type Group struct {
	env    Env
	device torch.Device
	pg     *torch.ProcessGroup
	store  *torch.Store
	watch  *watch
	agreed uint64 // calls of Agree
	alone  bool   // rank 0 is in one, and the others wait for it
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// Open waits for all processes of e and joins them. device is where this one's
// tensors are. The group must be closed.
func Open(ctx context.Context, e *Env, device torch.Device, o Options) (g *Group, err error) {
	if e == nil {
		return nil, nil
	}
	// A write of the engine's to a process that is gone shall be an error that names it, not this process's end.
	signal.Ignore(syscall.SIGPIPE)
	o.Join, o.Timeout = cmp.Or(o.Join, 5*time.Minute), cmp.Or(o.Timeout, 30*time.Minute)
	o.timing = cmp.Or(o.timing, usual)
	g = &Group{env: *e, device: device}
	if err := g.open(ctx, o); err != nil {
		return nil, fmt.Errorf("join the %d processes at %s as rank %d: %w", e.Size, net.JoinHostPort(e.Addr, strconv.Itoa(e.Port)), e.Rank, err)
	}
	return g, nil
}

func (g *Group) open(ctx context.Context, o Options) error {
	e := g.env
	gloo, nccl := torch.Backends()
	switch {
	case g.device.IsCUDA() && !nccl:
		return errors.New("this engine has no NCCL for processes on GPUs; build it against a CUDA libtorch (LIBTORCH=… make engine), or use --device cpu")
	case !g.device.IsCUDA() && !gloo:
		return errors.New("this engine has no Gloo for processes on CPUs; install its headers (Debian: libgloo-dev) and run `make engine`")
	}
	ctx, stop := context.WithTimeoutCause(ctx, o.Join, fmt.Errorf("not all were there within %v", o.Join))
	defer stop()
	// What libtorch waits for can't be cancelled; the process ends with an error
	// before that is done.
	err := g.openStore(ctx, o)
	if err != nil {
		return err
	}
	host, _ := os.Hostname()
	own := member{Rank: e.Rank, Size: e.Size, PID: os.Getpid(), Host: host, Engine: "libtorch " + torch.Version()}
	if g.watch, err = g.openWatch(ctx, own, o.timing); err != nil {
		return err
	}
	address := g.watch.address
	if name, _, _ := strings.Cut(os.Getenv("GLOO_SOCKET_IFNAME"), ","); name != "" {
		address = "@" + name
	}
	g.ctx, g.cancel = context.WithCancelCause(context.Background())
	joined := make(chan *torch.ProcessGroup, 1)
	g.watch.start(func(c *cause) {
		g.cancel(c)
		select {
		case pg := <-joined:
			pg.Abort(c.Text)
		default:
		}
	})
	err = abandon(ctx, func() (err error) {
		g.pg, err = torch.OpenProcessGroup(g.store, e.Rank, e.Size, g.device.IsCUDA(), address, o.Timeout)
		return err
	}, g.watch.failed)
	if err == nil {
		joined <- g.pg
		if g.watch.hasFailed() {
			g.pg.Abort(g.watch.cause.Text)
		}
		err = g.Barrier()
	}
	if err != nil {
		return g.Close(err)
	}
	slog.Debug("joined the process group", "rank", e.Rank, "size", e.Size, "address", address)
	return nil
}

// servedWithin is how long torchrun's store, which is there before the processes
// are, may take to answer.
const servedWithin = 20 * time.Second

func (g *Group) openStore(ctx context.Context, o Options) error {
	e := g.env
	if !e.served {
		return abandon(ctx, func() (err error) {
			g.store, err = torch.OpenStore(e.Addr, e.Port, e.Rank == 0, "", o.Join)
			return err
		})
	}
	ctx, stop := context.WithTimeoutCause(ctx, servedWithin, fmt.Errorf("no answer within %v", servedWithin))
	defer stop()
	err := abandon(ctx, func() (err error) {
		if g.store, err = torch.OpenStore(e.Addr, e.Port, false, e.prefix, o.Join); err != nil {
			return err
		}
		// An answer that needs no other process.
		key := fmt.Sprintf("joins/%d", e.Rank)
		if err = g.store.Set(key, "yes"); err == nil {
			_, err = g.store.Get(key)
		}
		return err
	})
	if err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("torchrun's store: %w; where its PyTorch isn't this engine's libtorch %s, it may speak another protocol: "+
			"start it with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment, or build the engine against its PyTorch (LIBTORCH=… make engine)",
			err, torch.Version())
	}
	return err
}

func (g *Group) openWatch(ctx context.Context, own member, t timing) (*watch, error) {
	if own.Rank == 0 {
		return listenWatch(ctx, own, t, func(port string) error { return g.store.Set("watch", port) })
	}
	var port string
	err := abandon(ctx, func() (err error) {
		port, err = g.store.Get("watch")
		return err
	})
	if err != nil {
		return nil, err
	}
	return joinWatch(ctx, own, t, net.JoinHostPort(g.env.Addr, port))
}

// abandon runs f, but doesn't wait for it beyond ctx or the closing of a stop.
func abandon(ctx context.Context, f func() error, stops ...<-chan struct{}) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	var stop <-chan struct{}
	for _, s := range stops {
		stop = s
	}
	select {
	case err := <-done:
		return err
	case <-stop:
		return errAbandoned
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errAbandoned = errors.New("another process failed")

func (w *watch) hasFailed() bool {
	select {
	case <-w.failed:
		return true
	default:
		return false
	}
}

// Rank is this process's number; rank 0 leads.
func (g *Group) Rank() int {
	if g == nil {
		return 0
	}
	return g.env.Rank
}

// Size is the number of processes.
func (g *Group) Size() int {
	if g == nil {
		return 1
	}
	return g.env.Size
}

// Leads tells whether this process writes what all have made.
func (g *Group) Leads() bool { return g.Rank() == 0 }

// Device is where this process computes; the CPU for a process alone.
func (g *Group) Device() torch.Device {
	if g == nil {
		return torch.CPU
	}
	return g.device
}

// Context ends with ctx, and when any process fails; its cause says which and why.
func (g *Group) Context(ctx context.Context) (context.Context, context.CancelFunc) {
	if g == nil {
		return context.WithCancel(ctx)
	}
	own, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(g.ctx, func() { cancel(context.Cause(g.ctx)) })
	return own, func() { stop(); cancel(nil) }
}

// Explain gives the cause of a failed collective: another process's failure,
// where there is one. Other errors it gives back.
func (g *Group) Explain(err error) error {
	var engine *torch.Error
	if g == nil || err == nil || !(errors.As(err, &engine) && engine.CollectiveFailed() || errors.Is(err, errAbandoned)) {
		return err
	}
	// A broken connection shows before its reason is told.
	select {
	case <-g.watch.failed:
		return g.watch.cause
	case <-time.After(g.watch.t.verdict):
		return err
	}
}

// Close leaves the group. With an error, that of this process's work, it tells
// the others why it fails, and returns the error; where another process failed
// first, that one's. Without, it waits for the others.
func (g *Group) Close(err error) error {
	if g == nil {
		return err
	}
	if err == nil {
		err = g.Barrier()
	}
	if err == nil {
		g.watch.leave()
		g.pg.Close()
		g.store.Close()
		g.cancel(nil)
		return nil
	}
	// What is left of libtorch's group would wait for the others: the process ends.
	err = g.Explain(err)
	if !g.watch.hasFailed() {
		g.watch.fail(&cause{
			Rank: g.env.Rank, Text: fmt.Sprintf("%s failed: %v", g.watch.own, err), Interrupted: errors.Is(err, context.Canceled),
		})
	}
	g.watch.leave()
	return err
}
