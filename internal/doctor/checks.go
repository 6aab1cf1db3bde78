package doctor

import (
	"fmt"
	"go/version"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
)

// What the demo takes at most, rounded up: the icon package and the corpus on disk, the pool's features and a
// training step in memory.
const (
	diskWanted   = 4 << 30
	diskNeeded   = 1 << 30
	memoryWanted = 4 << 30
)

// Check judges the facts.
func Check(f Facts) []Finding {
	return []Finding{
		checkEngine(f), checkDevice(f), checkThreads(f), checkBLAS(f), checkBF16(f), checkVips(f), checkFAISS(f),
		checkGo(f), checkCompiler(f), checkNode(f),
		checkDisk(f), checkMemory(f), checkModels(f), checkData(f),
	}
}

func checkEngine(f Facts) Finding {
	e := f.Engine
	if e.Err != nil {
		return Finding{"engine", Failure, e.Err.Error(), "make setup engine"}
	}
	return Finding{Name: "engine", Detail: fmt.Sprintf("libtorch %s in %s", e.Version, e.Library)}
}

func checkDevice(f Facts) Finding {
	switch {
	case f.Engine.Err != nil:
		return Finding{"device", Failure, "unknown without the engine", "make setup engine"}
	case f.Engine.CUDADevices > 0:
		return Finding{Name: "device", Detail: fmt.Sprintf("cuda (%d GPUs)", f.Engine.CUDADevices)}
	}
	return Finding{Name: "device", Detail: "cpu; a GPU needs a CUDA libtorch: LIBTORCH=/path make engine"}
}

func checkThreads(f Facts) Finding {
	n := f.Engine.Threads
	detail := fmt.Sprintf("%d of %d cores", n, f.CPUs)
	switch {
	case f.Engine.Err != nil:
		return Finding{"threads", Failure, "unknown without the engine", "make setup engine"}
	case n < f.CPUs && f.OMPNumThreads != "":
		return Finding{"threads", Warning, detail + ", held down by OMP_NUM_THREADS=" + f.OMPNumThreads, "unset OMP_NUM_THREADS"}
	case n < f.CPUs:
		return Finding{"threads", Warning, detail, "--threads " + strconv.Itoa(f.CPUs)}
	case n > f.CPUs:
		return Finding{"threads", Warning, detail + ": they get in each other's way", "--threads " + strconv.Itoa(f.CPUs)}
	}
	return Finding{Name: "threads", Detail: detail}
}

// Debian names the library by its threading: libopenblasp is pthread or OpenMP, told apart by the folder.
var openBLAS = regexp.MustCompile(`/libopenblas[a-z0-9]*[-.]`)

func checkBLAS(f Facts) Finding {
	if f.Engine.Err != nil {
		return Finding{"blas", Failure, "unknown without the engine", "make setup engine"}
	}
	var blas string
	for _, file := range f.MappedFiles {
		base := filepath.Base(file)
		if openBLAS.MatchString(file) || strings.HasPrefix(base, "libmkl_rt") ||
			blas == "" && (strings.HasPrefix(base, "libblas.so") || strings.HasPrefix(base, "libatlas")) {
			blas = file
		}
	}
	const mend = "apt-get install libopenblas0-openmp && make engine"
	switch {
	case blas == "":
		return Finding{Name: "blas", Detail: "inside libtorch"}
	case strings.Contains(blas, "openblas-pthread"):
		return Finding{"blas", Warning, blas + ": its threads and libtorch's slow each other down to half the speed", mend}
	case strings.Contains(blas, "openblas-serial"):
		return Finding{"blas", Warning, blas + ": uses one core", mend}
	case !openBLAS.MatchString(blas) && !strings.Contains(blas, "mkl"):
		return Finding{"blas", Warning, blas + ": a reference BLAS, many times slower than OpenBLAS", mend}
	}
	return Finding{Name: "blas", Detail: blas}
}

func checkBF16(f Facts) Finding {
	if f.Engine.CUDADevices > 0 {
		return Finding{Name: "bf16", Detail: "on the GPU"}
	}
	if set := BF16(f.CPUFlags); set != "" {
		return Finding{Name: "bf16", Detail: "this CPU computes in it (" + set + ")"}
	}
	return Finding{"bf16", Warning, "not in this CPU: training runs in fp32, at about half the speed", ""}
}

