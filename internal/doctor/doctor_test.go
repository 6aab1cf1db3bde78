package doctor

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// healthy are the facts of a machine with nothing to mend.
func healthy() Facts {
	return Facts{
		Engine: Engine{Library: "build/libarf_torch.so", Version: "1.13.1", Threads: 2},
		Vips:   "8.14.1",
		FAISS:  "1.7.3",
		Commands: map[string]string{
			"go": "go version go1.26.8 linux/amd64", "g++": "g++ (Debian 12.2.0-14) 12.2.0", "node": "v18.20.4", "npm": "9.2.0",
		},
		CPUs:           2,
		CPUFlags:       []string{"fpu", "avx512_bf16"},
		MappedFiles:    []string{"/usr/lib/x86_64-linux-gnu/openblas-openmp/libopenblasp-r0.3.21.so"},
		MemoryTotal:    24 << 30,
		MemoryFree:     20 << 30,
		DiskFree:       50 << 30,
		Folder:         "/home/me/arf",
		Present:        map[string]bool{IconCLIP: true, IconCaptioner: true, IconData: true},
		GoModGoVersion: "1.26.0",
	}
}

func TestHealthy(t *testing.T) {
	findings := Check(healthy())
	for _, f := range findings {
		if f.Level != OK || f.Mend != "" || f.Detail == "" || f.Name == "" {
			t.Errorf("%+v", f)
		}
	}
	if Worst(findings) != OK {
		t.Errorf("Worst = %v", Worst(findings))
	}
}

func TestChecks(t *testing.T) {
	const lib = "/usr/lib/x86_64-linux-gnu/"
	tests := []struct {
		name   string
		change func(*Facts)
		want   Finding // Detail and Mend: a part is enough
	}{
		{"no engine", func(f *Facts) { f.Engine = Engine{Err: errors.New("libarf_torch.so is not there")} },
			Finding{"engine", Failure, "libarf_torch.so is not there", "make setup engine"}},
		{"no engine, no threads", func(f *Facts) { f.Engine = Engine{Err: errors.New("x")} },
			Finding{"threads", Failure, "unknown", "make setup engine"}},
		{"no engine, no blas", func(f *Facts) { f.Engine = Engine{Err: errors.New("x")} },
			Finding{"blas", Failure, "unknown", "make setup engine"}},
		{"GPU", func(f *Facts) { f.Engine.CUDADevices = 2 }, Finding{"device", OK, "cuda (2 GPUs)", ""}},
		{"no GPU", func(f *Facts) {}, Finding{"device", OK, "cpu; a GPU needs", ""}},
		{"few threads", func(f *Facts) { f.Engine.Threads = 1 }, Finding{"threads", Warning, "1 of 2 cores", "--threads 2"}},
		{"few threads by OMP", func(f *Facts) { f.Engine.Threads, f.OMPNumThreads = 1, "1" },
			Finding{"threads", Warning, "OMP_NUM_THREADS=1", "unset OMP_NUM_THREADS"}},
		{"too many threads", func(f *Facts) { f.Engine.Threads = 8 }, Finding{"threads", Warning, "8 of 2", "--threads 2"}},
		{"pthread BLAS", func(f *Facts) { f.MappedFiles = []string{lib + "openblas-pthread/libopenblasp-r0.3.21.so"} },
			Finding{"blas", Warning, "half the speed", "libopenblas0-openmp"}},
		{"serial BLAS", func(f *Facts) { f.MappedFiles = []string{lib + "openblas-serial/libopenblas-r0.3.21.so"} },
			Finding{"blas", Warning, "one core", "libopenblas0-openmp"}},
		{"reference BLAS", func(f *Facts) { f.MappedFiles = []string{lib + "blas/libblas.so.3.11.0"} },
			Finding{"blas", Warning, "reference BLAS", "libopenblas0-openmp"}},
		{"Debian's interface before OpenBLAS itself", func(f *Facts) {
			f.MappedFiles = []string{lib + "openblas-openmp/libblas.so.3", lib + "openblas-openmp/libopenblasp-r0.3.21.so"}
		}, Finding{"blas", OK, "libopenblasp-r0.3.21.so", ""}},
		{"pip's OpenBLAS", func(f *Facts) { f.MappedFiles = []string{"/venv/torch/lib/libopenblas.so.0"} },
			Finding{"blas", OK, "libopenblas.so.0", ""}},
		{"MKL inside", func(f *Facts) { f.MappedFiles = []string{"/opt/libtorch/lib/libtorch_cpu.so"} },
			Finding{"blas", OK, "inside libtorch", ""}},
		{"no bf16", func(f *Facts) { f.CPUFlags = []string{"avx2"} }, Finding{"bf16", Warning, "fp32", ""}},
		{"bf16 on ARM", func(f *Facts) { f.CPUFlags = []string{"bf16"} }, Finding{"bf16", OK, "bf16", ""}},
		{"bf16 by GPU", func(f *Facts) { f.CPUFlags, f.Engine.CUDADevices = nil, 1 }, Finding{"bf16", OK, "on the GPU", ""}},
		{"no FAISS", func(f *Facts) { f.FAISS = "" }, Finding{Name: "faiss", Detail: "make setup engine"}},
		{"no libvips", func(f *Facts) { f.Vips = "" }, Finding{"libvips", Failure, "not linked", "make setup build"}},
		{"no go", func(f *Facts) { delete(f.Commands, "go") }, Finding{"go", Warning, "building only", "make setup"}},
		{"old go", func(f *Facts) { f.Commands["go"] = "go version go1.19.8 linux/amd64" },
			Finding{"go", Warning, "go1.19.8 is older than the 1.26.0", "make build"}},
		{"newer go", func(f *Facts) { f.Commands["go"] = "go version go1.100 linux/amd64" }, Finding{"go", OK, "go1.100", ""}},
		{"no compiler", func(f *Facts) { delete(f.Commands, "g++") }, Finding{"g++", Warning, "engine only", "make setup"}},
		{"no npm, no data", func(f *Facts) { delete(f.Commands, "npm"); delete(f.Present, IconData) },
			Finding{"node", Failure, "needs both", "make setup"}},
		{"no node, data made", func(f *Facts) { delete(f.Commands, "node") }, Finding{"node", OK, "which is there", ""}},
		{"disk nearly full", func(f *Facts) { f.DiskFree = 100 << 20 }, Finding{"disk", Failure, "100 MiB free", "free at least"}},
		{"disk too small for the corpus", func(f *Facts) { f.DiskFree = 2 << 30; delete(f.Present, IconData) },
			Finding{"disk", Warning, "2.0 GiB free", "free some"}},
		{"small disk, corpus made", func(f *Facts) { f.DiskFree = 2 << 30 }, Finding{"disk", OK, "2.0 GiB free", ""}},
		{"unknown disk", func(f *Facts) { f.DiskErr = os.ErrPermission }, Finding{"disk", Warning, "permission denied", ""}},
		{"little memory", func(f *Facts) { f.MemoryFree = 1 << 30 }, Finding{"memory", Warning, "1.0 GiB free of 24 GiB", "batch_size"}},
		{"unknown memory", func(f *Facts) { f.MemoryTotal = 0 }, Finding{"memory", Warning, "unknown", ""}},
		{"no captioner", func(f *Facts) { delete(f.Present, IconCaptioner) },
			Finding{"models", Warning, "models/icon-captioner missing", "git checkout"}},
		{"no data", func(f *Facts) { delete(f.Present, IconData) }, Finding{"data", Warning, "no icon corpus", "arf data icons --out data/icons"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := healthy()
			tt.change(&f)
			findings := Check(f)
			i := slices.IndexFunc(findings, func(g Finding) bool { return g.Name == tt.want.Name })
			if i < 0 {
				t.Fatalf("no finding %s", tt.want.Name)
			}
			got := findings[i]
			if got.Level != tt.want.Level || !strings.Contains(got.Detail, tt.want.Detail) ||
				!strings.Contains(got.Mend, tt.want.Mend) || (tt.want.Mend == "") != (got.Mend == "") {
				t.Errorf("\n got %+v\nwant %+v", got, tt.want)
			}
			if got := Worst(findings); got < tt.want.Level {
				t.Errorf("Worst = %v, but %s is %v", got, tt.want.Name, tt.want.Level)
			}
		})
	}
}

