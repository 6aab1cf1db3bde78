package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"arf/dataset"
	"arf/dist"
	"arf/imaging"
	"arf/internal/atomicfile"
)

// Encoder computes features of length 1.
type Encoder interface {
	// Images maps n preprocessed images [n, size, size, 3] to [n, dim].
	Images(ctx context.Context, pixels []uint8, n int) ([]float32, error)
	// Texts maps texts to [len(texts), dim].
	Texts(ctx context.Context, texts []string) ([]float32, error)
	Preprocess() imaging.Preprocess
	Dim() int
	// Hash identifies the model and how it computes.
	Hash() (string, error)
}

// EmbedOptions are optional.
type EmbedOptions struct {
	BatchSize int // images at a time; 0 is 256
	ShardRows int // samples a shard, the most that an interruption loses; 0 is 8192
	Workers   int // decoding in parallel; 0 is one a CPU
	// Texts embeds the samples' texts too. Samples without text get a row of
	// zeros, which no search finds near.
	Texts bool
	// DataHash identifies the data; "" has Fingerprint compute it.
	DataHash string
	// Group is the processes that share the work, each of which calls Embed with
	// the same folder; nil = this one alone. Shards go to them in turn.
	Group    *dist.Group
	Progress func(done, total int) // samples; may be nil
}

// Embed writes the features of a dataset to dir, or what is missing of them,
// and opens them. Samples that can't be decoded are left out. Features of other
// inputs in dir are replaced; a folder that holds something else is refused.
func Embed(ctx context.Context, dir string, data dataset.Dataset, encoder Encoder, o EmbedOptions) (*Store, error) {
	store, err := embed(ctx, dir, data, encoder, o)
	if err != nil {
		return nil, fmt.Errorf("features in %s: %w", dir, err)
	}
	return store, nil
}

func embed(ctx context.Context, dir string, data dataset.Dataset, encoder Encoder, o EmbedOptions) (*Store, error) {
	if o.ShardRows == 0 {
		o.ShardRows = 8192
	}
	if o.BatchSize == 0 {
		o.BatchSize = 256
	}
	if o.ShardRows < 0 || o.BatchSize < 0 {
		return nil, errors.New("shard rows and batch size can't be negative")
	}
	var err error
	m := Manifest{Data: o.DataHash, Samples: data.Len(), ShardRows: o.ShardRows, Dim: encoder.Dim(), Texts: o.Texts}
	if m.Model, err = encoder.Hash(); err != nil {
		return nil, err
	}
	if m.Data == "" {
		m.Data, err = dist.Agree(o.Group, func() (string, error) { return Fingerprint(ctx, data) })
		if err != nil {
			return nil, err
		}
	}
	m.Hash = fmt.Sprintf("%s %s %d %d %v", m.Model, m.Data, m.Samples, m.ShardRows, m.Texts)
	w := &writer{dir: dir, data: data, encoder: encoder, o: o, shards: max(1, ceil(data.Len(), o.ShardRows))}
	unlock := func() {}
	plan, err := dist.Agree(o.Group, func() (p plan, err error) {
		if old, err := readManifest(dir); err != nil || w.complete(old, m) {
			return plan{Complete: true}, err
		}
		if unlock, err = lock(ctx, dir); err != nil {
			return p, err
		}
		return w.prepare(m)
	})
	defer func() { unlock() }()
	if err != nil {
		return nil, err
	}
	if !plan.Complete {
		broken, err := w.run(ctx, plan.Missing)
		if err != nil {
			return nil, err
		}
		all, err := dist.GatherOf(o.Group, broken)
		if err != nil {
			return nil, err
		}
		if err := o.Group.Lead(func() error { return w.finish(m, all) }); err != nil {
			return nil, err
		}
	}
	return Open(dir)
}

// plan is what is to be done.
type plan struct {
	Complete bool
	Missing  []int // shards
}

// complete tells whether all is there; old is the folder's manifest. Files may
// have been damaged or removed.
func (w *writer) complete(old, m Manifest) bool {
	if old.Hash != m.Hash || !old.Complete {
		return false
	}
	_, err := Open(w.dir)
	return err == nil
}

