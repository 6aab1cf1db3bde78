package faiss

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// checkFile reads the structure of an index file and fails where FAISS must not
// see it. FAISS takes the sizes and the row numbers in a file on trust: a
// damaged one has it allocate terabytes, or end the process in a later
// search. So every size is compared here with the file's and with the others, and
// every number that FAISS looks something up by is in range. Memory: a byte a vector
// of a graph, 8 a list.
//
// The layout is that of faiss/impl/index_read.cpp, which newer versions keep; kinds
// of index that aren't read here are refused.
func checkFile(path string) (err error) {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return checkIndex(f, info.Size())
}

func checkIndex(f io.ReaderAt, size int64) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case damage:
			err = v.error
		default:
			panic(v)
		}
	}()
	r := &reader{f: f, size: size}
	r.index("index", wholeKinds)
	return nil
}

// Kinds of index by the four letters that their part of the file begins with.
var (
	flatKinds    = []string{"IxFI", "IxF2", "IxFl"}                                                                       // Flat
	plainKinds   = append([]string{"IxPq", "IxSQ", "IHNf", "IHNp", "IHNs", "IwFl", "IwPQ", "IwSQ", "IwSq"}, flatKinds...) // PQ, SQ; HNSW of Flat, PQ, SQ; IVF of them
	mappedKinds  = append([]string{"IxPT"}, plainKinds...)                                                                // OPQ, PCA and the like before
	wholeKinds   = append([]string{"IxMp", "IxM2"}, mappedKinds...)                                                       // IDMap
	centreKinds  = append([]string{"IHNf"}, flatKinds...)                                                                 // of lists' centres
	storageKinds = map[string][]string{"IHNf": flatKinds, "IHNp": {"IxPq"}, "IHNs": {"IxSQ"}}                             // of graphs
)

// Bounds of what is believed.
const (
	mostDim     = 1 << 20
	mostVectors = 1 << 40
	mostLevels  = 64
	mostLinks   = 1 << 16 // of a vertex, all levels
	mostEffort  = 1 << 20 // efSearch; it's memory, too
	mostBits    = 12      // of a number of a product quantizer; its tables have 2^bits rows
	mostSteps   = 16      // before an index
)

// damage is what is wrong with a file.
type damage struct{ error }

// reader reads a file; what's wrong is a panic of damage.
type reader struct {
	f        io.ReaderAt
	at, size int64
	buffer   []byte
}

func (r *reader) fail(format string, args ...any) {
	panic(damage{fmt.Errorf("byte %d: "+format, append([]any{r.at}, args...)...)})
}

// bytes reads the next n bytes, few; they last until the next call.
func (r *reader) bytes(n int) []byte {
	if int64(n) > r.size-r.at {
		r.fail("it ends too early, at %d bytes", r.size)
	}
	r.buffer = slices.Grow(r.buffer[:0], n)[:n]
	if _, err := r.f.ReadAt(r.buffer, r.at); err != nil && !errors.Is(err, io.EOF) {
		panic(damage{err})
	}
	r.at += int64(n)
	return r.buffer
}

func (r *reader) letters() string { return string(r.bytes(4)) }
func (r *reader) int32() int32    { return int32(binary.LittleEndian.Uint32(r.bytes(4))) }
func (r *reader) int64() int64    { return int64(binary.LittleEndian.Uint64(r.bytes(8))) }

func (r *reader) bool(what string) bool {
	b := r.bytes(1)[0]
	if b > 1 {
		r.fail("%s is %d, not true or false", what, b)
	}
	return b == 1
}

// skip goes past n elements of so many bytes, which must be there.
func (r *reader) skip(what string, n, bytes int64) {
	if n < 0 || n > (r.size-r.at)/bytes {
		r.fail("%d %s of %d bytes each; the file has %d bytes left", n, what, bytes, r.size-r.at)
	}
	r.at += n * bytes
}

// count reads the length of a vector, whose elements must be there.
func (r *reader) count(what string, bytes int64) int64 {
	n := r.int64()
	at := r.at
	r.skip(what, n, bytes)
	r.at = at
	return n
}

