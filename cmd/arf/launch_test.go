package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// output is what a program has printed so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// launched starts processes that train together and waits until they do.
func launched(t *testing.T, dir, name string, n int) (*exec.Cmd, *output) {
	t.Helper()
	metrics := filepath.Join(runAs(t, dir, name), "train/arf/seed-0/metrics.jsonl")
	c := command(dir, append([]string{"launch", "--nproc", strconv.Itoa(n), "--"}, launchArgs(name)...)...)
	said := &output{}
	c.Stdout, c.Stderr = said, said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if data, _ := os.ReadFile(metrics); bytes.Count(data, []byte("\n")) >= 3 {
			return c, said
		}
		if time.Now().After(deadline) {
			_ = c.Process.Kill()
			_ = c.Wait()
			t.Fatalf("no training in two minutes:\n%s", said)
		}
	}
}

func launchArgs(name string) []string {
	return smallArgs("finetune", name, "methods=[arf]", "train.epochs=12", "precision=fp32", "train.checkpoint_every=100000")
}

// ranksOf gives the processes that a launcher started, by rank.
func ranksOf(t *testing.T, launcher int) map[int]int {
	t.Helper()
	all := map[int]int{}
	found, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range found {
		stat, err := os.ReadFile(path)
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if err != nil || len(fields) < 2 || fields[1] != strconv.Itoa(launcher) {
			continue
		}
		environ, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "environ"))
		if m := regexp.MustCompile("(?:^|\x00)RANK=([0-9]+)").FindSubmatch(environ); m != nil {
			rank, _ := strconv.Atoi(string(m[1]))
			all[rank], _ = strconv.Atoi(filepath.Base(filepath.Dir(path)))
		}
	}
	return all
}

// One of three processes is killed: the others say so, all end within 30 s with
// an error, and one process alone goes on.
func TestLaunchedProcessThatDies(t *testing.T) {
	dir := small(t)
	c, said := launched(t, dir, "dies", 3)
	ranks := ranksOf(t, c.Process.Pid)
	if len(ranks) != 3 {
		t.Fatalf("ranks %v", ranks)
	}
	began := time.Now()
	if err := syscall.Kill(ranks[1], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	err := c.Wait()
	took := time.Since(began)
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || took > 30*time.Second {
		t.Errorf("ended after %v with %v", took, err)
	}
	t.Logf("all ended after %v", took)
	dead := fmt.Sprintf("rank 1 (process %d", ranks[1])
	for _, want := range []string{
		"arf launch: " + dead + ") ended with signal: killed", `(?m)^\[0\] arf: .*` + regexp.QuoteMeta(dead) + ".*died", `(?m)^\[2\] arf: .*` + regexp.QuoteMeta(dead) + ".*died",
		"which is saved",
	} {
		if ok := strings.Contains(said.String(), want) || regexp.MustCompile(want).MatchString(said.String()); !ok {
			t.Errorf("it does not say %s:\n%s", want, said)
		}
	}
	for rank, pid := range ranks {
		if err := syscall.Kill(pid, 0); err == nil {
			t.Errorf("rank %d still runs", rank)
		}
	}
	mustRun(t, dir, launchArgs("dies")...)
}

// Ctrl-C has all save after one step and leaves a run to go on with.
func TestLaunchedProcessesAreInterrupted(t *testing.T) {
	dir := small(t)
	c, said := launched(t, dir, "stops", 2)
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("ended with %v:\n%s", err, said)
	}
	stopped := regexp.MustCompile(`(?m)^\[([01])\] arf: .*stopped after step (\d+) of`).FindAllStringSubmatch(said.String(), -1)
	if len(stopped) != 2 || stopped[0][2] != stopped[1][2] || stopped[0][1] == stopped[1][1] {
		t.Errorf("it says %v:\n%s", stopped, said)
	}
	mustRun(t, dir, append([]string{"launch", "--nproc", "3", "--"}, launchArgs("stops")...)...)
}

// Features and results of several processes are those of one.
func TestLaunchedEmbedAndEval(t *testing.T) {
	dir := small(t)
	embed := func(out string, launch ...string) {
		mustRun(t, dir, append(launch, "embed", "vit", "pool/{00000..00001}.tar", "--out", out, "--shard-size", "5", "--quiet")...)
	}
	eval := func(out string, launch ...string) {
		mustRun(t, dir, append(launch, "eval", "vit", "--data", "test", "--out", out, "--batch-size", "2", "--quiet")...)
	}
	embed("one")
	embed("two", "launch", "--nproc", "2", "--")
	eval("eval-one")
	eval("eval-two", "launch", "--nproc", "2", "--")
	compared := 0
	for _, pattern := range []string{"one/*_emb/*.npy", "one/metadata/*.parquet", "one/features.json", "eval-one/*/*"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, path := range found {
			other := strings.Replace(path, "one/", "two/", 1)
			compared++
			if string(read(t, path)) != string(read(t, other)) {
				t.Errorf("%s and %s differ", path, other)
			}
		}
	}
	if compared < 10 {
		t.Errorf("compared %d files", compared)
	}
}

func TestLaunchMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"launch --nproc 2 -- doctor":        "arf doctor runs in one process",
		"launch --nproc 2 -- nonsense":      "unknown command",
		"launch --nproc 0 -- run x.yaml":    "at least 1",
		"launch -- run x.yaml":              "nproc",
		"launch --nproc 2":                  "give the command after --",
		"launch --nproc 2 -- run x.yaml":    "x.yaml",
		"launch --nproc 2 -- launch -- run": "arf launch runs in one process",
	} {
		out, err := arf(t.TempDir(), strings.Fields(args)...)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v, %q, want %q", args, err, out, want)
		}
	}
	c := command(t.TempDir(), "doctor")
	c.Env = append(os.Environ(), "WORLD_SIZE=2", "RANK=0", "MASTER_ADDR=127.0.0.1", "MASTER_PORT=29500")
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "runs in one process") {
		t.Errorf("%v, %q", err, out)
	}
}