// prepare makes the folder ready and finds what is missing in it.
func (w *writer) prepare(m Manifest) (p plan, err error) {
	old, err := readManifest(w.dir)
	if err != nil {
		return p, err
	}
	same := old.Hash == m.Hash
	if !same {
		if err := clearStore(w.dir); err != nil {
			return p, err
		}
	} else if w.complete(old, m) {
		return plan{Complete: true}, nil // by the one that was waited for
	}
	if err := atomicfile.Clean(w.dir); err != nil { // nobody else works on what is incomplete and locked
		return p, err
	}
	for shard := range w.shards {
		if w.data.Len() > 0 && (!same || !w.has(shard)) {
			p.Missing = append(p.Missing, shard)
		}
	}
	return p, writeManifest(w.dir, m)
}

// finish writes the manifest of all shards; found are the processes' broken samples.
func (w *writer) finish(m Manifest, found []dataset.Problems) error {
	var broken dataset.Problems
	for _, b := range found {
		broken.Join(b)
	}
	for i := range w.shards {
		rows, err := countRows(w.path("metadata", i, ".parquet"))
		if err != nil {
			return err
		}
		m.Rows += rows
	}
	if m.Rows == 0 && m.Samples > 0 {
		// Not kept, so that the next call says again what is wrong.
		return errors.Join(fmt.Errorf("%w: %s", dataset.ErrAllBroken, strings.Join(broken.First, "; ")), clearStore(w.dir))
	}
	m.Complete, m.Skipped, m.Broken = true, m.Samples-m.Rows, broken.First
	return writeManifest(w.dir, m)
}

// readManifest gives a zero one where there is none; the folder must be empty then.
func readManifest(dir string) (Manifest, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Manifest{}, err
	}
	m, err := openManifest(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "."+manifestName) { // that a kill left half
			return m, fmt.Errorf("the folder holds something else, such as %s, and no %s; choose another folder", e.Name(), manifestName)
		}
	}
	return m, err
}