// vector goes past a vector and gives its length.
func (r *reader) vector(what string, bytes int64) int64 {
	n := r.count(what, bytes)
	r.skip(what, n, bytes)
	return n
}

// same fails where a size isn't what others say it is.
func (r *reader) same(what string, got, want int64) {
	if got != want {
		r.fail("%s: %d, but by the rest of the file %d", what, got, want)
	}
}

func (r *reader) within(what string, got, least, most int64) {
	if got < least || got > most {
		r.fail("%s: %d isn't possible (%d to %d)", what, got, least, most)
	}
}

// each32 and each64 read n numbers, which are there.
func (r *reader) each32(n int64, do func(int32)) {
	r.each(n, 4, func(b []byte) { do(int32(binary.LittleEndian.Uint32(b))) })
}

func (r *reader) each64(n int64, do func(int64)) {
	r.each(n, 8, func(b []byte) { do(int64(binary.LittleEndian.Uint64(b))) })
}

func (r *reader) each(n int64, size int, do func([]byte)) {
	for n > 0 {
		part := min(n, 1<<13)
		for b := r.bytes(int(part) * size); len(b) > 0; b = b[size:] {
			do(b[:size])
		}
		n -= part
	}
}

// header is what every index begins with.
type header struct {
	dim     int64
	vectors int64
	metric  int32 // 0: inner product, 1: distance
}

func (r *reader) header() header {
	h := header{dim: int64(r.int32())}
	r.within("numbers a vector", h.dim, 1, mostDim)
	h.vectors = r.int64()
	r.within("vectors", h.vectors, 0, min(mostVectors, r.size))
	r.bytes(16) // no longer used
	if !r.bool("is_trained") {
		r.fail("the index isn't trained")
	}
	h.metric = r.int32()
	if h.metric != 0 && h.metric != 1 {
		r.fail("it ranks by measure %d of FAISS; build it with the inner product", h.metric)
	}
	return h
}

// index reads an index of one of the kinds.
func (r *reader) index(what string, kinds []string) header {
	kind := r.letters()
	if !slices.Contains(kinds, kind) {
		r.fail("%s of type %q; read are %s (Flat, HNSW, IVF, PQ, SQ, behind OPQ or PCA)", what, kind, strings.Join(kinds, ", "))
	}
	h := r.header()
	switch kind {
	case "IxPq":
		size := r.productQuantizer(h.dim, mostBits)
		r.same("bytes of codes", r.vector("bytes of codes", 1), h.vectors*size)
		r.same("search type", int64(r.int32()), 0)
		r.bool("encode_signs")
		r.int32() // polysemous_ht
	case "IxSQ":
		size := r.scalarQuantizer(h.dim)
		r.same("bytes of codes", r.vector("bytes of codes", 1), h.vectors*size)
	case "IHNf", "IHNp", "IHNs":
		r.graph(h.vectors)
		r.part(h, "vectors of the graph", storageKinds[kind])
	case "IwFl", "IwPQ", "IwSQ", "IwSq":
		r.lists(kind, h)
	case "IxPT":
		r.transformed(h)
	case "IxMp", "IxM2":
		r.part(h, "index behind row numbers", mappedKinds)
		r.same("row numbers", r.vector("row numbers", 8), h.vectors)
	default:
		r.same("numbers", r.vector("numbers", 4), h.vectors*h.dim)
	}
	return h
}

// part reads an index of the same vectors.
func (r *reader) part(of header, what string, kinds []string) {
	h := r.index(what, kinds)
	r.same("numbers a vector", h.dim, of.dim)
	r.same("vectors", h.vectors, of.vectors)
}

