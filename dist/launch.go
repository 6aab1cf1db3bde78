package dist

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// How long the other processes have after one failed: first to report and save
// by themselves, then when told to stop. Rank 0 may have gigabytes to save.
const (
	graceToReport = 30 * time.Second
	graceToStop   = 30 * time.Second
	graceToSave   = 10 * time.Minute
)

// Launch starts a command n times on this machine as one group, and waits. Lines
// that they print have the rank before them. When ctx ends all are interrupted,
// as by Ctrl-C. When one fails and the others don't end by themselves, they are
// stopped; the error says which failed first.
func Launch(ctx context.Context, n int, command []string, stdout, stderr io.Writer) error {
	if n < 1 {
		return fmt.Errorf("%d processes; want at least 1", n)
	}
	if e, err := FromEnv(); e != nil || err != nil {
		return errors.New("this process is itself one of several (WORLD_SIZE is set); launch from outside of them")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("find a free port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	l := &launch{ended: make(chan exit, n)}
	// A process that outlives this one is told to stop; the kernel goes by the
	// thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for rank := range n {
		if err := l.start(rank, n, port, command, stdout, stderr); err != nil {
			l.signal(syscall.SIGKILL, l.running)
			for range l.running {
				<-l.ended
			}
			return fmt.Errorf("start rank %d: %w", rank, err)
		}
	}
	return l.wait(ctx, stderr)
}

type launch struct {
	running []*exec.Cmd
	ended   chan exit
	lines   sync.Mutex
}

// exit is how a process ended.
type exit struct {
	rank int
	err  error
}

func (l *launch) start(rank, n, port int, command []string, stdout, stderr io.Writer) error {
	cmd := exec.Command(command[0], command[1:]...)
	cores := max(1, runtime.NumCPU()/n)
	cmd.Env = append(os.Environ(), "RANK="+strconv.Itoa(rank), "WORLD_SIZE="+strconv.Itoa(n),
		"LOCAL_RANK="+strconv.Itoa(rank), "LOCAL_WORLD_SIZE="+strconv.Itoa(n),
		"MASTER_ADDR=127.0.0.1", "MASTER_PORT="+strconv.Itoa(port))
	if os.Getenv("GOMAXPROCS") == "" {
		cmd.Env = append(cmd.Env, "GOMAXPROCS="+strconv.Itoa(cores))
	}
	// Its own group of the terminal: Ctrl-C comes from here, once.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	messages, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	l.running = append(l.running, cmd)
	var copied sync.WaitGroup
	prefix := fmt.Sprintf("[%d] ", rank)
	copied.Go(func() { l.copy(stdout, out, prefix) })
	copied.Go(func() { l.copy(stderr, messages, prefix) })
	go func() {
		copied.Wait()
		l.ended <- exit{rank, cmd.Wait()}
	}()
	return nil
}

// copy writes whole lines, so that those of different processes don't mix.
func (l *launch) copy(to io.Writer, from io.Reader, prefix string) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			if line[len(line)-1] != '\n' {
				line += "\n"
			}
			l.lines.Lock()
			_, _ = io.WriteString(to, prefix+line)
			l.lines.Unlock()
		}
		if err != nil {
			return
		}
	}
}

func (l *launch) signal(s syscall.Signal, to []*exec.Cmd) {
	for _, cmd := range to {
		_ = cmd.Process.Signal(s) // one that has ended gets none
	}
}

func (l *launch) wait(ctx context.Context, stderr io.Writer) error {
	interrupt := ctx.Done()
	var stop, kill, killAll <-chan time.Time
	var failed error
	interrupted := 0 // processes that an interruption ended
	for left := len(l.running); left > 0; {
		select {
		case e := <-l.ended:
			left--
			var status *exec.ExitError
			if e.err == nil {
				continue
			}
			if errors.As(e.err, &status) && status.ExitCode() == ExitInterrupted {
				interrupted++
				continue
			}
			if failed == nil {
				failed = fmt.Errorf("rank %d (process %d) ended with %w", e.rank, l.running[e.rank].Process.Pid, e.err)
				stop = time.After(graceToReport)
				l.lines.Lock()
				fmt.Fprintln(stderr, "arf launch:", failed)
				l.lines.Unlock()
			}
		case <-interrupt:
			interrupt = nil
			l.signal(syscall.SIGINT, l.running)
		case <-stop:
			l.signal(syscall.SIGTERM, l.running)
			kill, killAll = time.After(graceToStop), time.After(graceToSave)
		case <-kill:
			l.signal(syscall.SIGKILL, l.running[1:])
		case <-killAll:
			l.signal(syscall.SIGKILL, l.running)
		}
	}
	if failed == nil && interrupted > 0 {
		return context.Canceled
	}
	return failed
}

// ExitInterrupted is arf's exit status after an interruption that left a
// resumable run.
const ExitInterrupted = 130