// clearStore removes features, and nothing else. The manifest goes last: it
// says whose the rest is.
func clearStore(dir string) error {
	for _, name := range []string{"image.index", "text.index"} { // of these features
		for _, file := range []string{filepath.Join(dir, name), infoPath(filepath.Join(dir, name))} {
			if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	for name, ext := range map[string]string{"img_emb": ".npy", "text_emb": ".npy", "metadata": ".parquet"} {
		files, err := fs.Glob(os.DirFS(dir), name+"/"+name+"_*"+ext) // dir itself may have a [
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := os.Remove(filepath.Join(dir, f)); err != nil {
				return err
			}
		}
		_ = os.Remove(filepath.Join(dir, name)) // stays where something else is in it
	}
	if err := os.Remove(filepath.Join(dir, manifestName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writer makes the shards that aren't there.
type writer struct {
	dir     string
	data    dataset.Dataset
	encoder Encoder
	o       EmbedOptions
	shards  int

	// The shard in the making.
	images, texts []float32
	rows          []Row
}

// path is a shard's file, numbered as clip-retrieval does.
func (w *writer) path(name string, shard int, ext string) string {
	digits := len(strconv.Itoa(w.shards)) // ⌊log10⌋ + 1
	return filepath.Join(w.dir, name, fmt.Sprintf("%s_%0*d%s", name, digits, shard, ext))
}

// has tells whether a shard's files are there and agree.
func (w *writer) has(shard int) bool {
	rows, err := countRows(w.path("metadata", shard, ".parquet"))
	if err != nil {
		return false
	}
	image, err := openMatrix(w.path("img_emb", shard, ".npy"))
	if err != nil || image.rows != rows || image.dim != w.encoder.Dim() {
		return false
	}
	if w.o.Texts {
		text, err := openMatrix(w.path("text_emb", shard, ".npy"))
		return err == nil && text.rows == rows && text.dim == image.dim
	}
	return true
}

// run makes this process's part of the missing shards. Progress counts the
// samples up to the shard in the making.
func (w *writer) run(ctx context.Context, missing []int) (broken dataset.Problems, err error) {
	for _, name := range []string{"img_emb", "text_emb", "metadata"} {
		if name == "text_emb" && !w.o.Texts {
			continue
		}
		if err := os.MkdirAll(filepath.Join(w.dir, name), 0o755); err != nil {
			return broken, err
		}
	}
	for i, shard := range missing {
		if i%w.o.Group.Size() != w.o.Group.Rank() {
			continue
		}
		var numbers []int // of samples
		for n := shard * w.o.ShardRows; n < min((shard+1)*w.o.ShardRows, w.data.Len()); n++ {
			numbers = append(numbers, n)
		}
		problems, err := w.make(ctx, shard, numbers, shard*w.o.ShardRows)
		if err != nil {
			return broken, err
		}
		broken.Join(problems)
	}
	if w.o.Progress != nil {
		w.o.Progress(w.data.Len(), w.data.Len())
	}
	return broken, nil
}

// make writes one shard. Batches don't go beyond it, so that a shard that is
// made again is the same to the bit.
func (w *writer) make(ctx context.Context, shard int, numbers []int, done int) (broken dataset.Problems, err error) {
	rest, err := dataset.Subset(w.data, numbers)
	if err != nil {
		return broken, err
	}
	pre := w.encoder.Preprocess()
	loader, err := dataset.NewLoader(rest, dataset.Options{
		BatchSize: w.o.BatchSize, Preprocess: pre, Epochs: 1, Workers: w.o.Workers,
	})
	if err != nil {
		return broken, err
	}
	for batch, err := range loader.Batches(ctx) {
		if errors.Is(err, dataset.ErrAllBroken) {
			break // other shards may have some
		}
		if err != nil {
			return broken, err
		}
		images, err := w.encoder.Images(ctx, batch.Pixels, len(batch.Samples))
		if err != nil {
			return broken, named(err, batch)
		}
		texts, err := w.encodeTexts(ctx, batch)
		if err != nil {
			return broken, named(err, batch)
		}
		w.images = append(w.images, images...)
		w.texts = append(w.texts, texts...)
		bytes := pre.Bytes()
		for i, s := range batch.Samples {
			w.rows = append(w.rows, rowOf(s, numbers[batch.Index[i]], batch.Pixels[i*bytes:(i+1)*bytes], pre.ImageSize))
		}
		if w.o.Progress != nil && len(batch.Samples) > 0 {
			w.o.Progress(done+batch.Index[len(batch.Index)-1]+1, w.data.Len())
		}
		batch.Release()
	}
	return loader.Broken(), w.flush(shard)
}

// named says among which samples an encoder failed.
func named(err error, batch *dataset.Batch) error {
	if len(batch.Samples) == 0 || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("samples %s to %s: %w", strconv.Quote(batch.Samples[0].Key), strconv.Quote(batch.Samples[len(batch.Samples)-1].Key), err)
}

// encodeTexts leaves rows of zeros for samples without text.
func (w *writer) encodeTexts(ctx context.Context, batch *dataset.Batch) ([]float32, error) {
	if !w.o.Texts {
		return nil, nil
	}
	var texts []string
	for _, s := range batch.Samples {
		if s.Text != "" {
			texts = append(texts, s.Text)
		}
	}
	features, err := w.encoder.Texts(ctx, texts)
	if err != nil || len(texts) == len(batch.Samples) {
		return features, err
	}
	dim := w.encoder.Dim()
	out := make([]float32, len(batch.Samples)*dim)
	for i, s := range batch.Samples {
		if s.Text != "" {
			copy(out[i*dim:(i+1)*dim], features)
			features = features[dim:]
		}
	}
	return out, nil
}

// flush writes the shard in the making; the metadata last, so that a shard with
// metadata has all of it.
func (w *writer) flush(shard int) error {
	dim := w.encoder.Dim()
	if err := writeMatrix(w.path("img_emb", shard, ".npy"), w.images, dim); err != nil {
		return err
	}
	if w.o.Texts {
		if err := writeMatrix(w.path("text_emb", shard, ".npy"), w.texts, dim); err != nil {
			return err
		}
	}
	if err := writeRows(w.path("metadata", shard, ".parquet"), w.rows); err != nil {
		return err
	}
	w.images, w.texts, w.rows = w.images[:0], w.texts[:0], w.rows[:0]
	return nil
}
