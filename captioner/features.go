package captioner

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"arf/checkpoint"
	"arf/clip"
	"arf/dataset"
	"arf/imaging"
	"arf/torch"
)

// features are what the tower says about a dataset's images, in float16.
type features struct {
	tokens  [][]byte // by shard: [rows, tokens, tokenWidth]
	feature [][]byte // by shard: [rows, featureWidth]
	row     []int    // of a sample: shard·shardRows + row; −1 = its image can't be read
	// bytes of one row
	tokenBytes, featureBytes int
}

// A shard is the unit of resuming.
const (
	encodeBatch  = 256
	shardBatches = 32
	shardRows    = encodeBatch * shardBatches
)

// encoding says how to make features.
type encoding struct {
	model     *clip.Model
	data      dataset.Dataset
	dir       string // of the shards; made for exactly these inputs
	augment   imaging.Augment
	seed      uint64
	precision torch.DType
	progress  func(done, total int)
}

// encode runs the tower over all images, or reads what an earlier call left in
// e.dir. An interrupted call goes on at the last whole shard.
func encode(ctx context.Context, e encoding) (_ *features, err error) {
	defer torch.Catch(&err)
	total := (e.data.Len() + shardRows - 1) / shardRows
	first := 0
	for first < total {
		if _, err := os.Stat(e.shard(first)); err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			break
		}
		first++
	}
	if first < total {
		if err := e.run(ctx, first, total); err != nil {
			return nil, fmt.Errorf("encode images: %w", err)
		}
	}
	f := &features{row: make([]int, e.data.Len())}
	for i := range f.row {
		f.row[i] = -1
	}
	tokens, width, feature := towerShape(e.model.Config)
	f.tokenBytes, f.featureBytes = 2*tokens*width, 2*feature
	for s := range total {
		if err := f.read(e.shard(s)); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (e encoding) shard(n int) string {
	return filepath.Join(e.dir, fmt.Sprintf("%05d.safetensors", n))
}

func (e encoding) run(ctx context.Context, first, total int) error {
	loader, err := dataset.NewLoader(e.data, dataset.Options{
		BatchSize: encodeBatch, Preprocess: e.model.Preprocess, Augment: e.augment, Seed: e.seed,
		Epochs: 1, StartStep: first * shardBatches,
	})
	if err != nil {
		return err
	}
	e.model.SetTraining(false)
	out := e.newShard()
	at := first
	for batch, err := range loader.Batches(ctx) {
		if err != nil {
			return err
		}
		// Steps without a readable image are left out, so shards may be skipped.
		for ; at < batch.Step/shardBatches; at++ {
			if err := out.write(e.shard(at)); err != nil {
				return err
			}
			out = e.newShard()
		}
		if err := out.add(batch); err != nil {
			return err
		}
		batch.Release()
		if e.progress != nil {
			e.progress(min((batch.Step+1)*encodeBatch, e.data.Len()), e.data.Len())
		}
	}
	for ; at < total; at++ {
		if err := out.write(e.shard(at)); err != nil {
			return err
		}
		out = e.newShard()
	}
	return nil
}

// shardFile collects the rows of a shard.
type shardFile struct {
	encoding
	index           []int64
	tokens, feature []byte
}

func (e encoding) newShard() *shardFile { return &shardFile{encoding: e} }

func (s *shardFile) add(batch *dataset.Batch) error {
	finite := true
	torch.Scope(func() {
		torch.NoGrad(func() {
			var v Vision
			d := s.model.Device()
			pixels := s.model.Pixels(batch.Pixels, len(batch.Samples))
			torch.Autocast(d, s.precision, func() { v = look(s.model, pixels) })
			tokens, feature := v.Tokens.Cast(torch.Float16), v.Feature.Cast(torch.Float16)
			finite = tokens.AllFinite() && feature.AllFinite()
			s.tokens, s.feature = append(s.tokens, tokens.Bytes()...), append(s.feature, feature.Bytes()...)
		})
	})
	if !finite {
		return fmt.Errorf("the image tower gives values that are not finite in float16 (near %s); its weights are damaged", batch.Samples[0].Key)
	}
	for _, i := range batch.Index {
		s.index = append(s.index, int64(i))
	}
	return nil
}

func (s *shardFile) write(path string) error {
	tokens, width, feature := towerShape(s.model.Config)
	n := len(s.index)
	index := make([]byte, 0, 8*n)
	for _, i := range s.index {
		index = binary.LittleEndian.AppendUint64(index, uint64(i))
	}
	tensors := checkpoint.Tensors{"index": {DType: torch.Int64, Shape: []int{n}, Data: index}}
	if n > 0 {
		tensors["tokens"] = checkpoint.Tensor{DType: torch.Float16, Shape: []int{n, tokens, width}, Data: s.tokens}
		tensors["feature"] = checkpoint.Tensor{DType: torch.Float16, Shape: []int{n, feature}, Data: s.feature}
	}
	return checkpoint.WriteSafetensors(path, tensors, nil)
}

func (f *features) read(path string) error {
	tensors, _, err := checkpoint.ReadSafetensors(path)
	if err != nil {
		return err
	}
	index := tensors["index"]
	n := len(index.Data) / 8
	tokens, feature := tensors["tokens"].Data, tensors["feature"].Data
	if index.DType != torch.Int64 || len(tokens) != n*f.tokenBytes || len(feature) != n*f.featureBytes || n > shardRows {
		return fmt.Errorf("%s does not hold features of this image tower; delete its folder to make them again", path)
	}
	for r := range n {
		i := binary.LittleEndian.Uint64(index.Data[8*r:])
		if i >= uint64(len(f.row)) {
			return fmt.Errorf("%s has sample %d of %d; delete its folder to make it again", path, i, len(f.row))
		}
		f.row[i] = len(f.tokens)*shardRows + r
	}
	f.tokens, f.feature = append(f.tokens, tokens), append(f.feature, feature)
	return nil
}

// gather appends the rows of a sample.
func (f *features) gather(tokens, feature []byte, sample int) ([]byte, []byte) {
	shard, row := f.row[sample]/shardRows, f.row[sample]%shardRows
	return append(tokens, f.tokens[shard][row*f.tokenBytes:(row+1)*f.tokenBytes]...),
		append(feature, f.feature[shard][row*f.featureBytes:(row+1)*f.featureBytes]...)
}
