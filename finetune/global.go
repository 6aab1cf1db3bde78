package finetune

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"arf/dist"
	"arf/torch"
)

// global is a step of all processes of a group, each of which has encoded its
// share of the batch.
type global struct {
	group    *dist.Group
	shares   []share       // by rank
	images   int           // finetune images of the step
	most     int           // rows of the process that has most
	features *torch.Tensor // [processes·most, D]: of each its images, texts, and zeros
	unused   *torch.Tensor // scalar 0 through which every process's gradients flow
}

// share is what one process has of a step, in numbers.
type share struct {
	images, pool, tokens int // rows: finetune images, the pairs' images, different texts
	drawn                int // pairs, of which pool could be read

	// As in Batch: the pairs' texts as rows of the process's own, as numbers that
	// are the same in all processes, and groups.
	rows, texts, groups [3][]int64 // by kind
}

// textNumbers are numbers of the different texts of a step, the same in all processes: texts
// are equal when their tokens are. Two of 2³² different texts have one number
// with probability ½.
func textNumbers(tokens [][]int32) []int64 {
	numbers := make([]int64, len(tokens))
	var bytes []byte
	for i, ids := range tokens {
		bytes = bytes[:0]
		for _, id := range ids {
			bytes = binary.LittleEndian.AppendUint32(bytes, uint32(id))
		}
		sum := sha256.Sum256(bytes)
		numbers[i] = int64(binary.LittleEndian.Uint64(sum[:]))
	}
	return numbers
}

func shareOf(b *Batch) share {
	s := share{images: len(b.Samples), pool: len(b.Rows), tokens: len(b.Tokens), drawn: b.drawn}
	numbers := textNumbers(b.Tokens)
	for k := ofPrompts; k <= ofPool; k++ {
		s.rows[k], s.groups[k] = b.texts(k), b.groups(k)
		if len(s.rows[k]) == 0 {
			s.groups[k] = nil
		}
		for _, row := range s.rows[k] {
			s.texts[k] = append(s.texts[k], numbers[row])
		}
	}
	return s
}

func (s share) encode() []byte {
	words := []int64{int64(s.images), int64(s.pool), int64(s.tokens), int64(s.drawn)}
	for _, lists := range [][3][]int64{s.rows, s.texts, s.groups} {
		for _, l := range lists {
			words = append(append(words, int64(len(l))), l...)
		}
	}
	data := make([]byte, 0, 8*len(words))
	for _, w := range words {
		data = binary.LittleEndian.AppendUint64(data, uint64(w))
	}
	return data
}

func decodeShare(data []byte) share {
	next := func() int64 {
		w := int64(binary.LittleEndian.Uint64(data))
		data = data[8:]
		return w
	}
	s := share{images: int(next()), pool: int(next()), tokens: int(next()), drawn: int(next())}
	for _, lists := range []*[3][]int64{&s.rows, &s.texts, &s.groups} {
		for k := range lists {
			for range next() {
				lists[k] = append(lists[k], next())
			}
		}
	}
	return s
}

// newGlobal tells the processes what each has of a step; all must call it.
func newGlobal(g *dist.Group, b *Batch) (*global, error) {
	parts, err := g.Gather(shareOf(b).encode())
	if err != nil {
		return nil, err
	}
	all := &global{group: g}
	drawn, read := 0, 0
	for _, data := range parts {
		s := decodeShare(data)
		all.shares = append(all.shares, s)
		all.images += s.images
		all.most = max(all.most, s.images+s.pool+s.tokens)
		drawn, read = drawn+s.drawn, read+s.pool
	}
	if all.images == 0 {
		return nil, fmt.Errorf("step %d: none of its images could be read", b.Step+1)
	}
	if drawn > 0 && read == 0 {
		return nil, errors.Join(fmt.Errorf("step %d: none of its %d pairs could be read from the pool", b.Step+1, drawn), b.unread)
	}
	return all, nil
}

// gather collects the features of all processes. It's one collective forward
// and one backward, whatever the number of terms.
func (g *global) gather(f *Features) error {
	own := g.shares[g.group.Rank()]
	d, dim := f.Model.Device(), f.Model.Config.EmbedDim
	var parts []*torch.Tensor
	for _, t := range []*torch.Tensor{f.Images, f.Pool, f.Texts} {
		if t != nil {
			parts = append(parts, t)
		}
	}
	if rest := g.most - own.images - own.pool - own.tokens; rest > 0 || len(parts) == 0 {
		zeros := torch.Zeros(d, torch.Float32, rest, dim)
		if len(parts) == 0 { // the gradient is gathered from this process too
			zeros.SetRequiresGrad(true)
		}
		parts = append(parts, zeros)
	}
	var err error
	if g.features, err = g.group.AllGather(torch.Cat(0, parts...)); err != nil {
		return err
	}
	g.unused = g.features.Sum().Scale(0)
	return nil
}

// nothing is the loss of a process that has no part in a term.
func (g *global) nothing(f *Features) *torch.Tensor {
	if g.unused != nil {
		return g.unused
	}
	return torch.Zeros(f.Model.Device(), torch.Float32).SetRequiresGrad(true)
}

// contrastive is this process's part of a term's loss over the pairs of all.
func (g *global) contrastive(f *Features, k kind) *torch.Tensor {
	var images, rows, texts, groups []int64 // of all pairs; images and rows are places in g.features
	first, count := 0, 0                    // this process's pairs
	for rank, s := range g.shares {
		base := int64(rank * g.most)
		image := base
		if k == ofPool {
			image += int64(s.images)
		}
		if rank == g.group.Rank() {
			first, count = len(rows), len(s.rows[k])
		}
		for i, row := range s.rows[k] {
			images = append(images, image+int64(i))
			rows = append(rows, base+int64(s.images+s.pool)+row)
		}
		texts, groups = append(texts, s.texts[k]...), append(groups, s.groups[k]...)
	}
	if len(rows) == 0 {
		return nil
	}
	if count == 0 {
		return g.nothing(f)
	}
	d := g.features.Device()
	allImages := torch.Embedding(g.features, torch.From(d, images, len(images)))
	allTexts := torch.Embedding(g.features, torch.From(d, rows, len(rows)))
	target, excluded := f.Negatives.matrices(d, first, count, texts, groups)
	return f.Model.LocalContrastiveLoss(allImages.Narrow(0, first, count), allTexts.Narrow(0, first, count), allImages, allTexts, first, target, excluded)
}
