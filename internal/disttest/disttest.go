// Package disttest runs tests on several real processes: the test's own program,
// started again.
package disttest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"arf/dist"
	"arf/torch"
)

const (
	workerVariable = "ARF_TEST_WORKER"
	argsVariable   = "ARF_TEST_ARGS"
)

// Worker is what each process runs. What it prints on the standard output is
// its result.
type Worker func(ctx context.Context, g *dist.Group, args []string) error

// TB stands for the test, which a worker hasn't, in helpers that only fail.
type TB struct{ testing.TB }

// Helper does nothing.
func (TB) Helper() {}

// Fatal ends the worker.
func (TB) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// Main runs the named worker and ends, in a process that Start made; elsewhere
// it does nothing. Call it first in TestMain.
func Main(workers map[string]Worker) {
	name := os.Getenv(workerVariable)
	if name == "" {
		return
	}
	torch.SetThreads(1)
	if err := run(workers[name]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(w Worker) (err error) {
	env, err := dist.FromEnv()
	if err != nil {
		return err
	}
	g, err := dist.Open(context.Background(), env, torch.CPU, dist.Options{Join: time.Minute})
	if err != nil {
		return err
	}
	defer func() { err = g.Close(err) }()
	ctx, cancel := g.Context(context.Background())
	defer cancel()
	return w(ctx, g, strings.Split(os.Getenv(argsVariable), "\n"))
}

// Rank is a process that Start made.
type Rank struct {
	Process  *os.Process
	Out, Err Output
	Ended    chan struct{} // closed when it has; then the following are set
	Status   error
	At       time.Time
}

// Output is what a process has printed so far.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Ranks are the processes of one group.
type Ranks []*Rank

// Start starts a worker on n processes. They are killed when the test ends.
func Start(t testing.TB, n int, worker string, args ...string) Ranks {
	t.Helper()
	return StartEnv(t, n, nil, worker, args...)
}

// StartEnv is Start with further environment variables, which count before its own.
func StartEnv(t testing.TB, n int, env []string, worker string, args ...string) Ranks {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	var rs Ranks
	for i := range n {
		r := &Rank{Ended: make(chan struct{})}
		cmd := exec.Command(os.Args[0])
		cmd.Stdout, cmd.Stderr = &r.Out, &r.Err
		cmd.Env = append(os.Environ(), workerVariable+"="+worker, argsVariable+"="+strings.Join(args, "\n"),
			"RANK="+strconv.Itoa(i), "WORLD_SIZE="+strconv.Itoa(n), "LOCAL_RANK="+strconv.Itoa(i), "LOCAL_WORLD_SIZE="+strconv.Itoa(n),
			"MASTER_ADDR=127.0.0.1", "MASTER_PORT="+strconv.Itoa(port))
		cmd.Env = append(cmd.Env, env...) // of two values the last counts
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r.Process = cmd.Process
		t.Cleanup(func() { _ = r.Process.Kill(); <-r.Ended })
		rs = append(rs, r)
		go func() {
			r.Status = cmd.Wait()
			r.At = time.Now()
			close(r.Ended)
		}()
	}
	return rs
}

// Wait waits until all have ended, or fails the test.
func (rs Ranks) Wait(t testing.TB, limit time.Duration) {
	t.Helper()
	deadline := time.After(limit)
	for _, r := range rs {
		select {
		case <-r.Ended:
		case <-deadline:
			var said strings.Builder
			for i, r := range rs {
				fmt.Fprintf(&said, "rank %d: %s\n", i, r.Err.String())
			}
			t.Fatalf("not all processes ended within %v:\n%s", limit, said.String())
		}
	}
}

// Printed waits until each has printed text on its standard output.
func (rs Ranks) Printed(t testing.TB, text string, limit time.Duration) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for i, r := range rs {
		for !strings.Contains(r.Out.String(), text) {
			if time.Now().After(deadline) {
				t.Fatalf("rank %d has not printed %q within %v: %s", i, text, limit, r.Err.String())
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// Run is Start and Wait for processes that succeed; it gives what they printed.
func Run(t testing.TB, n int, worker string, args ...string) []string {
	t.Helper()
	rs := Start(t, n, worker, args...)
	rs.Wait(t, 3*time.Minute)
	var out []string
	for i, r := range rs {
		if r.Status != nil {
			t.Fatalf("rank %d: %v\n%s%s", i, r.Status, r.Out.String(), r.Err.String())
		}
		out = append(out, r.Out.String())
	}
	return out
}
