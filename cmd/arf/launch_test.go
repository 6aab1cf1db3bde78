package main

import (
	"bytes"
	"encoding/json"
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

	"arf/torch"

	"github.com/goccy/go-yaml"
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
		"is saved",
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
	captions := func(out string, launch ...string) {
		mustRun(t, dir, append(launch, "eval", "vit", "--data", "pool/{00000..00001}.tar", "--task", "retrieval", "--out", out, "--batch-size", "3", "--quiet")...)
	}
	eval("eval-one")
	eval("eval-two", "launch", "--nproc", "2", "--")
	captions("captions-one")
	captions("captions-two", "launch", "--nproc", "2", "--")
	compared := 0
	for _, pattern := range []string{"one/*_emb/*.npy", "one/metadata/*.parquet", "one/features.json", "eval-one/*", "captions-one/*"} {
		found, _ := filepath.Glob(filepath.Join(dir, pattern))
		if len(found) == 0 {
			t.Errorf("there is no %s", pattern)
		}
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

// A profile of two processes is rank 0's, with the sums of their gradients.
func TestLaunchedProfile(t *testing.T) {
	dir := small(t)
	run := runAs(t, dir, "profile")
	out := mustRun(t, dir, append([]string{"launch", "--nproc", "2", "--"}, append(smallArgs("finetune", "profile", "methods=[arf]"), "--profile=2")...)...)
	if strings.Count(out, "] gradients: ") != 1 || !strings.Contains(out, "gradient sums") {
		t.Errorf("it says\n%s", out)
	}
	var report struct {
		Steps int
		Sums  *torch.Overlap `json:"gradient_sums"`
	}
	if err := json.Unmarshal(read(t, filepath.Join(run, "profile.json")), &report); err != nil || report.Steps != 2 || report.Sums == nil || report.Sums.Buckets < 1 || report.Sums.Bytes < 1000 {
		t.Errorf("%v: %+v, %+v", err, report, report.Sums)
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

// The Slurm script gives each task the variables that arf reads.
func TestSlurmScript(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		// Starts 2 tasks on each of 2 machines, as srun would.
		"path/srun": `#!/bin/bash
while [[ $1 == --* ]]; do shift; done
for i in 0 1 2 3; do SLURM_PROCID=$i SLURM_LOCALID=$((i % 2)) SLURM_NTASKS=4 "$@" || exit 1; done`,
		"path/scontrol": "#!/bin/bash\n[[ $* == 'show hostnames node[3-4]' ]] && echo node3 && echo node4",
		"bin/arf":       "#!/bin/bash\necho $RANK $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $MASTER_ADDR $MASTER_PORT $GOMAXPROCS \"$@\"",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command("bash", filepath.Join(repository, "configs/slurm.sbatch"), "my run.yaml", "--quiet")
	c.Dir = dir
	c.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "path")+":"+os.Getenv("PATH"), "SLURM_JOB_ID=20003", "SLURM_JOB_NODELIST=node[3-4]",
		"SLURM_JOB_NUM_NODES=2", "SLURM_CPUS_PER_TASK=8")
	out, err := c.CombinedOutput()
	var want strings.Builder
	for rank := range 4 {
		fmt.Fprintf(&want, "%d 4 %d 2 node3 20003 8 run my run.yaml --quiet\n", rank, rank%2)
	}
	if err != nil || string(out) != want.String() {
		t.Errorf("%v, the tasks have\n%swant\n%s", err, out, want.String())
	}
}

// The PyTorchJob has what the operator looks for, and asks for as many GPUs as processes.
func TestPyTorchJob(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(repository, "configs/pytorchjob.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	type replica struct {
		Replicas int
		Template struct {
			Spec struct {
				Containers []struct {
					Name      string
					Command   []string
					Resources struct{ Limits map[string]any }
				}
				Volumes []struct{ Name string }
			}
		}
	}
	var job struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Spec       struct {
			PytorchReplicaSpecs map[string]replica `yaml:"pytorchReplicaSpecs"`
		}
	}
	if err := yaml.Unmarshal(data, &job); err != nil {
		t.Fatal(err)
	}
	if job.APIVersion != "kubeflow.org/v1" || job.Kind != "PyTorchJob" {
		t.Errorf("it is a %s of %s", job.Kind, job.APIVersion)
	}
	for kind, replicas := range map[string]int{"Master": 1, "Worker": 3} {
		r := job.Spec.PytorchReplicaSpecs[kind]
		if c := r.Template.Spec.Containers; r.Replicas != replicas || len(c) != 1 || c[0].Name != "pytorch" || fmt.Sprint(c[0].Command) != "[arf run my.yaml]" ||
			fmt.Sprint(c[0].Resources.Limits["nvidia.com/gpu"]) != "1" || len(r.Template.Spec.Volumes) != 2 {
			t.Errorf("%s: %+v", kind, r)
		}
	}
}
