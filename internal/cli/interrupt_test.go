package cli

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The first signal ends the context, the second the process. The process is
// this test, started again, whose work doesn't heed its context.
func TestTheSecondInterruptQuits(t *testing.T) {
	const child = "ARF_TEST_INTERRUPTED"
	if os.Getenv(child) != "" {
		ctx, cancel := interruptible()
		defer cancel()
		os.Stdout.WriteString("ready\n")
		<-ctx.Done()
		os.Stdout.WriteString("saving\n")
		time.Sleep(time.Minute)
		return
	}
	for name, signals := range map[string][2]os.Signal{
		"Ctrl-C twice":       {os.Interrupt, os.Interrupt},
		"SIGTERM and Ctrl-C": {syscall.SIGTERM, os.Interrupt},
		"a closed terminal":  {syscall.SIGHUP, syscall.SIGTERM},
	} {
		t.Run(name, func(t *testing.T) {
			if signals[0] == syscall.SIGHUP && signal.Ignored(syscall.SIGHUP) {
				t.Skip("started by nohup, whose processes outlive the terminal")
			}
			c := exec.Command(os.Args[0], "-test.run=^TestTheSecondInterruptQuits$")
			c.Env = append(os.Environ(), child+"=1")
			var log bytes.Buffer
			c.Stderr = &log
			out, err := c.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Process.Kill() }()
			wait := func(word string) {
				t.Helper()
				line := make([]byte, len(word)+1)
				if n, err := out.Read(line); err != nil || string(line[:n]) != word+"\n" {
					t.Fatalf("%q, %v; want %q", line[:n], err, word)
				}
			}
			wait("ready")
			if err := c.Process.Signal(signals[0]); err != nil {
				t.Fatal(err)
			}
			wait("saving")
			began := time.Now()
			if err := c.Process.Signal(signals[1]); err != nil {
				t.Fatal(err)
			}
			err = c.Wait()
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 130 {
				t.Errorf("ended with %v, want status 130", err)
			}
			if !strings.Contains(log.String(), "finishing the step") {
				t.Errorf("it said %q", &log)
			}
		})
	}
}

// Started by nohup, a process outlives its terminal.
func TestAnIgnoredHangUpStaysIgnored(t *testing.T) {
	const child = "ARF_TEST_NOHUP"
	if os.Getenv(child) != "" {
		ctx, cancel := interruptible()
		defer cancel()
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		select {
		case <-ctx.Done():
			t.Fatal("the context ended")
		case <-time.After(300 * time.Millisecond):
		}
		return
	}
	c := exec.Command("nohup", os.Args[0], "-test.run=^TestAnIgnoredHangUpStaysIgnored$")
	c.Env = append(os.Environ(), child+"=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