// graph reads the links of HNSW's n vertices: each has so many on each of its levels,
// to vertices that have that level too.
func (r *reader) graph(n int64) {
	r.within("vertices of the graph", n, 1, 1<<31-1)
	r.vector("probabilities", 8)
	var ends []int64 // of the links of each level, the first of which is level 0
	levels := r.count("levels", 4)
	r.within("levels", levels, 2, mostLevels)
	r.each32(levels, func(end int32) {
		least := int64(0)
		if len(ends) > 0 {
			least = ends[len(ends)-1]
		}
		r.within("links", int64(end), least, mostLinks)
		ends = append(ends, int64(end))
	})
	r.same("links before level 0", ends[0], 0)
	r.same("vertices' levels", r.count("vertices' levels", 4), n)
	own := make([]uint8, 0, n)
	r.each32(n, func(level int32) {
		r.within("level", int64(level), 1, levels-1)
		own = append(own, uint8(level))
	})
	r.same("offsets", r.count("offsets", 8), n+1)
	i, links := 0, int64(0)
	r.each64(n+1, func(offset int64) {
		r.same("offset", offset, links)
		if i < len(own) {
			links += ends[own[i]]
		}
		i++
	})
	r.same("links", r.count("links", 4), links)
	vertex, level, link := 0, 0, int64(0) // of the vertex
	r.each32(links, func(to int32) {
		for link == ends[own[vertex]] { // one may have none
			vertex, level, link = vertex+1, 0, 0
		}
		for link == ends[level+1] {
			level++
		}
		if int64(to) >= n || to >= 0 && int(own[to]) <= level {
			r.fail("vertex %d of %d has a link to %d on level %d, which isn't there", vertex, n, to, level)
		}
		link++
	})
	entry, top := r.int32(), r.int32()
	r.within("entry point", int64(entry), 0, n-1)
	r.within("highest level", int64(top), 0, int64(own[entry])-1)
	r.int32() // efConstruction
	r.within("efSearch", int64(r.int32()), 1, mostEffort)
	r.within("upper_beam", int64(r.int32()), 1, mostLinks)
}

// lists reads inverted lists of vectors near centres.
func (r *reader) lists(kind string, h header) {
	lists := r.int64()
	r.int64() // nprobe, which FAISS bounds
	centres := r.index("centres of lists", centreKinds)
	r.same("numbers a centre", centres.dim, h.dim)
	r.same("centres", centres.vectors, lists)
	r.directMap()
	size := 4 * h.dim
	switch kind {
	case "IwPQ":
		// Else FAISS would make tables larger than the file by far.
		r.same("measure of the centres", int64(centres.metric), int64(h.metric))
		r.bool("by_residual")
		claimed := r.int64()
		size = r.productQuantizer(h.dim, mostBits)
		r.same("bytes a code", claimed, size)
	case "IwSQ", "IwSq":
		size = r.scalarQuantizer(h.dim)
		r.same("bytes a code", r.int64(), size)
		if kind == "IwSq" {
			r.bool("by_residual")
		}
	}
	if layout := r.letters(); layout != "ilar" {
		r.fail("inverted lists of type %q; read are those in the index's own file (\"ilar\")", layout)
	}
	r.same("lists", r.int64(), lists)
	r.same("bytes a code", r.int64(), size)
	var total int64
	sizes := r.listSizes(lists)
	for _, n := range sizes {
		r.within("vectors of a list", n, 0, h.vectors)
		total += n
		r.within("vectors of all lists", total, 0, h.vectors)
	}
	r.same("vectors of all lists", total, h.vectors)
	for _, n := range sizes {
		r.skip("codes", n, size)
		r.skip("row numbers", n, 8)
		r.at -= 8 * n
		r.each64(n, func(row int64) { r.within("row", row, 0, h.vectors-1) })
	}
}

func (r *reader) listSizes(lists int64) []int64 {
	sizes := make([]int64, lists) // as many as there are centres in the file
	switch layout := r.letters(); layout {
	case "full":
		r.same("lists", r.count("lists", 8), lists)
		i := 0
		r.each64(lists, func(n int64) { sizes[i] = n; i++ })
	case "sprs": // pairs of list and size
		n := r.count("lists and sizes", 8)
		r.same("lists without size", n%2, 0)
		list := int64(-1)
		r.each64(n, func(v int64) {
			if list < 0 {
				r.within("list", v, 0, lists-1)
				list = v
			} else {
				sizes[list], list = v, -1
			}
		})
	default:
		r.fail("sizes of lists of type %q", layout)
	}
	return sizes
}

