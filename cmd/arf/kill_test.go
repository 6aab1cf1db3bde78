package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A finetuning that is killed at random moments, by SIGKILL, ends with the
// weights of one that was left alone. Between the kills the clock jumps, and
// once the newest checkpoint loses a bit.
func TestKilledAtRandom(t *testing.T) {
	kills, epochs := 20, 30 // of 4 steps
	if testing.Short() {
		kills, epochs = 4, 5
	}
	dir := small(t)
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	seed := uint64(time.Now().UnixNano())
	for _, precision := range []string{"fp32", "bf16"} {
		t.Run(precision, func(t *testing.T) {
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 1))
			args := func(name string) []string {
				return smallArgs("finetune", name, "methods=[arf]", fmt.Sprintf("train.epochs=%d", epochs), "train.checkpoint_every=1", "threads=1", "precision="+precision)
			}
			weights := func(name string) []byte {
				return read(t, filepath.Join(dir, "runs", name, "train/arf/seed-0/model/model.safetensors"))
			}
			whole, killed := "whole-"+precision, "killed-"+precision
			runAs(t, dir, whole)
			mustRun(t, dir, args(whole)...)
			run := runAs(t, dir, killed)
			folder := filepath.Join(run, "train/arf/seed-0")
			steps := func() int {
				data, _ := os.ReadFile(filepath.Join(folder, "metrics.jsonl"))
				return bytes.Count(data, []byte("\n"))
			}
			beforeTraining := 0
			for i := range kills {
				// Each third one is killed wherever it is in its first second, the
				// others in or after some step; none comes near the end.
				began := steps()
				target, early := began+1+rng.IntN(2*4*epochs/(kills+1)-1), time.Duration(0)
				if i%3 == 2 {
					target, early = began+3, time.Duration(rng.Int64N(int64(time.Second)))
				}
				c := command(dir, args(killed)...)
				log := new(bytes.Buffer)
				c.Stdout, c.Stderr = log, log
				started := time.Now()
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				for steps() < min(target, 4*epochs-4) && time.Since(started) < time.Minute {
					if early > 0 && time.Since(started) > early {
						break
					}
					time.Sleep(time.Millisecond)
				}
				time.Sleep(time.Duration(rng.Int64N(int64(30 * time.Millisecond)))) // about a step and its checkpoint
				before := steps()
				if err := c.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				var exit *exec.ExitError
				if err := c.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
					t.Fatalf("kill %d after %d steps: the run ended by itself (%v)\n%s", i, before, err, log)
				}
				if before == 0 {
					beforeTraining++
				}
				turnClock(t, run, time.Duration(rng.IntN(20)-10)*365*24*time.Hour)
				if i == kills/2 {
					damageNewest(t, filepath.Join(folder, "checkpoints"))
					// Interrupted at once, so that the kills go on.
					out, err := interrupted(t, dir, folder, args(killed)...)
					if err == nil || !strings.Contains(out, "damaged") || !strings.Contains(out, "falling back") {
						t.Errorf("a damaged checkpoint isn't told (%v):\n%s", err, out)
					}
				}
			}
			if beforeTraining == kills {
				t.Error("no kill came after a step")
			}
			mustRun(t, dir, args(killed)...)
			if !bytes.Equal(weights(whole), weights(killed)) {
				t.Error("the weights differ from those of the run that was left alone")
			}
			if got := steps(); got != 4*epochs {
				t.Errorf("%d lines of metrics, want %d", got, 4*epochs)
			}
			nothingHalf(t, run)
		})
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("the killed processes left %v in the folder for temporary files (%v)", left, err)
	}
}

// interrupted runs the program and stops it, as by Ctrl-C, after a step more.
func interrupted(t *testing.T, dir, folder string, args ...string) (string, error) {
	t.Helper()
	metrics := filepath.Join(folder, "metrics.jsonl")
	before, err := os.Stat(metrics)
	if err != nil {
		t.Fatal(err)
	}
	c := command(dir, args...)
	log := new(bytes.Buffer)
	c.Stdout, c.Stderr = log, log
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		// A resumption writes the file anew, then a line a step.
		if now, err := os.Stat(metrics); err == nil && !os.SameFile(before, now) && now.Size() > 0 {
			break
		}
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	err = c.Wait()
	return log.String(), err
}

// turnClock gives all files of a run the times that a clock which was wrong by
// so much would have given them.
func turnClock(t *testing.T, run string, by time.Duration) {
	t.Helper()
	err := filepath.WalkDir(run, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		when := time.Now().Add(by)
		return os.Chtimes(path, when, when)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// damageNewest flips a bit in a file of the newest checkpoint, where an older
// one is there to fall back to.
func damageNewest(t *testing.T, checkpoints string) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(checkpoints, "step-*", "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	found = slices.DeleteFunc(found, func(path string) bool { return strings.Contains(path, ".partial") })
	if len(found) < 2 {
		t.Fatalf("%d checkpoints, want the last two: %q", len(found), found)
	}
	number := func(path string) (n int) {
		_, _ = fmt.Sscanf(filepath.Base(filepath.Dir(path)), "step-%d", &n)
		return n
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return number(a) - number(b) })
	path := filepath.Join(filepath.Dir(newest), "optimizer.safetensors")
	data := read(t, path)
	data[len(data)/2] ^= 8
	write(t, path, data)
}
