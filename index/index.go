// Package index keeps feature vectors on disk and finds nearest neighbours.
//
// Features lie in clip-retrieval's layout, so that embeddings made elsewhere
// can be read and ours be used elsewhere:
//
//	img_emb/img_emb_0.npy        float16 [n, dim], each row of length 1
//	text_emb/text_emb_0.npy      the same for the texts
//	metadata/metadata_0.parquet  image_path, caption and more: see Row
//	features.json                what they were made from: see Manifest
//	image.index, text.index      FAISS indexes of them, if built: see Store.FAISS
//
// Embed writes such a folder, shard by shard, and goes on where it was stopped.
// Open reads one. Exact searches it, Approximate with the help of FAISS or of
// Milvus, a vector database on other machines.
package index

import (
	"fmt"
	"slices"
	"sort"
)

// Vectors are rows of numbers that are read in blocks, from memory or disk.
type Vectors interface {
	Len() int
	Dim() int
	// Read fills dst, whose length is a multiple of Dim, with the rows from
	// number from on.
	Read(dst []float32, from int) error
}

// Dense is vectors in memory.
type Dense struct {
	Columns int
	Data    []float32 // [Len, Columns]
}

// Len is the number of rows.
func (d Dense) Len() int {
	if d.Columns == 0 {
		return 0
	}
	return len(d.Data) / d.Columns
}

// Dim is the length of a row.
func (d Dense) Dim() int { return d.Columns }

// Row is row i; it shares memory with d.
func (d Dense) Row(i int) []float32 { return d.Data[i*d.Columns : (i+1)*d.Columns] }

// Read copies rows.
func (d Dense) Read(dst []float32, from int) error {
	if from < 0 || from*d.Columns+len(dst) > len(d.Data) {
		return fmt.Errorf("read %d numbers from row %d: there are %d rows of %d", len(dst), from, d.Len(), d.Columns)
	}
	copy(dst, d.Data[from*d.Columns:])
	return nil
}

// Join is the rows of several vectors of one width, one after the other.
func Join(parts ...Vectors) Vectors {
	j := joined{parts: parts}
	n := 0
	for _, p := range parts {
		n += p.Len()
		j.ends = append(j.ends, n)
	}
	return j
}

type joined struct {
	parts []Vectors
	ends  []int
}

func (j joined) Len() int {
	if len(j.ends) == 0 {
		return 0
	}
	return j.ends[len(j.ends)-1]
}

func (j joined) Dim() int {
	if len(j.parts) == 0 {
		return 0
	}
	return j.parts[0].Dim()
}

func (j joined) Read(dst []float32, from int) error {
	for dim := j.Dim(); len(dst) > 0; {
		k := sort.SearchInts(j.ends, from+1)
		if from < 0 || k == len(j.ends) {
			return fmt.Errorf("read row %d of %d", from, j.Len())
		}
		n := min(len(dst), (j.ends[k]-from)*dim)
		if err := j.parts[k].Read(dst[:n], from-j.ends[k]+j.parts[k].Len()); err != nil {
			return err
		}
		dst, from = dst[n:], from+n/dim
	}
	return nil
}

// Load reads all rows into memory.
func Load(v Vectors) (Dense, error) {
	d := Dense{Columns: v.Dim(), Data: make([]float32, v.Len()*v.Dim())}
	return d, v.Read(d.Data, 0)
}

// Pick reads the rows with the given numbers, in that order.
func Pick(v Vectors, rows []int) (Dense, error) {
	dim := v.Dim()
	d := Dense{Columns: dim, Data: make([]float32, len(rows)*dim)}
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	// Neighbouring rows are one read.
	slices.SortFunc(order, func(a, b int) int { return rows[a] - rows[b] })
	const gap = 64
	var buffer []float32
	for from := 0; from < len(order); {
		to, last := from, rows[order[from]]
		for to < len(order) && rows[order[to]]-last <= gap {
			last = rows[order[to]]
			to++
		}
		first := rows[order[from]]
		if first < 0 || last >= v.Len() {
			return d, fmt.Errorf("pick rows %d to %d of %d", first, last, v.Len())
		}
		buffer = slices.Grow(buffer[:0], (last-first+1)*dim)[:(last-first+1)*dim]
		if err := v.Read(buffer, first); err != nil {
			return d, err
		}
		for ; from < to; from++ {
			copy(d.Row(order[from]), buffer[(rows[order[from]]-first)*dim:])
		}
	}
	return d, nil
}
