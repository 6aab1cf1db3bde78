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
	"arf/dist"
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
	Hash string
	// Group is the processes that share the images, each of which calls Caption;
	// nil = this one alone. Rank 0 writes the file.
	Group    *dist.Group
	Progress func(done, total int) // images; may be nil
	// Planned gets what a metered captioner will cost, before it costs; may be nil.
	Planned func(captioner.Estimate)
	Log     *slog.Logger // gets broken images; nil is slog.Default
}

// Caption writes captions of every image to path, as lines of CaptionRecord,
// and a CaptionSummary beside. Each batch is on disk before the next begins; an
// interrupted run, killed or not, goes on after the last whole line; in a group
// one batch of each process is on disk before the next begin. Captions
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
	plan, err := dist.Agree(w.o.Group, func() (plan captionPlan, err error) {
		if plan.Done, err = w.prepare(hash); err == nil && plan.Done == nil {
			plan.Next, err = w.resume()
		}
		return plan, err
	})
	if w.file != nil {
		defer w.file.Close()
	}
	if err != nil || plan.Done != nil {
		return plan.Done, err
	}
	start := time.Now()
	if err := w.captionFrom(ctx, plan.Next); err != nil {
		return nil, err
	}
	seconds := time.Since(start).Seconds()
	return dist.Agree(w.o.Group, func() (*CaptionSummary, error) { return w.finish(hash, plan.Next, seconds) })
}

// captionPlan is the summary where all is done, else the first image to caption.
type captionPlan struct {
	Done *CaptionSummary
	Next int
}

