package index

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"arf/internal/atomicfile"
	"arf/internal/parquetfile"
	"arf/torch"
)

// scaleResult is an entry of docs/bench-index.json.
type scaleResult struct {
	Name         string `json:"name"` // exact, exact-bfloat16 or faiss
	Vectors      int    `json:"vectors"`
	Dim          int    `json:"dim"`
	Queries      int    `json:"queries"`
	K            int    `json:"k"`
	Distribution string `json:"distribution"`
	Machine      string `json:"machine"`
	Threads      int    `json:"threads"`

	SearchSeconds float64 `json:"search_seconds"` // wall clock, reading the vectors from disk included
	// VectorBytes are the vectors' in float32, PeakBytes the most resident memory
	// during the search or build, above that before the first of them.
	VectorBytes     int64   `json:"vector_bytes"`
	PeakBytes       int64   `json:"peak_bytes"`
	PeakOverVectors float64 `json:"peak_over_vectors"`

	// Of exact.
	GEMMGFLOPS    float64 `json:"gemm_gflops,omitempty"`    // measured, in the search's precision, the best of several sizes
	TimesRoofline float64 `json:"times_roofline,omitempty"` // search over 2·vectors·queries·dim at that rate
	// Of exact-bfloat16: rows that were scored again for each query, and the share of the
	// comparisons that were spared float32.
	Rescored float64 `json:"rescored_per_query,omitempty"`
	Bounded  float64 `json:"bounded,omitempty"`

	// Beside exact in float32.
	Recall  float64 `json:"recall_at_20,omitempty"` // of all queries
	Speedup float64 `json:"speedup,omitempty"`      // its search over this one's

	// Of faiss.
	Kind         string  `json:"kind,omitempty"`
	Version      string  `json:"faiss_version,omitempty"`
	Effort       int     `json:"effort,omitempty"`
	TrainSeconds float64 `json:"train_seconds,omitempty"`
	AddSeconds   float64 `json:"add_seconds,omitempty"`
	TuneSeconds  float64 `json:"tune_seconds,omitempty"`
	IndexBytes   int64   `json:"index_bytes,omitempty"`
}

