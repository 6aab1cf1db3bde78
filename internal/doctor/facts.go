package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Engine is what the caller learned by loading the engine.
type Engine struct {
	Err         error  // why it could not be loaded; nil = loaded
	Library     string // file that was loaded
	Version     string // libtorch's, such as "1.13.1"
	CUDADevices int
	Threads     int // that one operator uses
}

// Facts are what the checks judge. Gather fills them; zero values mean "not found".
type Facts struct {
	Engine Engine
	Vips   string // libvips' version
	FAISS  string // its version; Gather leaves it to the caller

	Commands map[string]string // first line of --version (for go: of version) by command, of those that were found

	CPUs           int      // that this process may use
	CPUFlags       []string // instruction sets, as /proc/cpuinfo names them
	OMPNumThreads  string   // $OMP_NUM_THREADS
	MappedFiles    []string // files mapped into this process: its shared libraries
	MemoryTotal    int64    // bytes
	MemoryFree     int64    // bytes available without swapping
	DiskFree       int64    // bytes in Folder
	DiskErr        error
	Folder         string          // working folder
	Present        map[string]bool // of the Wanted files, those that are there
	GoModGoVersion string          // that building needs, such as "1.26.0"
}

// The shipped models and the icon corpus, as paths in the working folder.
const (
	IconCLIP      = "models/icon-clip/open_clip_config.json"
	IconCaptioner = "models/icon-captioner/config.json"
	IconData      = "data/icons/manifest.json"
)

var wanted = []string{IconCLIP, IconCaptioner, IconData}

// Gather looks at the machine. Load the engine before, so that its libraries are mapped, and describe it in engine;
// vips is libvips' version. It fails for no missing thing: what is missing is for Check to say.
func Gather(ctx context.Context, engine Engine, vips string) Facts {
	f := Facts{
		Engine:        engine,
		Vips:          vips,
		Commands:      map[string]string{},
		CPUs:          runtime.NumCPU(),
		CPUFlags:      CPUFlags(),
		OMPNumThreads: os.Getenv("OMP_NUM_THREADS"),
		Present:       map[string]bool{},
	}
	for name, arg := range map[string]string{"go": "version", "g++": "--version", "node": "--version", "npm": "--version"} {
		if line, ok := versionLine(ctx, name, arg); ok {
			f.Commands[name] = line
		}
	}
	f.Folder, _ = os.Getwd()
	f.DiskFree, f.DiskErr = diskFree(".")
	f.MemoryTotal, f.MemoryFree = parseMeminfo(readFile("/proc/meminfo"))
	f.MappedFiles = parseMaps(readFile("/proc/self/maps"))
	f.GoModGoVersion = parseGoMod(readFile("go.mod"))
	for _, path := range wanted {
		_, err := os.Stat(filepath.FromSlash(path))
		f.Present[path] = !errors.Is(err, fs.ErrNotExist)
	}
	return f
}

// CPUFlags are the processor's instruction sets as Linux names them, such as "avx512_bf16".
func CPUFlags() []string { return parseCPUFlags(readFile("/proc/cpuinfo")) }

// BF16 gives the instruction set among the flags that multiplies matrices in bf16, or "".
func BF16(flags []string) string {
	for _, f := range []string{"amx_bf16", "avx512_bf16", "svebf16", "bf16"} {
		if slices.Contains(flags, f) {
			return f
		}
	}
	return ""
}

// readFile is "" for what can't be read: /proc is there on Linux only.
func readFile(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}

func versionLine(ctx context.Context, name, arg string) (string, bool) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, arg).Output()
	if err != nil {
		return "", false
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line), true
}

func diskFree(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * s.Bsize, nil
}

func parseMeminfo(text string) (total, available int64) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		kib, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "MemTotal:":
			total = kib << 10
		case "MemAvailable:":
			available = kib << 10
		}
	}
	return total, available
}

// parseMaps gives each mapped file once, in the order of /proc/PID/maps.
func parseMaps(text string) []string {
	var files []string
	for line := range strings.Lines(text) {
		// address perms offset dev inode path
		fields := strings.Fields(line)
		if len(fields) >= 6 && strings.HasPrefix(fields[5], "/") {
			if path := strings.Join(fields[5:], " "); !slices.Contains(files, path) {
				files = append(files, path)
			}
		}
	}
	return files
}

// parseCPUFlags reads the first processor's flags ("flags" on x86, "Features" on ARM).
func parseCPUFlags(text string) []string {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); key == "flags" || key == "Features" {
			return strings.Fields(value)
		}
	}
	return nil
}

func parseGoMod(text string) string {
	for line := range strings.Lines(text) {
		if version, ok := strings.CutPrefix(line, "go "); ok {
			return strings.TrimSpace(version)
		}
	}
	return ""
}
