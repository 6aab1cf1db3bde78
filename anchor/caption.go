package anchor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"arf/captioner"
	"arf/clip"
	"arf/dataset"
	"arf/imaging"
	"arf/index"
	"arf/torch"
)

// CaptionOptions are optional.
type CaptionOptions struct {
	Name      string // of the captioner, recorded with every caption
	Generate  captioner.GenerateOptions
	BatchSize int // images at a time, the most that a kill loses; 0 is 64
	Workers   int // decoding in parallel; 0 is one a CPU
	// Precision of the CLIP that scores: torch.BFloat16 or torch.Float32 (the
	// zero value too).
	Precision torch.DType
	// DropBoilerplate takes "a picture of", "there is" and the like off the
	// captions' beginnings; the captions as they were are kept beside.
	DropBoilerplate bool
	// Hash identifies captioner and data; other ones begin anew. "" has the data
	// hashed, and takes the captioner for what Name says.
	Hash     string
	Progress func(done, total int) // images; may be nil
	// Planned gets what a metered captioner will cost, before it costs; may be nil.
	Planned func(captioner.Estimate)
	Log     *slog.Logger // gets broken images; nil is slog.Default
}

// Caption writes captions of every image to path, as lines of CaptionRecord,
// and a CaptionSummary beside. Each batch is on disk before the next begins; an
// interrupted run, killed or not, goes on after the last whole line. Captions
// are scored by a pretrained model. Empty ones are left out and counted.
func Caption(ctx context.Context, path string, data dataset.Dataset, c captioner.Captioner, model *clip.Model, o CaptionOptions) (*CaptionSummary, error) {
	w := &captionWriter{path: path, data: data, captioner: c, model: model, o: o}
	s, err := w.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("caption into %s: %w", path, err)
	}
	return s, nil
}

type captionWriter struct {
	path      string
	data      dataset.Dataset
	captioner captioner.Captioner
	model     *clip.Model
	o         CaptionOptions
	file      *os.File
	fit       fit
	summary   CaptionSummary // of the work so far: what it's made from, and what was spent
}

func (w *captionWriter) run(ctx context.Context) (*CaptionSummary, error) {
	w.o.BatchSize = cmp.Or(w.o.BatchSize, 64)
	hash, err := w.hash(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(w.path), 0o755); err != nil {
		return nil, err
	}
	done, err := w.prepare(hash)
	if err != nil || done != nil {
		return done, err
	}
	defer w.file.Close()
	next, err := w.resume()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := w.captionFrom(ctx, next); err != nil {
		return nil, errors.Join(err, w.account())
	}
	seconds := time.Since(start).Seconds()
	if err := w.file.Close(); err != nil {
		return nil, err
	}
	if own, any := w.fit.scores(); w.fit.images > 1 && own <= any {
		cmp.Or(w.o.Log, slog.Default()).Warn("by the model's CLIP score the captions fit their images no better than any other image of the set; is the captioner made for such images?",
			"mean_clip_score", own, "of_any_image", any)
	}
	s := Summarize(func(yield func(CaptionRecord) bool) {
		err = readCaptions(w.path, func(r CaptionRecord) { yield(r) })
	})
	if err != nil {
		return nil, err
	}
	s.Hash, s.Complete, s.Broken = hash, true, w.data.Len()-s.Images
	s.Captioner, s.Prompt, s.Seed = w.o.Name, w.o.Generate.Prompt, w.o.Generate.Seed
	if m, ok := w.captioner.(captioner.Metered); ok && next < w.data.Len() {
		s.Usage = m.Spent() // with what was asked for in vain
	}
	if n := w.data.Len() - next; n > 0 {
		s.ImagesPerSecond = float64(n) / seconds
	}
	return &s, writeSummary(beside(w.path), s)
}

func (w *captionWriter) hash(ctx context.Context) (string, error) {
	model, err := w.model.Hash()
	if err != nil {
		return "", err
	}
	inputs := w.o.Hash
	if inputs == "" {
		if inputs, err = index.Fingerprint(ctx, w.data); err != nil {
			return "", err
		}
	}
	parts := []any{model, inputs, w.o.Name, w.o.Generate, w.o.Precision == torch.BFloat16, w.data.Len()}
	if w.o.DropBoilerplate { // so that hashes of others stay
		parts = append(parts, "boilerplate dropped")
	}
	return hashOf(parts...), nil
}