func checkVips(f Facts) Finding {
	if f.Vips == "" {
		return Finding{"libvips", Failure, "not linked in", "make setup build"}
	}
	return Finding{Name: "libvips", Detail: f.Vips}
}

func checkFAISS(f Facts) Finding {
	if f.FAISS == "" {
		return Finding{Name: "faiss", Detail: "not there; only anchors.pairs.index: faiss and arf embed --faiss need it: make setup engine"}
	}
	return Finding{Name: "faiss", Detail: f.FAISS}
}

var goVersion = regexp.MustCompile(`\bgo1[.0-9a-z]*`)

func checkGo(f Facts) Finding {
	have := goVersion.FindString(f.Commands["go"])
	switch {
	case have == "":
		return Finding{"go", Warning, "not in PATH; needed for building only", "make setup"}
	case f.GoModGoVersion != "" && version.Compare(have, "go"+f.GoModGoVersion) < 0:
		return Finding{"go", Warning, have + " is older than the " + f.GoModGoVersion + " of go.mod", "make build, which fetches a newer one"}
	}
	return Finding{Name: "go", Detail: have}
}

func checkCompiler(f Facts) Finding {
	if line, ok := f.Commands["g++"]; ok {
		return Finding{Name: "g++", Detail: line}
	}
	return Finding{"g++", Warning, "missing; needed for building the engine only", "make setup"}
}

func checkNode(f Facts) Finding {
	node, hasNode := f.Commands["node"]
	npm, hasNPM := f.Commands["npm"]
	switch {
	case hasNode && hasNPM:
		return Finding{Name: "node", Detail: node + ", npm " + npm}
	case f.Present[IconData]:
		return Finding{Name: "node", Detail: "missing; needed for making the icon corpus only, which is there"}
	}
	return Finding{"node", Failure, "node or npm is missing; making the icon corpus needs both", "make setup"}
}

func checkDisk(f Facts) Finding {
	free := humanize.IBytes(uint64(max(f.DiskFree, 0))) + " free in " + f.Folder
	switch {
	case f.DiskErr != nil:
		return Finding{"disk", Warning, "free space unknown: " + f.DiskErr.Error(), ""}
	case f.DiskFree < diskNeeded:
		return Finding{"disk", Failure, free, "free at least " + humanize.IBytes(diskWanted)}
	case f.DiskFree < diskWanted && !f.Present[IconData]:
		return Finding{"disk", Warning, free + "; making the icon corpus takes up to " + humanize.IBytes(diskWanted), "free some"}
	}
	return Finding{Name: "disk", Detail: free}
}

func checkMemory(f Facts) Finding {
	if f.MemoryTotal == 0 {
		return Finding{"memory", Warning, "unknown on this system", ""}
	}
	detail := fmt.Sprintf("%s free of %s", humanize.IBytes(uint64(f.MemoryFree)), humanize.IBytes(uint64(f.MemoryTotal)))
	if f.MemoryFree < memoryWanted {
		return Finding{"memory", Warning, detail, "close other programs, or lower train.batch_size and eval.batch_size"}
	}
	return Finding{Name: "memory", Detail: detail}
}

func checkModels(f Facts) Finding {
	var missing []string
	for _, path := range []string{IconCLIP, IconCaptioner} {
		if !f.Present[path] {
			missing = append(missing, filepath.Dir(path))
		}
	}
	if len(missing) > 0 {
		return Finding{"models", Warning, strings.Join(missing, " and ") + " missing; only the icon benchmark needs them", "git checkout -- models, or start arf in the repository's folder"}
	}
	return Finding{Name: "models", Detail: filepath.Dir(IconCLIP) + ", " + filepath.Dir(IconCaptioner)}
}

func checkData(f Facts) Finding {
	if !f.Present[IconData] {
		return Finding{"data", Warning, "no icon corpus yet", "arf data icons --out " + filepath.Dir(IconData) + " (make demo does it)"}
	}
	return Finding{Name: "data", Detail: filepath.Dir(IconData)}
}
