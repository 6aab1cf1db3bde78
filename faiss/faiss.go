// Package faiss is a thin Go face of FAISS (Johnson et al. 2019), which finds
// approximate nearest neighbours. Package index decides what kind of index to
// build; this one only calls the library.
//
// build/libarf_faiss.so is made by `make engine` where FAISS is installed
// (Debian: libfaiss-dev), and loaded at run time. Nothing else needs it.
package faiss

// #cgo CFLAGS: -I${SRCDIR}/shim
// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"unsafe"

	"arf/internal/atomicfile"
	"arf/internal/sharedlib"
)

const libraryName = "libarf_faiss.so"

var library struct {
	once sync.Once
	api  *C.arf_faiss_api
	err  error
}

// Load finds and loads the library. The first call does the work, later ones
// return its result; all functions here call it.
func Load() error {
	library.once.Do(func() {
		path, err := sharedlib.Find(libraryName, "ARF_FAISS")
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("FAISS isn't there (%w); build it with `make setup engine`, or name it in ARF_FAISS", err)
		}
		if err != nil {
			library.err = err
			return
		}
		name := C.CString(path)
		defer C.free(unsafe.Pointer(name))
		var message *C.char
		loaded := C.arf_faiss_open(name, &message)
		if loaded == nil {
			defer C.free(unsafe.Pointer(message))
			library.err = fmt.Errorf("load %s: %s; rebuild it with `make engine`", path, C.GoString(message))
			return
		}
		if loaded.abi != C.ARF_FAISS_ABI {
			library.err = fmt.Errorf("%s has ABI %d, this program needs %d; rebuild it with `make engine`", path, loaded.abi, C.ARF_FAISS_ABI)
			return
		}
		library.api = loaded
	})
	return library.err
}

// Version is FAISS's version, such as "1.7.3"; "" where it can't be loaded.
func Version() string {
	if Load() != nil {
		return ""
	}
	return C.GoString(library.api.version)
}

// SetThreads sets the threads of the calls that begin from now on.
func SetThreads(n int) {
	if Load() == nil {
		C.arf_faiss_set_threads(library.api, C.int64_t(n))
	}
}

// Index ranks vectors by inner product. Its calls must not run side by side.
// Close frees its memory.
type Index struct {
	handle  C.int64_t
	dim     int
	trained bool
	rows    int
	lists   int
}

// New makes an empty index by FAISS's description of its kind, such as "Flat",
// "HNSW32" or "IVF4096,Flat".
func New(dim int, description string) (*Index, error) {
	if err := Load(); err != nil {
		return nil, err
	}
	text := C.CString(description)
	defer C.free(unsafe.Pointer(text))
	x := &Index{}
	if err := call(func() C.int { return C.arf_faiss_make(library.api, C.int64_t(dim), text, &x.handle) }); err != nil {
		return nil, fmt.Errorf("faiss: make index %s of %d numbers a row: %w", description, dim, err)
	}
	return x, x.refresh()
}