// finish writes the summary; the images from next on took seconds.
func (w *captionWriter) finish(hash string, next int, seconds float64) (_ *CaptionSummary, err error) {
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
	if m, ok := w.captioner.(captioner.Metered); ok && m.Spent().Requests > s.Usage.Requests {
		s.Usage = m.Spent() // with what was asked for in vain, or isn't in the data any more
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

// Captioned is the summary of captions that are whole; nil of others, or none.
func Captioned(path string) (*CaptionSummary, error) {
	var s CaptionSummary
	if found, err := readSummary(beside(path), &s); err != nil || !found || !s.Complete {
		return nil, err
	}
	records := 0
	if err := readCaptions(path, func(CaptionRecord) { records++ }); err != nil || records != s.Images {
		return nil, err
	}
	return &s, nil
}

// prepare gives the summary if all is done; else it opens the file, anew if it
// was made from something else.
func (w *captionWriter) prepare(hash string) (*CaptionSummary, error) {
	var old CaptionSummary
	found, err := readSummary(beside(w.path), &old)
	if err != nil {
		return nil, err
	}
	switch _, err := os.Stat(w.path); {
	case err == nil && !found:
		return nil, fmt.Errorf("the file is there without %s, so it was made elsewhere; use it as it is, or remove it", filepath.Base(beside(w.path)))
	case err == nil && old.Hash != hash:
		if err := os.Remove(w.path); err != nil {
			return nil, err
		}
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if old.Hash == hash && old.Complete {
		if whole, err := Captioned(w.path); err == nil && whole != nil {
			return whole, nil
		}
	}
	// First the summary: a file without one isn't ours.
	if err := writeSummary(beside(w.path), CaptionSummary{Hash: hash, Captioner: w.o.Name, Seed: w.o.Generate.Seed}); err != nil {
		return nil, err
	}
	w.file, err = os.OpenFile(w.path, os.O_RDWR|os.O_CREATE, 0o644)
	return nil, err
}

// resume keeps whole batches, so that the rest is batched as it would have been,
// and gives the number of the first image to caption.
func (w *captionWriter) resume() (next int, err error) {
	last := -1             // row of the last record
	var size, before int64 // where the last record ends, and the last of earlier batches
	err = parseCaptions(w.file, func(r CaptionRecord, end int64) error {
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
	left := w.data.Len() - next
	g := w.o.Group
	part, parts := g.Rank(), g.Size()
	// What costs money keeps one account: rank 0 asks for all.
	m, metered := w.captioner.(captioner.Metered)
	if metered {
		part, parts = 0, 1
	}
	var rows []int
	if !metered || g.Leads() {
		var err error
		if rows, err = dataset.Shard(left, w.o.BatchSize, part, parts); err != nil {
			return err
		}
	}
	for i := range rows {
		rows[i] += next
	}
	if metered && g.Leads() {
		estimate, err := m.Plan(ctx, len(rows), func(i int) ([]byte, error) { return w.encoded(rows[i]) }, w.generate())
		if err != nil {
			return err
		}
		if w.o.Planned != nil && len(rows) > 0 {
			w.o.Planned(estimate)
		}
	}
	share, stop, err := w.share(ctx, rows)
	if err != nil {
		return err
	}
	defer stop()
	// A round is one batch of each process, in the order of ranks.
	for round := range ceil(left, w.o.BatchSize*parts) {
		own, err := share(round)
		if err != nil {
			return err
		}
		all, err := dist.GatherOf(g, own)
		if err != nil {
			return err
		}
		if !g.Leads() {
			continue
		}
		if err := w.write(slices.Concat(all...)); err != nil {
			return err
		}
		if w.o.Progress != nil {
			w.o.Progress(min(next+(round+1)*w.o.BatchSize*parts, w.data.Len()), w.data.Len())
		}
	}
	if w.o.Progress != nil {
		w.o.Progress(w.data.Len(), w.data.Len())
	}
	return nil
}

// share gives a function that captions this process's next batch, of rows in
// w.data; none where its images are all broken, or it has no more.
func (w *captionWriter) share(ctx context.Context, rows []int) (next func(round int) ([]CaptionRecord, error), stop func(), err error) {
	if len(rows) == 0 {
		return func(int) ([]CaptionRecord, error) { return nil, nil }, func() {}, nil
	}
	data, err := dataset.Subset(w.data, rows)
	if err != nil {
		return nil, nil, err
	}
	pull, stop := iter.Pull2(w.batches(ctx, data))
	b, failed, ok := pull()
	return func(round int) ([]CaptionRecord, error) {
		if ok && failed != nil {
			if errors.Is(failed, dataset.ErrAllBroken) && (w.o.Group.Size() > 1 || len(rows) < w.data.Len()) {
				return nil, nil // others have some, or those captioned before
			}
			return nil, failed
		}
		if !ok || b.captioner.Step != round {
			return nil, nil
		}
		records, err := w.caption(ctx, b, rows)
		if err != nil {
			return nil, fmt.Errorf("images %s to %s: %w", b.captioner.Samples[0].Key, b.captioner.Samples[len(b.captioner.Samples)-1].Key, err)
		}
		b.captioner.Release()
		b, failed, ok = pull()
		return records, nil
	}, stop, nil
}

func ceil(a, b int) int { return (a + b - 1) / b }

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

func (w *captionWriter) caption(ctx context.Context, b batch, rows []int) ([]CaptionRecord, error) {
	samples := b.captioner.Samples
	keys := make([]string, len(samples))
	for i, s := range samples {
		keys[i] = s.Key
	}
	o := w.generate()
	captions, err := w.captioner.Caption(ctx, captioner.Images{
		Keys: keys, Pixels: b.captioner.Pixels,
		File: func(i int) ([]byte, error) { return w.encoded(rows[b.captioner.Index[i]]) },
	}, o)
	if err != nil {
		return nil, err
	}
	if len(captions) != len(samples) {
		return nil, fmt.Errorf("the captioner described %d images of %d", len(captions), len(samples))
	}
	records := make([]CaptionRecord, len(samples))
	for i, s := range samples {
		records[i] = CaptionRecord{Key: s.Key, Image: s.Key, Class: s.Class, Row: rows[b.captioner.Index[i]], Captioner: w.o.Name, Prompt: o.Prompt, Seed: o.Seed, Captions: []ScoredCaption{}}
		if err := records[i].take(captions[i], w.o.DropBoilerplate); err != nil {
			return nil, err
		}
	}
	return records, w.score(ctx, b.clip, records)
}

// encoded is an image as it's stored.
func (w *captionWriter) encoded(row int) ([]byte, error) {
	s, err := w.data.Sample(row)
	return s.Image, err
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
	if len(records) == 0 {
		return nil
	}
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
