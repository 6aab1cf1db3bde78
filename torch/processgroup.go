package torch

// #include <stdlib.h>
// #include "bridge.h"
import "C"

import (
	"runtime"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"
)

// Backends tells which libraries for collectives the engine has: Gloo computes
// on the CPU, NCCL on GPUs.
func Backends() (gloo, nccl bool) {
	d := api().dist
	return d != nil && d.gloo != 0, d != nil && d.nccl != 0
}

func distAPI() *C.arf_dist_api {
	d := api().dist
	if d == nil {
		panic(&Error{Op: "process group", Message: "this engine can't run on several processes: it was built without Gloo; install its headers (Debian: libgloo-dev) and run `make engine`"})
	}
	return d
}

// Store is the rendezvous of a process group: keys and values that all its
// processes see (c10d::TCPStore).
type Store struct{ handle C.int64_t }

// OpenStore connects to the store at host:port, which one process serves. It
// and Get wait for the others for at most timeout. Keys get the prefix.
func OpenStore(host string, port int, serve bool, prefix string, timeout time.Duration) (s *Store, err error) {
	defer Catch(&err)
	d := distAPI()
	chost, cprefix := C.CString(host), C.CString(prefix)
	defer C.free(unsafe.Pointer(chost))
	defer C.free(unsafe.Pointer(cprefix))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s = &Store{}
	check("rendezvous", C.arf_store_open(d, chost, C.int64_t(port), flag(serve), cprefix, C.int64_t(timeout.Milliseconds()), &s.handle))
	return s, nil
}

// Set gives a key a value.
func (s *Store) Set(key, value string) (err error) {
	defer Catch(&err)
	ckey, cvalue := C.CString(key), C.CString(value)
	defer C.free(unsafe.Pointer(ckey))
	defer C.free(unsafe.Pointer(cvalue))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	check("rendezvous", C.arf_store_set(distAPI(), s.handle, ckey, cvalue))
	return nil
}

// Get waits for a key's value.
func (s *Store) Get(key string) (value string, err error) {
	defer Catch(&err)
	ckey := C.CString(key)
	defer C.free(unsafe.Pointer(ckey))
	var out [1024]C.char
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	check("rendezvous", C.arf_store_get(distAPI(), s.handle, ckey, &out[0], C.int64_t(len(out))))
	return C.GoString(&out[0]), nil
}

// Close leaves the store; at the process that serves it, it ends.
func (s *Store) Close() {
	if s.handle != 0 {
		C.arf_store_close(distAPI(), s.handle)
		s.handle = 0
	}
}

// ProcessGroup runs collectives, each of which all processes must call, in one
// order. They are panics of *Error when they fail, as operators are.
type ProcessGroup struct {
	handle     C.int64_t
	Rank, Size int
}

// OpenProcessGroup joins the group of the store. With NCCL tensors must be on
// GPUs, without on the CPU. address is this machine's as the others reach it,
// or "@" and the name of an interface (Gloo only). A collective fails after timeout.
func OpenProcessGroup(s *Store, rank, size int, nccl bool, address string, timeout time.Duration) (g *ProcessGroup, err error) {
	defer Catch(&err)
	d := distAPI()
	caddress := C.CString(address)
	defer C.free(unsafe.Pointer(caddress))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	g = &ProcessGroup{Rank: rank, Size: size}
	check("open the process group", C.arf_group_open(d, s.handle, C.int64_t(rank), C.int64_t(size), flag(nccl), caddress, C.int64_t(timeout.Milliseconds()), &g.handle))
	return g, nil
}

// Abort ends all waiting of this process, and later collectives, with an error
// of this text. It may be called from any goroutine.
func (g *ProcessGroup) Abort(reason string) {
	creason := C.CString(reason)
	defer C.free(unsafe.Pointer(creason))
	C.arf_group_abort(distAPI(), g.handle, creason)
}

// Close leaves the group once its collectives are done. One that failed isn't
// to be closed: it would wait for the others.
func (g *ProcessGroup) Close() {
	if g.handle != 0 {
		C.arf_group_close(distAPI(), g.handle)
		g.handle = 0
	}
}

// CollectiveFailed tells whether an error is of a collective, whose cause may be
// another process.
func (e *Error) CollectiveFailed() bool {
	// Those inside a backward pass come through autograd as the library threw them.
	return strings.HasPrefix(e.Message, "process group: ") ||
		e.Op == "backward" && (strings.Contains(e.Message, "gloo") || strings.Contains(e.Message, "NCCL"))
}

// AllReduce replaces t by its sum over the processes, the same bits everywhere.
func (g *ProcessGroup) AllReduce(t *Tensor) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	failed := C.arf_all_reduce(distAPI(), g.handle, t.use("all_reduce"))
	runtime.KeepAlive(t)
	check("all_reduce", failed)
}

// AllGather concatenates the processes' t [n, …] to [Size·n, …] in the order of
// their ranks. All must have one shape. A row's gradient is the sum of those that
// the processes' losses have for it (as torch.distributed.nn.functional.all_gather),
// so that Backward is a collective too.
func (g *ProcessGroup) AllGather(t *Tensor) *Tensor {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out C.int64_t
	failed := C.arf_all_gather(distAPI(), g.handle, t.use("all_gather"), &out)
	runtime.KeepAlive(t)
	check("all_gather", failed)
	return newTensor(int64(out), currentScope())
}

// Broadcast replaces t by that of the process root.
func (g *ProcessGroup) Broadcast(t *Tensor, root int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	failed := C.arf_broadcast(distAPI(), g.handle, t.use("broadcast"), C.int64_t(root))
	runtime.KeepAlive(t)
	check("broadcast", failed)
}

// Reducer sums gradients over the processes, in buckets that are sent while
// Backward computes the rest (as DistributedDataParallel; Li et al., VLDB 2020).
type Reducer struct {
	handle C.int64_t
	closed atomic.Bool
}

// NewReducer watches params, all of which must require a gradient. Buckets have
// at most bucketBytes, or one tensor. It must be closed before the group.
func (g *ProcessGroup) NewReducer(params []*Tensor, bucketBytes int64) *Reducer {
	handles := make([]C.int64_t, len(params)+1)
	for i, p := range params {
		handles[i] = p.use("reducer")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r := &Reducer{}
	failed := C.arf_reducer_open(distAPI(), g.handle, &handles[0], C.int64_t(len(params)), C.int64_t(bucketBytes), &r.handle)
	runtime.KeepAlive(params)
	check("reducer", failed)
	return r
}

// Begin has the next Backward's gradients summed.
func (r *Reducer) Begin() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	check("reducer", C.arf_reducer_begin(distAPI(), r.handle))
}

// Overlap tells how far the sums of a step's gradients overlapped with Backward.
type Overlap struct {
	Buckets    int   `json:"buckets"`    // of gradients
	Overlapped int   `json:"overlapped"` // those sent while Backward had others to compute
	Bytes      int64 `json:"bytes"`      // of all gradients
}

// Finish, after Backward, waits until every parameter's gradient is the sum; a
// parameter that no process has a gradient of has none.
func (r *Reducer) Finish() Overlap {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var overlap [3]C.int64_t
	check("reducer", C.arf_reducer_finish(distAPI(), r.handle, &overlap[0]))
	return Overlap{Buckets: int(overlap[0]), Overlapped: int(overlap[1]), Bytes: int64(overlap[2])}
}

// Close ends the watch.
func (r *Reducer) Close() {
	if r.closed.CompareAndSwap(false, true) {
		C.arf_reducer_close(distAPI(), r.handle)
	}
}

func flag(on bool) C.int {
	if on {
		return 1
	}
	return 0
}