// Open reads an index that this package, Python's faiss or autofaiss wrote: Flat,
// HNSW, IVF, PQ and SQ, as they are, behind OPQ or PCA, or with row numbers (IDMap).
// A damaged file or another kind is an error.
// With onDisk, inverted lists stay on disk, for indexes larger than the memory.
func Open(path string, onDisk bool) (*Index, error) {
	if err := Load(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	if err := checkFile(path); err != nil {
		return nil, fmt.Errorf("faiss: read %s: %w; remove the file to have it built again", path, err)
	}
	text := C.CString(path)
	defer C.free(unsafe.Pointer(text))
	mapped := C.int(0)
	if onDisk {
		mapped = 1
	}
	x := &Index{}
	if err := call(func() C.int { return C.arf_faiss_read(library.api, text, mapped, &x.handle) }); err != nil {
		return nil, fmt.Errorf("faiss: read %s: %w; remove the file to have it built again", path, err)
	}
	inner, err := x.info()
	if err == nil && !inner {
		err = errors.New("it ranks by distance; build it with the inner product (autofaiss: --metric_type ip)")
	}
	if err != nil {
		x.Close()
		return nil, fmt.Errorf("faiss: read %s: %w", path, err)
	}
	return x, nil
}

func (x *Index) refresh() error {
	_, err := x.info()
	return err
}

func (x *Index) info() (innerProduct bool, err error) {
	var out [5]C.int64_t
	if err := call(func() C.int { return C.arf_faiss_info(library.api, x.handle, &out[0]) }); err != nil {
		return false, err
	}
	x.dim, x.rows, x.trained, x.lists = int(out[0]), int(out[1]), out[2] != 0, int(out[4])
	return out[3] != 0, nil
}

// Close frees the index; x can't be used any more.
func (x *Index) Close() {
	if x.handle != 0 {
		C.arf_faiss_free(library.api, x.handle)
		x.handle = 0
	}
}

// Dim is the length of a vector.
func (x *Index) Dim() int { return x.dim }

// Len is the number of vectors.
func (x *Index) Len() int { return x.rows }

// Trained tells whether vectors can be added.
func (x *Index) Trained() bool { return x.trained }

// Train fits what the index needs to know before vectors are added, such as the
// centres of its clusters, to a sample of them [n, Dim].
func (x *Index) Train(ctx context.Context, vectors []float32) error {
	err := x.pass(ctx, "train", vectors, func(v *C.float, n C.int64_t) C.int { return C.arf_faiss_train(library.api, x.handle, v, n) })
	return errors.Join(err, x.refresh())
}

// Add appends vectors [n, Dim]; they are numbered in their order, from 0. lists
// is what Assign gave for them, or nil.
func (x *Index) Add(ctx context.Context, vectors []float32, lists []int64) error {
	err := x.pass(ctx, "add", vectors, func(v *C.float, n C.int64_t) C.int {
		if lists != nil && len(lists) != int(n) {
			panic(fmt.Sprintf("faiss: add: %d lists for %d vectors", len(lists), n))
		}
		return C.arf_faiss_add(library.api, x.handle, v, n, (*C.int64_t)(unsafe.SliceData(lists)))
	})
	return errors.Join(err, x.refresh())
}

// Lists is how many inverted lists the index has; 0 is another kind of index, or
// one that Assign doesn't know (it changes vectors before, or packs its lists).
func (x *Index) Lists() int { return x.lists }

// Assign gives the inverted list that each of the vectors [n, Dim] goes into; −1 is none.
func (x *Index) Assign(ctx context.Context, vectors []float32) ([]int64, error) {
	lists := make([]int64, len(vectors)/max(x.dim, 1))
	return lists, x.pass(ctx, "assign", vectors, func(v *C.float, n C.int64_t) C.int {
		return C.arf_faiss_assign(library.api, x.handle, v, n, (*C.int64_t)(unsafe.SliceData(lists)))
	})
}

// Reserve takes the memory for n vectors at once, where the kind of index allows
// it; without, growing takes up to three times as much for a while.
func (x *Index) Reserve(n int) error {
	if err := call(func() C.int { return C.arf_faiss_reserve(library.api, x.handle, C.int64_t(n)) }); err != nil {
		return fmt.Errorf("faiss: take memory for %d vectors: %w", n, err)
	}
	return nil
}

// ReserveLists takes the memory for vectors that Assign gave these lists.
func (x *Index) ReserveLists(lists []int64) error {
	sizes := make([]int64, x.lists)
	for _, list := range lists {
		if list >= 0 {
			sizes[list]++
		}
	}
	if err := call(func() C.int {
		return C.arf_faiss_reserve_lists(library.api, x.handle, (*C.int64_t)(unsafe.SliceData(sizes)))
	}); err != nil {
		return fmt.Errorf("faiss: take memory for %d vectors in %d lists: %w", len(lists), len(sizes), err)
	}
	return nil
}

// Set sets a parameter of the search by FAISS's name for it, such as "nprobe"
// or "efSearch".
func (x *Index) Set(parameter string, value int) error {
	text := C.CString(parameter)
	defer C.free(unsafe.Pointer(text))
	if err := call(func() C.int { return C.arf_faiss_set(library.api, x.handle, text, C.double(value)) }); err != nil {
		return fmt.Errorf("faiss: set %s=%d: %w", parameter, value, err)
	}
	return nil
}

// Search finds about the k vectors with the greatest inner product for each
// query [n, Dim]: scores and rows [n, k], best first, row −1 where fewer were
// found.
func (x *Index) Search(ctx context.Context, queries []float32, k int) (scores []float32, rows []int64, err error) {
	if k < 1 || x.dim < 1 {
		return nil, nil, fmt.Errorf("faiss: search: k is %d, must be at least 1", k)
	}
	n := len(queries) / x.dim
	scores, rows = make([]float32, n*k), make([]int64, n*k)
	err = x.pass(ctx, "search", queries, func(v *C.float, n C.int64_t) C.int {
		return C.arf_faiss_search(library.api, x.handle, v, n, C.int64_t(k), (*C.float)(unsafe.SliceData(scores)), (*C.int64_t)(unsafe.SliceData(rows)))
	})
	return scores, rows, err
}

// Write writes the index atomically, as a file that other programs' FAISS reads.
func (x *Index) Write(path string) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Cleanup()
	text := C.CString(f.Name())
	defer C.free(unsafe.Pointer(text))
	if err = call(func() C.int { return C.arf_faiss_write(library.api, x.handle, text) }); err == nil {
		err = f.CloseAtomicallyReplace()
	}
	if err != nil {
		return fmt.Errorf("faiss: write %s: %w (is the disk of %s full?)", path, err, filepath.Dir(path))
	}
	return nil
}

// busy serialises the calls that a context can end: the library has one switch
// for all, and each call uses all threads anyway.
var busy sync.Mutex

// pass hands rows to f, and ends it with the context's error.
func (x *Index) pass(ctx context.Context, what string, rows []float32, f func(*C.float, C.int64_t) C.int) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if x.handle == 0 || x.dim < 1 || len(rows)%x.dim != 0 {
		return fmt.Errorf("faiss: %s: %d numbers for an index of %d a row", what, len(rows), x.dim)
	}
	if len(rows) == 0 {
		return nil
	}
	busy.Lock()
	defer busy.Unlock()
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		C.arf_faiss_interrupt(library.api, 1)
		close(interrupted)
	})
	err := call(func() C.int {
		return f((*C.float)(unsafe.SliceData(rows)), C.int64_t(len(rows)/x.dim))
	})
	if !stop() {
		<-interrupted
		C.arf_faiss_interrupt(library.api, 0)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("faiss: %s: %w", what, err)
	}
	return nil
}

// call gives the library's error, whose text is the thread's.
func call(f func() C.int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if f() != 0 {
		return errors.New(C.GoString(C.arf_faiss_last_error(library.api)))
	}
	return nil
}
