package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A finetuning that is stopped, by Ctrl-C or by force, ends with the weights of
// one that was left alone. While one runs, no other may use its folder.
func TestInterruptAndResume(t *testing.T) {
	dir := small(t)
	args := func(name string) []string {
		return smallArgs("finetune", name, "methods=[arf]", "train.epochs=10", "train.checkpoint_every=3")
	}
	weights := func(name string) []byte {
		return read(t, filepath.Join(dir, "runs", name, "train/arf/seed-0/model/model.safetensors"))
	}
	runAs(t, dir, "whole")
	mustRun(t, dir, args("whole")...)

	// started gives a run that is past its first checkpoint, far from its end.
	started := func(t *testing.T, name string) (*exec.Cmd, *bytes.Buffer) {
		folder := filepath.Join(runAs(t, dir, name), "train/arf/seed-0")
		c := command(dir, args(name)...)
		log := new(bytes.Buffer)
		c.Stdout, c.Stderr = log, log
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
			data, _ := os.ReadFile(filepath.Join(folder, "metrics.jsonl"))
			saved, _ := filepath.Glob(filepath.Join(folder, "checkpoints/step-*/state.json"))
			if bytes.Count(data, []byte("\n")) >= 5 && len(saved) > 0 {
				return c, log
			}
			if time.Now().After(deadline) {
				c.Process.Kill()
				_ = c.Wait()
				t.Fatalf("no checkpoint in two minutes:\n%s", log)
			}
		}
	}
	// ended waits for a run and gives its status.
	ended := func(t *testing.T, c *exec.Cmd, log *bytes.Buffer) syscall.WaitStatus {
		var exit *exec.ExitError
		if err := c.Wait(); !errors.As(err, &exit) {
			t.Fatalf("the run ended before it was stopped (%v); make it longer\n%s", err, log)
		}
		return exit.Sys().(syscall.WaitStatus)
	}
	resumed := func(t *testing.T, name string) {
		folder := filepath.Join(dir, "runs", name, "train/arf/seed-0")
		if _, err := os.Stat(filepath.Join(folder, ".done")); !os.IsNotExist(err) {
			t.Fatalf("a stamp before the end: %v", err)
		}
		mustRun(t, dir, args(name)...)
		if !bytes.Equal(weights("whole"), weights(name)) {
			t.Error("the resumed run has other weights than the one that was left alone")
		}
		steps := strings.Count(string(read(t, filepath.Join(folder, "metrics.jsonl"))), "\n")
		if want := 10 * 4; steps != want {
			t.Errorf("%d lines of metrics, want %d", steps, want)
		}
	}

	t.Run("Ctrl-C", func(t *testing.T) {
		c, log := started(t, "cut")
		began := time.Now()
		if err := c.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if status := ended(t, c, log); status.ExitStatus() != 130 {
			t.Errorf("exit status %d, want 130\n%s", status.ExitStatus(), log)
		}
		if took := time.Since(began); took > 20*time.Second { // a second where nothing else runs
			t.Errorf("it took %v to end", took)
		}
		resumed(t, "cut")
	})
	t.Run("kill", func(t *testing.T) {
		c, log := started(t, "killed")
		// Held still, so that it can't end while the other one looks.
		if err := c.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		out, err := arf(dir, args("killed")...)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if status := ended(t, c, log); status.Signal() != syscall.SIGKILL {
			t.Errorf("ended with %v\n%s", status, log)
		}
		mustFail(t, out, err, filepath.Join("runs", "killed"), "in use", fmt.Sprintf("process %d on", c.Process.Pid), "name=")
		resumed(t, "killed")
	})
}