func TestWrite(t *testing.T) {
	var b strings.Builder
	err := Write(&b, []Finding{
		{"engine", OK, "libtorch 1.13.1 in build/libarf_torch.so", ""},
		{"blas", Warning, "openblas-pthread", "apt-get install x"},
		{"models", Failure, "missing", "git checkout"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `ok       engine  libtorch 1.13.1 in build/libarf_torch.so
warning  blas    openblas-pthread
                 mend: apt-get install x
FAIL     models  missing
                 mend: git checkout
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}

func TestParse(t *testing.T) {
	total, free := parseMeminfo("MemTotal:       24684164 kB\nMemFree:  1 kB\nMemAvailable:   23000000 kB\nbroken\n")
	if total != 24684164<<10 || free != 23000000<<10 {
		t.Errorf("parseMeminfo = %d, %d", total, free)
	}
	maps := `55d0-55d1 r--p 00000000 fe:00 1 /usr/bin/arf
7f00-7f01 r--p 00000000 fe:00 2                     /opt/my libs/libtorch_cpu.so
7f01-7f02 r-xp 00001000 fe:00 2                     /opt/my libs/libtorch_cpu.so
7f03-7f04 rw-p 00000000 00:00 0
7ffd-7ffe rw-p 00000000 00:00 0                     [stack]
`
	if diff := cmp.Diff([]string{"/usr/bin/arf", "/opt/my libs/libtorch_cpu.so"}, parseMaps(maps)); diff != "" {
		t.Error(diff)
	}
	if got := parseCPUFlags("processor : 0\nflags\t\t: fpu avx512_bf16\nprocessor : 1\nflags : x\n"); !slices.Equal(got, []string{"fpu", "avx512_bf16"}) {
		t.Errorf("parseCPUFlags of x86 = %v", got)
	}
	if got := parseCPUFlags("processor\t: 0\nFeatures\t: fp bf16\n"); BF16(got) != "bf16" {
		t.Errorf("parseCPUFlags of ARM = %v", got)
	}
	if got := parseGoMod("module arf\n\ngo 1.26.0\n\nrequire (\n)\n"); got != "1.26.0" {
		t.Errorf("parseGoMod = %q", got)
	}
}

// On whatever machine the tests run: Go is there, and so are memory, disk, cores and this test's own binary.
func TestGather(t *testing.T) {
	t.Chdir("../..")
	f := Gather(context.Background(), Engine{Err: errors.New("not loaded here")}, "")
	if !strings.Contains(f.Commands["go"], "go1.") {
		t.Errorf("go = %q", f.Commands["go"])
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if f.CPUs < 1 || f.DiskFree <= 0 || f.DiskErr != nil || f.MemoryTotal <= 0 || f.MemoryFree <= 0 || f.GoModGoVersion == "" {
		t.Errorf("facts: %+v", f)
	}
	if !slices.Contains(f.MappedFiles, exe) {
		t.Errorf("%s is not among the mapped files", exe)
	}
	if Worst(Check(f)) != Failure {
		t.Error("a machine without engine has no failure")
	}
}
