package index

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"arf/faiss"
	"arf/internal/atomicfile"
	"arf/internal/ram"
	"arf/torch"
)

// FAISSInfo tells of a FAISS index and how it was built. It lies beside the
// index as image.index.json or text.index.json; one without was made elsewhere.
type FAISSInfo struct {
	Kind         string  `json:"kind"`          // in FAISS's words; "" if made elsewhere
	Version      string  `json:"faiss_version"` // that built it
	Features     string  `json:"features"`      // Manifest.Hash, or what stands for it
	Rows         int     `json:"rows"`
	Dim          int     `json:"dim"`
	TrainRows    int     `json:"train_rows"`    // that clusters were fitted to
	TrainSeconds float64 `json:"train_seconds"` // wall clock
	AddSeconds   float64 `json:"add_seconds"`
	Bytes        int64   `json:"bytes"` // of the file, and about of memory
	// Built is false where the index was there.
	Built bool `json:"-"`
}

// FAISSOptions of an index that isn't there yet.
type FAISSOptions struct {
	Memory   int64  // bytes that the index may take; 0 is half of what the machine has free
	Kind     string // in FAISS's words; "" chooses by Kind
	Progress func(done, total int)
}

// FAISS opens the FAISS index of a store's image or text features, which lies
// in its folder as clip-retrieval has it (image.index, text.index), and builds
// it first where it isn't there or of other features. An index that another
// program built is taken as it is, if its size fits.
func (s *Store) FAISS(ctx context.Context, texts bool, o FAISSOptions) (*faiss.Index, FAISSInfo, error) {
	name, vectors := "image", s.Images()
	if texts {
		name, vectors = "text", s.Texts()
	}
	path := filepath.Join(s.Dir, name+".index")
	if err := faiss.Load(); err != nil {
		return nil, FAISSInfo{}, err
	}
	faiss.SetThreads(torch.Threads())
	memory := o.Memory
	if memory == 0 {
		memory = freeMemory() / 2
	}
	features, err := s.identity(texts)
	if err != nil {
		return nil, FAISSInfo{}, err
	}
	if x, info, err := openFAISS(path, features, vectors, memory, o.Kind); x != nil || err != nil {
		return x, info, err
	}
	x, info, err := buildFAISS(ctx, vectors, memory, o)
	if err != nil {
		return nil, info, fmt.Errorf("index of %s features in %s: %w", name, s.Dir, err)
	}
	info.Features = features
	if err := writeFAISS(path, x, &info); err != nil {
		x.Close()
		return nil, info, err
	}
	return x, info, nil
}

// identity stands for the content of the features: the manifest's hash, or
// names, sizes and times of the files where another program wrote them.
func (s *Store) identity(texts bool) (string, error) {
	if s.Manifest.Hash != "" {
		return s.Manifest.Hash, nil
	}
	files := s.image
	if texts {
		files = s.text
	}
	var b strings.Builder
	for _, m := range files {
		info, err := os.Stat(m.path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "%s %d %d;", filepath.Base(m.path), info.Size(), info.ModTime().UnixNano())
	}
	return b.String(), nil
}

func infoPath(path string) string { return path + ".json" }

// openFAISS gives nil where the index must be built.
func openFAISS(path, features string, vectors Vectors, memory int64, kind string) (*faiss.Index, FAISSInfo, error) {
	info := FAISSInfo{Rows: vectors.Len(), Dim: vectors.Dim()}
	file, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, info, nil
	}
	if err != nil {
		return nil, info, err
	}
	info.Bytes = file.Size()
	own := true
	data, err := os.ReadFile(infoPath(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		own = false // made elsewhere
	case err != nil:
		return nil, info, err
	default:
		var was FAISSInfo
		// Half an index of ours can't be: its description is written last.
		if json.Unmarshal(data, &was) != nil || was.Features != features || was.Bytes != file.Size() || kind != "" && was.Kind != kind {
			return nil, info, nil
		}
		info = was
	}
	x, err := faiss.Open(path, file.Size() > 2*memory)
	if err != nil {
		if own {
			return nil, info, nil // built again
		}
		return nil, info, err
	}
	if x.Len() != vectors.Len() || x.Dim() != vectors.Dim() {
		defer x.Close()
		return nil, info, fmt.Errorf("%s has %d vectors of %d numbers, the features are %d of %d; it isn't of these features: remove it, and it is built", path, x.Len(), x.Dim(), vectors.Len(), vectors.Dim())
	}
	return x, info, nil
}