// directMap reads where each vector is, which only FAISS's reconstruct looks at.
func (r *reader) directMap() {
	kind := r.bytes(1)[0]
	r.within("direct map", int64(kind), 0, 2)
	r.vector("places", 8)
	if kind == 2 {
		r.vector("places", 16)
	}
}

// productQuantizer gives the bytes of a code.
func (r *reader) productQuantizer(dim, bits int64) int64 {
	r.same("numbers of the quantizer", r.int64(), dim)
	parts, nbits := r.int64(), r.int64()
	r.within("parts of a code", parts, 1, dim)
	r.same("numbers beyond the parts of a code", dim%parts, 0)
	r.within("bits of a part", nbits, 1, bits)
	r.same("numbers of centroids", r.vector("numbers of centroids", 4), dim<<nbits)
	return (parts*nbits + 7) / 8
}

// scalarQuantizer gives the bytes of a code, by FAISS's ScalarQuantizer::QuantizerType.
func (r *reader) scalarQuantizer(dim int64) int64 {
	kinds := []struct{ bits, trained int64 }{{8, 2 * dim}, {4, 2 * dim}, {8, 2}, {4, 2}, {16, 0}, {8, 0}, {6, 2 * dim}}
	kind := int64(r.int32())
	r.within("kind of scalar quantizer", kind, 0, int64(len(kinds)-1))
	r.bytes(8) // how it was trained
	r.same("numbers of the quantizer", r.int64(), dim)
	size := (dim*kinds[kind].bits + 7) / 8
	r.same("bytes a code", r.int64(), size)
	r.same("numbers of the quantizer's ranges", r.vector("numbers of the quantizer's ranges", 4), kinds[kind].trained)
	return size
}

// transformed reads an index of vectors that are changed before.
func (r *reader) transformed(h header) {
	steps := r.int32()
	r.within("steps before the index", int64(steps), 0, mostSteps)
	dim := h.dim
	for range steps {
		in, out := r.transform()
		r.same("numbers that a step takes", in, dim)
		dim = out
	}
	inner := h
	inner.dim = dim
	r.part(inner, "index behind a transform", plainKinds)
}

func (r *reader) transform() (in, out int64) {
	kind := r.letters()
	biased := false
	var matrix, bias, means, places int64
	mapped := int64(-1) // the greatest place
	switch kind {
	case "PcAm", "Pcam":
		r.bytes(4) // eigen_power
		if kind == "Pcam" {
			r.bytes(4) // epsilon
		}
		r.bool("random_rotation")
		r.bytes(4) // balanced_bins
		for _, what := range []string{"means", "eigenvalues", "numbers of all components"} {
			r.vector(what, 4)
		}
		fallthrough
	case "rrot", "LTra": // OPQ
		biased = r.bool("have_bias")
		matrix = r.vector("numbers of a matrix", 4)
		bias = r.vector("numbers of a bias", 4)
	case "RmDT":
		places = r.count("places", 4)
		r.each32(places, func(place int32) {
			r.within("place", int64(place), -1, mostDim)
			mapped = max(mapped, int64(place))
		})
	case "VNrm":
		r.bytes(4)
	case "VCnt":
		means = r.vector("means", 4)
	default:
		r.fail("a transform of type %q; read are OPQ, rotations, PCA, normalisation, centring", kind)
	}
	in, out = int64(r.int32()), int64(r.int32())
	r.within("numbers that a step takes", in, 1, mostDim)
	r.within("numbers that a step gives", out, 1, mostDim)
	if !r.bool("is_trained") {
		r.fail("a step before the index isn't trained")
	}
	switch kind {
	case "RmDT":
		r.same("places", places, out)
		r.within("greatest place", mapped, -1, in-1)
	case "VNrm", "VCnt":
		r.same("numbers that a step gives", out, in)
		if kind == "VCnt" {
			r.same("means", means, in)
		}
	default:
		r.same("numbers of a matrix", matrix, in*out)
		if biased {
			r.same("numbers of a bias", bias, out)
		}
	}
	return in, out
}