// TestScale is `make bench-index`: exact and approximate search at the size that
// $ARF_BENCH_VECTORS says, written to $ARF_BENCH_OUT. The vectors are mixtures of
// the real features in $ARF_BENCH_FEATURES.
func TestScale(t *testing.T) {
	out, features := os.Getenv("ARF_BENCH_OUT"), os.Getenv("ARF_BENCH_FEATURES")
	if out == "" || features == "" {
		t.Skip("a benchmark of hours; run it by make bench-index")
	}
	vectors, err := strconv.Atoi(os.Getenv("ARF_BENCH_VECTORS"))
	if err != nil || vectors < 1000 {
		t.Fatalf("ARF_BENCH_VECTORS is %q; give their number, such as 3000000", os.Getenv("ARF_BENCH_VECTORS"))
	}
	threads := runtime.NumCPU()
	if n, err := strconv.Atoi(os.Getenv("OMP_NUM_THREADS")); err == nil && n > 0 {
		threads = n
	}
	torch.SetThreads(threads)
	const queries, k, recallWanted, sample = 10_000, 20, 0.95, 200
	source, err := Open(features)
	if err != nil {
		t.Fatal(err)
	}
	real, err := joinFeatures(source)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "store")
	store, err := writeMixtures(dir, real, vectors)
	if err != nil {
		t.Fatal(err)
	}
	asking := Dense{Columns: real.Columns, Data: make([]float32, queries*real.Columns)}
	mixer{real, rand.New(rand.NewPCG(2, 0))}.fill(asking.Data)
	real.Data = nil
	base := scaleResult{
		Vectors: vectors, Dim: real.Columns, Queries: queries, K: k, Threads: threads, Machine: machine(),
		VectorBytes: 4 * int64(vectors) * int64(real.Columns),
		Distribution: fmt.Sprintf("normalised a·f + (1−a)·g + noise of length 0.2; f, g two of %d real features [image | text] of the icon pool by models/icon-clip, a uniform in 0.6 to 1; stored as float16",
			source.Len()),
	}
	t.Logf("%d vectors of %d numbers, %d threads", vectors, base.Dim, threads)

	debug.FreeOSMemory() // what was freed counts as resident otherwise
	resident := statusBytes(t, "VmRSS")
	search := func(name string, precision torch.DType) (scaleResult, *Neighbors) {
		r := base
		r.Name, r.GEMMGFLOPS = name, gemm(base.Dim, precision)
		memory := resetPeak(t, resident)
		start := time.Now()
		found, s, err := (&Exact{Vectors: store.Images(), Precision: precision}).search(t.Context(), asking, k)
		if err != nil {
			t.Fatal(err)
		}
		r.SearchSeconds = time.Since(start).Seconds()
		r.measured(memory())
		comparisons := float64(vectors) * queries
		r.TimesRoofline = r.SearchSeconds * r.GEMMGFLOPS * 1e9 / (2 * comparisons * float64(base.Dim))
		r.Rescored, r.Bounded = float64(s.scored)/queries, float64(s.bounded)/comparisons
		t.Logf("%s: %.1f s, %.2f times the roofline of %.0f GFLOP/s", name, r.SearchSeconds, r.TimesRoofline, r.GEMMGFLOPS)
		return r, found
	}
	exact, want := search("exact", torch.Float32)
	results := []scaleResult{exact}
	if torch.CPU.HasBF16() {
		half, found := search("exact-bfloat16", torch.BFloat16)
		half.Recall, half.Speedup = recall(want, found), exact.SearchSeconds/half.SearchSeconds
		t.Logf("exact-bfloat16: recall@%d %.6f; %.2f times as fast; %.1f rows a query scored again, %.4f of the comparisons in bfloat16",
			k, half.Recall, half.Speedup, half.Rescored, half.Bounded)
		results = append(results, half)
	}

	approximate := base
	approximate.Name = "faiss"
	memory := resetPeak(t, resident)
	x, info, err := store.FAISS(t.Context(), false, FAISSOptions{Progress: func(done, total int) {
		if done*10/total > (done-8192)*10/total {
			t.Logf("%s: %d of %d vectors added", time.Now().Format(time.TimeOnly), done, total)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	a := &Approximate{Vectors: store.Images(), Parts: []Part{{Index: x}}}
	start := time.Now()
	recall200, err := a.Tune(t.Context(), Dense{Columns: base.Dim, Data: asking.Data[:sample*base.Dim]}, k, recallWanted, torch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	approximate.TuneSeconds = time.Since(start).Seconds()
	start = time.Now()
	found, err := a.Search(t.Context(), asking, k)
	if err != nil {
		t.Fatal(err)
	}
	approximate.SearchSeconds = time.Since(start).Seconds()
	approximate.measured(memory())
	approximate.Kind, approximate.Version, approximate.IndexBytes = info.Kind, info.Version, info.Bytes
	approximate.TrainSeconds, approximate.AddSeconds = info.TrainSeconds, info.AddSeconds
	approximate.Recall, approximate.Effort = recall(want, found), recall200.Effort
	approximate.Speedup = exact.SearchSeconds / approximate.SearchSeconds
	t.Logf("faiss: %s, built in %.1f s; recall@%d %.3f; %.1f s, %.1f times as fast", info.Kind, info.TrainSeconds+info.AddSeconds, k, approximate.Recall, approximate.SearchSeconds, approximate.Speedup)

	data, err := json.MarshalIndent(append(results, approximate), "", "  ")
	if err == nil {
		err = atomicfile.Write(out, append(data, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (r *scaleResult) measured(peak int64) {
	r.PeakBytes, r.PeakOverVectors = peak, float64(peak)/float64(r.VectorBytes)
}

// joinFeatures makes a vector of length 1 of the features of each image and its text.
func joinFeatures(s *Store) (Dense, error) {
	images, err := Load(s.Images())
	if err != nil {
		return images, err
	}
	texts, err := Load(s.Texts())
	if err != nil {
		return texts, err
	}
	d := Dense{Columns: 2 * images.Columns}
	for i := range images.Len() {
		d.Data = append(append(d.Data, images.Row(i)...), texts.Row(i)...)
	}
	for i := range d.Len() {
		unit(d.Row(i))
	}
	return d, nil
}

func unit(row []float32) {
	norm := math.Sqrt(float64(dot(row, row)))
	for j := range row {
		row[j] /= float32(max(norm, 1e-12))
	}
}

// mixer draws vectors like the real ones.
type mixer struct {
	real Dense
	rng  *rand.Rand
}

func (m mixer) fill(data []float32) {
	dim := m.real.Columns
	noise := 0.2 / math.Sqrt(float64(dim))
	for ; len(data) > 0; data = data[dim:] {
		row, f, g := data[:dim], m.real.Row(m.rng.IntN(m.real.Len())), m.real.Row(m.rng.IntN(m.real.Len()))
		a := float32(0.6 + 0.4*m.rng.Float64())
		for j := range row {
			row[j] = a*f[j] + (1-a)*g[j] + float32(noise*m.rng.NormFloat64())
		}
		unit(row)
	}
}

// writeMixtures writes a store of n vectors, shard by shard.
func writeMixtures(dir string, real Dense, n int) (*Store, error) {
	for _, name := range []string{"img_emb", "metadata"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return nil, err
		}
	}
	const shard = 1 << 16
	m := mixer{real, rand.New(rand.NewPCG(1, 0))}
	buffer := make([]float32, shard*real.Columns)
	for i := range ceil(n, shard) {
		rows := min(shard, n-i*shard)
		part := buffer[:rows*real.Columns]
		m.fill(part)
		if err := writeMatrix(filepath.Join(dir, "img_emb", fmt.Sprintf("img_emb_%04d.npy", i)), part, real.Columns); err != nil {
			return nil, err
		}
		type plain struct {
			Path string `parquet:"image_path"`
		}
		if err := parquetfile.Write(filepath.Join(dir, "metadata", fmt.Sprintf("metadata_%04d.parquet", i)), make([]plain, rows)); err != nil {
			return nil, err
		}
	}
	return Open(dir)
}

// gemm is the best rate of a product of matrices that the engine reaches, in
// GFLOP/s, at the search's sizes and larger ones.
func gemm(dim int, precision torch.DType) float64 {
	best := 0.0
	for _, size := range [][3]int{{512, dim, 16384}, {2048, dim, 16384}, {2048, 2048, 2048}, {4096, 4096, 4096}} {
		torch.Scope(func() {
			torch.NoGrad(func() {
				a := torch.From(torch.CPU, make([]float32, size[0]*size[1]), size[0], size[1]).Cast(precision)
				b := torch.From(torch.CPU, make([]float32, size[1]*size[2]), size[1], size[2]).Cast(precision)
				for range 4 {
					torch.Scope(func() {
						start := time.Now()
						a.MatMul(b)
						best = max(best, 2*float64(size[0])*float64(size[1])*float64(size[2])/time.Since(start).Seconds()/1e9)
					})
				}
			})
		})
	}
	return best
}

// resetPeak has Linux forget the peak of the resident memory; what it returns
// gives the peak since, above base: what was resident before all searches, since
// the C heap keeps what one has freed and the next one uses it.
func resetPeak(t *testing.T, base int64) func() int64 {
	t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Fatalf("the peak memory can't be measured: %v", err)
	}
	return func() int64 { return statusBytes(t, "VmHWM") - base }
}

func statusBytes(t *testing.T, name string) int64 {
	t.Helper()
	f, err := os.Open("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 1 && fields[0] == name+":" {
			kb, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatalf("/proc/self/status has no %s", name)
	return 0
}

// machine names the processor.
func machine() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return fmt.Sprintf("%s, %d cores", strings.TrimSpace(value), runtime.NumCPU())
		}
	}
	return fmt.Sprintf("%s, %d cores", runtime.GOARCH, runtime.NumCPU())
}