func buildFAISS(ctx context.Context, vectors Vectors, memory int64, o FAISSOptions) (*faiss.Index, FAISSInfo, error) {
	rows, dim := vectors.Len(), vectors.Dim()
	info := FAISSInfo{Kind: o.Kind, Version: faiss.Version(), Rows: rows, Dim: dim, Built: true}
	if info.Kind == "" {
		info.Kind = Kind(rows, dim, memory)
	}
	x, err := faiss.New(dim, info.Kind)
	if err != nil {
		return nil, info, err
	}
	ok := false
	defer func() {
		if !ok {
			x.Close()
		}
	}()
	start := time.Now()
	if !x.Trained() {
		info.TrainRows = min(rows, max(pointsCluster*listsOf(info.Kind), 1<<16))
		sample, err := spread(vectors, info.TrainRows)
		if err != nil {
			return nil, info, err
		}
		if err := x.Train(ctx, sample.Data); err != nil {
			return nil, info, err
		}
		sample.Data = nil
		debug.FreeOSMemory() // it may be a fifth of the vectors, and the index is to come
	}
	info.TrainSeconds = time.Since(start).Seconds()
	start = time.Now()
	if err := addAll(ctx, x, vectors, o.Progress); err != nil {
		return nil, info, err
	}
	info.AddSeconds = time.Since(start).Seconds()
	ok = true
	return x, info, nil
}

// addAll adds all vectors to an empty index. Inverted lists that grow by and by
// would take half as much again, so it's first counted what each will get.
func addAll(ctx context.Context, x *faiss.Index, vectors Vectors, progress func(done, total int)) error {
	// Each thread has its own heap and OpenMP its own team for it, and both keep what they once took.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	rows := vectors.Len()
	report := func(done int, err error) error {
		if err == nil && progress != nil {
			progress(done, rows)
		}
		return err
	}
	if x.Lists() == 0 {
		if err := x.Reserve(rows); err != nil {
			return err
		}
		return eachBlock(vectors, func(block []float32, from, to int) error {
			return report(to, x.Add(ctx, block, nil))
		})
	}
	lists := make([]int64, rows)
	err := eachBlock(vectors, func(block []float32, from, to int) error {
		own, err := x.Assign(ctx, block)
		copy(lists[from:to], own)
		return report(to/2, err)
	})
	if err != nil {
		return err
	}
	if err := x.ReserveLists(lists); err != nil {
		return err
	}
	return eachBlock(vectors, func(block []float32, from, to int) error {
		return report((rows+to)/2, x.Add(ctx, block, lists[from:to]))
	})
}

// eachBlock reads the vectors in blocks of whole rows.
func eachBlock(v Vectors, do func(block []float32, from, to int) error) error {
	const rows = 8192
	buffer := make([]float32, min(rows, v.Len())*v.Dim())
	for from := 0; from < v.Len(); from += rows {
		to := min(from+rows, v.Len())
		block := buffer[:(to-from)*v.Dim()]
		if err := v.Read(block, from); err != nil {
			return err
		}
		if err := do(block, from, to); err != nil {
			return err
		}
	}
	return nil
}

// spread reads n rows from all over the vectors, in runs of neighbours, which
// are one read.
func spread(v Vectors, n int) (Dense, error) {
	const run = 64
	var starts []int
	for i := 0; i < v.Len(); i += run {
		starts = append(starts, i)
	}
	rand.New(rand.NewPCG(1, 0)).Shuffle(len(starts), func(i, j int) { starts[i], starts[j] = starts[j], starts[i] })
	starts = starts[:min(len(starts), ceil(n, run))]
	slices.Sort(starts)
	d := Dense{Columns: v.Dim(), Data: make([]float32, 0, n*v.Dim())}
	for _, s := range starts {
		size := len(d.Data)
		d.Data = d.Data[:min(size+min(run, v.Len()-s)*v.Dim(), cap(d.Data))]
		if err := v.Read(d.Data[size:], s); err != nil {
			return d, err
		}
	}
	return d, nil
}

// listsOf is the number of clusters in a kind such as "OPQ64_384,IVF16384_HNSW32,PQ64x8".
func listsOf(kind string) int {
	for part := range strings.SplitSeq(kind, ",") {
		if digits, ok := strings.CutPrefix(part, "IVF"); ok {
			digits, _, _ = strings.Cut(digits, "_")
			n, _ := strconv.Atoi(digits)
			return n
		}
	}
	return 0
}

// writeFAISS writes the index and then what tells of it, so that one without
// the other isn't ours. The old index goes before what tells of it: alone it
// would pass for another program's.
func writeFAISS(path string, x *faiss.Index, info *FAISSInfo) error {
	for _, old := range []string{path, infoPath(path)} {
		if err := os.Remove(old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := x.Write(path); err != nil {
		return err
	}
	file, err := os.Stat(path)
	if err != nil {
		return err
	}
	info.Bytes = file.Size()
	data, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(infoPath(path), append(data, '\n'), 0o644)
}

// freeMemory is 8 GiB where the machine says nothing.
func freeMemory() int64 { return cmp.Or(ram.Available(), 8<<30) }