// prepare gives the summary if all is done; else it opens the file, anew if it
// was made from something else.
func (w *captionWriter) prepare(hash string) (*CaptionSummary, error) {
	var old CaptionSummary
	found, err := readSummary(beside(w.path), &old)
	if err != nil {
		return nil, err
	}
	_, err = os.Stat(w.path)
	switch {
	case err == nil && !found:
		return nil, fmt.Errorf("the file is there without %s, so it was made elsewhere; use it as it is, or remove it", filepath.Base(beside(w.path)))
	case err == nil && old.Hash == hash && old.Complete:
		records := 0
		if err := readCaptions(w.path, func(CaptionRecord) { records++ }); err == nil && records == old.Images {
			return &old, nil
		}
	case err == nil && old.Hash != hash:
		if err := os.Remove(w.path); err != nil {
			return nil, err
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	// First the summary: a file without one isn't ours.
	w.summary = CaptionSummary{Hash: hash, Captioner: w.o.Name, Seed: w.o.Generate.Seed}
	if old.Hash == hash {
		w.summary.Usage = old.Usage
	}
	if err := writeSummary(beside(w.path), w.summary); err != nil {
		return nil, err
	}
	w.file, err = os.OpenFile(w.path, os.O_RDWR|os.O_CREATE, 0o644)
	return nil, err
}

// account writes down what was spent, where the work stops half-way.
func (w *captionWriter) account() error {
	m, ok := w.captioner.(captioner.Metered)
	if !ok || m.Spent().Requests <= w.summary.Usage.Requests {
		return nil
	}
	w.summary.Usage = m.Spent()
	return writeSummary(beside(w.path), w.summary)
}

// resume keeps whole batches, so that the rest is batched as it would have been,
// and gives the number of the first image to caption.
func (w *captionWriter) resume() (next int, err error) {
	last := -1             // row of the last record
	var size, before int64 // where the last record ends, and the last of earlier batches
	var spent captioner.Usage
	err = parseCaptions(w.file, func(r CaptionRecord, end int64) error {
		spent = spent.Add(r.Usage)
		s, err := dataset.Describe(w.data, min(r.Row, w.data.Len()-1))
		if err == nil && (r.Row >= w.data.Len() || s.Key != r.Key) {
			return fmt.Errorf("it has captions of %q, which isn't image %d of the data", r.Key, r.Row)
		}
		if last >= 0 && r.Row/w.o.BatchSize != last/w.o.BatchSize {
			before = size
		}
		last, size = r.Row, end
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("%w; remove the file to begin anew", err)
	}
	if spent.Requests > w.summary.Usage.Requests { // it was killed
		w.summary.Usage = spent
	}
	if next = last + 1; next < w.data.Len() && next%w.o.BatchSize != 0 {
		next -= next % w.o.BatchSize
		size = before
	}
	if err := w.file.Truncate(size); err != nil {
		return 0, err
	}
	_, err = w.file.Seek(size, io.SeekStart)
	return next, err
}

func (w *captionWriter) captionFrom(ctx context.Context, next int) error {
	rows := make([]int, 0, w.data.Len()-next)
	for i := next; i < w.data.Len(); i++ {
		rows = append(rows, i)
	}
	if len(rows) == 0 {
		return nil
	}
	rest, err := dataset.Subset(w.data, rows)
	if err != nil {
		return err
	}
	if m, ok := w.captioner.(captioner.Metered); ok {
		o := w.generate()
		estimate, err := m.Plan(w.summary.Usage, len(rows)*max(o.N, 1), o)
		if err != nil {
			return err
		}
		if w.o.Planned != nil {
			w.o.Planned(estimate)
		}
	}
	for b, err := range w.batches(ctx, rest) {
		if err != nil {
			return err
		}
		records, err := w.caption(ctx, b, next)
		if err != nil {
			return fmt.Errorf("images %s to %s: %w", b.captioner.Samples[0].Key, b.captioner.Samples[len(b.captioner.Samples)-1].Key, err)
		}
		if err := w.write(records); err != nil {
			return err
		}
		if w.o.Progress != nil {
			w.o.Progress(records[len(records)-1].Row+1, w.data.Len())
		}
		b.captioner.Release()
	}
	if w.o.Progress != nil {
		w.o.Progress(w.data.Len(), w.data.Len())
	}
	return nil
}

// batch is the same images as the captioner and as CLIP want them.
type batch struct{ captioner, clip *dataset.Batch }

// batches reads the images, twice where the two models want other pixels.
func (w *captionWriter) batches(ctx context.Context, data dataset.Dataset) iter.Seq2[batch, error] {
	load := func(p imaging.Preprocess) (iter.Seq2[*dataset.Batch, error], error) {
		l, err := dataset.NewLoader(data, dataset.Options{BatchSize: w.o.BatchSize, Preprocess: p, Epochs: 1, Workers: w.o.Workers, Log: w.o.Log})
		if err != nil {
			return nil, err
		}
		return l.Batches(ctx), nil
	}
	return func(yield func(batch, error) bool) {
		own := w.captioner.Preprocess()
		if own == (imaging.Preprocess{}) { // it reads the files itself
			own = w.model.Preprocess
		}
		first, err := load(own)
		if err != nil {
			yield(batch{}, err)
			return
		}
		if own == w.model.Preprocess {
			for b, err := range first {
				if !yield(batch{b, b}, err) {
					return
				}
			}
			return
		}
		second, err := load(w.model.Preprocess)
		if err != nil {
			yield(batch{}, err)
			return
		}
		next, stop := iter.Pull2(second)
		defer stop()
		for b, err := range first {
			if err != nil {
				yield(batch{}, err)
				return
			}
			c, err, ok := next()
			if err == nil && (!ok || !slices.Equal(b.Index, c.Index)) {
				err = errors.New("an image can be decoded for one model only; did it change on disk?")
			}
			if !yield(batch{b, c}, err) || err != nil {
				return
			}
		}
	}
}

func (w *captionWriter) caption(ctx context.Context, b batch, next int) ([]CaptionRecord, error) {
	samples := b.captioner.Samples
	keys := make([]string, len(samples))
	for i, s := range samples {
		keys[i] = s.Key
	}
	o := w.generate()
	captions, err := w.captioner.Caption(ctx, captioner.Images{
		Keys: keys, Pixels: b.captioner.Pixels,
		File: func(i int) ([]byte, error) {
			s, err := w.data.Sample(next + b.captioner.Index[i])
			return s.Image, err
		},
	}, o)
	if err != nil {
		return nil, err
	}
	if len(captions) != len(samples) {
		return nil, fmt.Errorf("the captioner described %d images of %d", len(captions), len(samples))
	}
	records := make([]CaptionRecord, len(samples))
	for i, s := range samples {
		records[i] = CaptionRecord{Key: s.Key, Image: s.Key, Class: s.Class, Row: next + b.captioner.Index[i], Captioner: w.o.Name, Prompt: o.Prompt, Seed: o.Seed, Captions: []ScoredCaption{}}
		if err := records[i].take(captions[i], w.o.DropBoilerplate); err != nil {
			return nil, err
		}
	}
	return records, w.score(ctx, b.clip, records)
}

// generate is the options that the captioner gets.
func (w *captionWriter) generate() captioner.GenerateOptions {
	o := w.o.Generate
	if o.Temperature == 0 && o.Beams < 2 {
		o.N = 1 // greedy ones are all the same
	}
	return o
}

// take adds captions, which aren't scored yet.
func (r *CaptionRecord) take(captions []captioner.Caption, drop bool) error {
	for _, c := range captions {
		r.Usage = r.Usage.Add(c.Usage)
		text := clean(c.Text)
		switch {
		case c.Refusal != "":
			r.Refusals = append(r.Refusals, clean(c.Refusal))
			continue
		case text == "":
			r.Empty++
			continue
		}
		scored := ScoredCaption{Text: text}
		if drop {
			if rest := dropBoilerplate(text); rest != text {
				scored.Text, scored.Original = rest, text
			}
		}
		if !c.NoLogProb {
			if math.IsNaN(c.LogProb) || math.IsInf(c.LogProb, 0) {
				return fmt.Errorf("the captioner gave %q the log-probability %v", text, c.LogProb)
			}
			scored.LogProb = &c.LogProb
		}
		r.Captions = append(r.Captions, scored)
	}
	return nil
}

// score sets the captions' CLIP scores.
func (w *captionWriter) score(ctx context.Context, b *dataset.Batch, records []CaptionRecord) error {
	var texts, originals []string
	for _, r := range records {
		for _, c := range r.Captions {
			if texts = append(texts, c.Text); c.Original != "" {
				originals = append(originals, c.Original)
			}
		}
	}
	images, err := w.model.ImageFeatures(ctx, b.Pixels, len(records), w.o.Precision)
	if err != nil {
		return err
	}
	features, err := w.model.TextFeatures(ctx, texts, w.o.Precision)
	if err != nil {
		return err
	}
	before, err := w.model.TextFeatures(ctx, originals, w.o.Precision)
	if err != nil {
		return err
	}
	dim := w.model.Config.EmbedDim
	w.fit.add(images, features, dim)
	for i := range records {
		image := images[i*dim : (i+1)*dim]
		for j := range records[i].Captions {
			c := &records[i].Captions[j]
			c.CLIPScore = dot(image, features[:dim])
			w.fit.own += c.CLIPScore
			features = features[dim:]
			if c.Original != "" {
				c.OriginalScore = dot(image, before[:dim])
				before = before[dim:]
			}
		}
	}
	return nil
}

// write puts records on disk before it returns.
func (w *captionWriter) write(records []CaptionRecord) error {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	for _, r := range records {
		if err := encoder.Encode(r); err != nil {
			return err
		}
	}
	if _, err := w.file.Write(out.Bytes()); err != nil {
		return err
	}
	return w.file.Sync()
}

// clean makes a caption one line of valid UTF-8 without needless spaces.
func clean(s string) string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(s, "")), " ")
}

// dot is the product of two rows, summed in float64.
func dot(a, b []float32) float64 {
	sum := 0.0
	for i, v := range a {
		sum += float64(v) * float64(b[i])
	}
	return sum
}
