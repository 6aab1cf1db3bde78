package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// side runs a program that prints a measured, and adds to its peak memory what
// the processes that it starts have for themselves, such as DataLoader's workers.
func side(cmd *exec.Cmd) (m measured, err error) {
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Start(); err != nil {
		return m, err
	}
	var children atomic.Int64
	stop := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		watch(cmd.Process.Pid, stop, &children)
	}()
	err = cmd.Wait()
	close(stop)
	<-watched
	if err != nil {
		return m, fmt.Errorf("%s: %w: %s", cmd.Path, err, lastLines(messages.String()))
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &m); err != nil {
		return m, fmt.Errorf("%s printed %q: %w", cmd.Path, lines[len(lines)-1], err)
	}
	m.PeakMemory += children.Load()
	return m, nil
}

// watch keeps the most memory that the children of a process have had together.
func watch(pid int, stop <-chan struct{}, most *atomic.Int64) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		sum := int64(0)
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			for child := range strings.FieldsSeq(string(text)) {
				sum += private(child)
			}
		}
		most.Store(max(most.Load(), sum))
	}
}

// private is the memory of a process that no other one shares, in bytes; 0 when
// it has ended.
func private(pid string) int64 {
	text, _ := os.ReadFile("/proc/" + pid + "/smaps_rollup")
	sum := int64(0)
	for line := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(line, ":"); name == "Private_Clean" || name == "Private_Dirty" {
			kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			sum += kb << 10
		}
	}
	return sum
}

// untilFirstStep starts a program and takes the time until it says that it has
// done a step; then the program is ended.
func untilFirstStep(cmd *exec.Cmd) (measured, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return measured{}, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = in, in
	began := time.Now()
	err = cmd.Start()
	in.Close()
	if err != nil {
		return measured{}, err
	}
	var said strings.Builder
	scanner := bufio.NewScanner(out)
	seconds := 0.0
	for scanner.Scan() {
		if strings.Contains(scanner.Text(), "step 1") {
			seconds = time.Since(began).Seconds()
			break
		}
		said.WriteString(scanner.Text() + "\n")
	}
	cmd.Process.Kill()
	_, _ = io.Copy(io.Discard, out)
	ended := cmd.Wait()
	if seconds == 0 {
		return measured{}, fmt.Errorf("%s ended before its first step: %w: %s", cmd.Path, errors.Join(ended, scanner.Err()), lastLines(said.String()))
	}
	return measured{Seconds: seconds}, nil
}

func lastLines(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// oursCommand and peerCommand are the two sides of a row.
func oursCommand(ctx context.Context, w work) (*exec.Cmd, error) {
	self, err := os.Executable()
	return exec.CommandContext(ctx, self, "ours", w.String()), err
}

func peerCommand(ctx context.Context, python string, w work) *exec.Cmd {
	cmd := exec.CommandContext(ctx, python, filepath.Join(peerScripts, "peer.py"), w.String())
	cmd.Env = append(os.Environ(), "PYTHONPYCACHEPREFIX="+filepath.Join(dir, "pycache"))
	return cmd
}

const peerScripts = "scripts/bench"
