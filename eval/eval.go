// Package eval measures models: zero-shot and linear classification on suites
// of test sets, the drift of features on image-text pairs, and the models
// between a pretrained and a finetuned one (WiSE-FT).
//
//	evaluator, err := eval.New(suites, eval.Options{})
//	results, err := evaluator.Evaluate(ctx, model, nil)
//
// An Evaluator reads each dataset once a model, whatever the number of suites
// on it, and can keep decoded images for the next model.
package eval

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"arf/clip"
	"arf/dataset"
	"arf/dist"
	"arf/imaging"
	"arf/torch"
)

// Options are optional.
type Options struct {
	BatchSize int // images at a time; 0 is 256
	Workers   int // decoding in parallel; 0 is one a CPU
	// Precision of the towers: torch.BFloat16 or torch.Float32 (the zero value
	// too). Logits are float32.
	Precision torch.DType
	// CacheBytes bounds the memory that each dataset's decoded images may take
	// between models; 0 keeps none.
	CacheBytes int64
	// Group is the processes that share the images, each of which calls Evaluate,
	// Drift or Retrieve and has the results of all; nil = this one alone.
	Group *dist.Group
	// Head classifies the suites whose classes it has all; the others, and all
	// when it is nil, have a zero-shot head. It is for Evaluate only; an
	// Evaluator's method takes it with the model.
	Head     *Head
	Progress func(done, total int) // images of all datasets; may be nil
	// Prompts reports the classes whose prompts have been encoded; may be nil.
	Prompts func(done, total int)
	// Done gets each suite's result, with the suite's place in the list, as soon
	// as its dataset is through, so that it can be saved; an error ends the
	// evaluation. May be nil.
	Done func(suite int, r *Result) error
	Log  *slog.Logger // gets broken images; nil is slog.Default
}

// Evaluator runs models over suites.
type Evaluator struct {
	suites []*suite
	passes []*pass
	o      Options
}

// suite is a Suite and where its images are.
type suite struct {
	Suite
	classes []Class // that compete
	labels  []int32 // by the pass's images: the class, or −1 for left out
	leftOut int
}

// brokenNamed bounds the samples of a pass that are named as broken.
const brokenNamed = 20

// pass is one reading of a dataset for all suites on it.
type pass struct {
	data   dataset.Dataset // the images that any suite wants
	border int
	suites []*suite
	broken int // that couldn't be described

	loader     *dataset.Loader // of this process's share; nil where that is empty
	numbers    []int           // of its images, in data
	preprocess imaging.Preprocess
}

// New checks the suites: their classes, templates and masks, and that every
// image's class is known. Classes are matched by name.
func New(suites []Suite, o Options) (*Evaluator, error) {
	if o.BatchSize == 0 {
		o.BatchSize = 256
	}
	e := &Evaluator{o: o}
	for _, s := range suites {
		own := &suite{Suite: s}
		var err error
		if own.classes, err = s.competing(); err != nil {
			return nil, fmt.Errorf("suite %s: %w", s.Name, err)
		}
		if len(own.classes) == 1 {
			return nil, fmt.Errorf("suite %s: only the class %q competes, so that every image would count as right; is %q a class's folder? Give the data with all its classes, or list the classes that compete",
				s.Name, own.classes[0].Name, own.classes[0].Name)
		}
		e.suites = append(e.suites, own)
		i := slices.IndexFunc(e.passes, func(p *pass) bool { return p.border == s.Border && same(p.data, s.Data) })
		if i < 0 {
			i = len(e.passes)
			e.passes = append(e.passes, &pass{data: s.Data, border: s.Border})
		}
		e.passes[i].suites = append(e.passes[i].suites, own)
	}
	for _, p := range e.passes {
		if err := p.label(cmp.Or(o.Log, slog.Default())); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// label finds every image's class in each suite, and drops the images that no
// suite wants.
func (p *pass) label(log *slog.Logger) error {
	index := make([]map[string]int32, len(p.suites))
	for k, s := range p.suites {
		index[k] = make(map[string]int32, len(s.classes))
		for i, c := range s.classes {
			index[k][c.Name] = int32(i)
		}
	}
	var wanted []int
	labels := make([]int32, len(p.suites))
	for i := range p.data.Len() {
		sample, err := dataset.Describe(p.data, i)
		if err != nil {
			if p.broken++; p.broken <= brokenNamed {
				log.Warn("skipped a broken sample", "key", sample.Key, "error", err)
			}
			continue
		}
		keep := false
		for k, s := range p.suites {
			class := sample.Class
			if s.ByLabel {
				if sample.Label < 0 || sample.Label >= len(s.Classes) {
					return fmt.Errorf("suite %s: image %s has the label %d; want a number of its %d classes", s.Name, sample.Key, sample.Label, len(s.Classes))
				}
				class = s.Classes[sample.Label].Name
			}
			if name, ok := s.Alias[class]; ok {
				class = name
			}
			label, ok := index[k][class]
			switch {
			case ok:
				labels[k], keep = label, true
			case s.ClassMask != nil:
				labels[k] = -1
				s.leftOut++
			case sample.Class == "":
				return fmt.Errorf("suite %s: image %s has no class", s.Name, sample.Key)
			default:
				return fmt.Errorf("suite %s: image %s is of class %q, which isn't among the suite's %d classes; add the class, or leave such images out (class_mask of a suite in the config)",
					s.Name, sample.Key, sample.Class, len(s.classes))
			}
		}
		if !keep {
			continue
		}
		wanted = append(wanted, i)
		for k, s := range p.suites {
			s.labels = append(s.labels, labels[k])
		}
	}
	if len(wanted) == 0 {
		return fmt.Errorf("suite %s: no image is of a class that competes", p.suites[0].Name)
	}
	var err error
	if len(wanted) < p.data.Len() {
		p.data, err = dataset.Subset(p.data, wanted)
	}
	return err
}

// Evaluate classifies one suite.
func Evaluate(ctx context.Context, model *clip.Model, s Suite, o Options) (*Result, error) {
	e, err := New([]Suite{s}, o)
	if err != nil {
		return nil, err
	}
	results, err := e.Evaluate(ctx, model, o.Head)
	if err != nil {
		return nil, err
	}
	return results[0], nil
}

// Evaluate classifies all suites with a model. head is for the suites whose
// classes it has all, and may be nil; the others have a zero-shot head. Results
// are in the order of the suites.
func (e *Evaluator) Evaluate(ctx context.Context, model *clip.Model, head *Head) ([]*Result, error) {
	if head != nil {
		if err := head.check(); err != nil {
			return nil, err
		}
		if head.Dim != model.Config.EmbedDim {
			return nil, fmt.Errorf("the head has %d columns, the model's features %d", head.Dim, model.Config.EmbedDim)
		}
	}
	texts := &classFeatures{model: model, precision: e.o.Precision, progress: e.o.Prompts, of: map[string][]float32{}}
	runs := make(map[*suite]*run, len(e.suites))
	for i, s := range e.suites {
		r, err := e.begin(ctx, texts, s, head)
		if err != nil {
			return nil, fmt.Errorf("suite %s: %w", s.Name, err)
		}
		r.place, runs[s] = i, r
	}
	total, done := 0, 0
	for _, p := range e.passes {
		total += p.data.Len()
	}
	for _, p := range e.passes {
		progress := func(n int) {
			if e.o.Progress != nil {
				e.o.Progress(done+n, total)
			}
		}
		if err := e.read(ctx, model, p, runs, progress); err != nil {
			return nil, fmt.Errorf("suite %s: %w", p.suites[0].Name, err)
		}
		done += p.data.Len()
		for _, s := range p.suites {
			if err := e.finish(runs[s]); err != nil {
				return nil, fmt.Errorf("suite %s: %w", s.Name, err)
			}
		}
	}
	var results []*Result
	for _, s := range e.suites {
		results = append(results, runs[s].out)
	}
	return results, nil
}

func (e *Evaluator) finish(r *run) (err error) {
	if r.out, err = r.result(); err != nil {
		return err
	}
	r.out.Precision = precisionName(e.o.Precision)
	if e.o.Done == nil {
		return nil
	}
	return e.o.Done(r.place, r.out)
}

// run is one model on one suite.
type run struct {
	*suite
	kind       string    // of the head
	weight     []float32 // [rows, dim]
	rowsOf     []int     // by class: how many rows; nil is one each
	tally      *tally
	broken     int
	activation string
	out        *Result
	place      int // in the evaluator's list
}

func (e *Evaluator) begin(ctx context.Context, texts *classFeatures, s *suite, head *Head) (*run, error) {
	r := &run{suite: s, kind: "linear", tally: newTally(len(s.classes)), activation: string(texts.model.Config.Text.Activation)}
	rows := s.classes
	if slices.ContainsFunc(rows, func(c Class) bool { return len(c.Members) > 0 }) {
		rows = nil
		for _, c := range s.classes {
			own := c.Members
			if len(own) == 0 {
				own = []Class{c}
			}
			rows, r.rowsOf = append(rows, own...), append(r.rowsOf, len(own))
		}
	}
	if head != nil {
		if weight, ok := head.Rows(rows); ok {
			r.weight = weight
			return r, nil
		}
	}
	r.kind = "text"
	var err error
	r.weight, err = texts.rows(ctx, rows, s.Templates)
	return r, err
}

// read encodes the images of a dataset once, for all its suites.
func (e *Evaluator) read(ctx context.Context, model *clip.Model, p *pass, runs map[*suite]*run, progress func(n int)) error {
	if err := e.open(p, model.Preprocess); err != nil {
		return err
	}
	if len(p.numbers) > 0 {
		if err := e.readShare(ctx, model, p, runs, progress); err != nil {
			return err
		}
	}
	if err := e.join(p, runs); err != nil {
		return err
	}
	progress(p.data.Len())
	return nil
}

// open makes the loader of this process's share of a pass.
func (e *Evaluator) open(p *pass, pre imaging.Preprocess) (err error) {
	if p.numbers != nil && p.preprocess == pre {
		return nil
	}
	p.preprocess = pre
	if p.numbers, err = dataset.Shard(p.data.Len(), e.o.BatchSize, e.o.Group.Rank(), e.o.Group.Size()); err != nil || len(p.numbers) == 0 {
		return err
	}
	share, err := dataset.Subset(p.data, p.numbers)
	if err != nil {
		return err
	}
	p.loader, err = dataset.NewLoader(share, dataset.Options{
		BatchSize: e.o.BatchSize, Preprocess: pre, Border: p.border, Epochs: 1,
		Workers: e.o.Workers, CacheBytes: e.o.CacheBytes, Log: e.o.Log,
	})
	return err
}

func (e *Evaluator) readShare(ctx context.Context, model *clip.Model, p *pass, runs map[*suite]*run, progress func(n int)) error {
	for batch, err := range p.loader.Batches(ctx) {
		if errors.Is(err, dataset.ErrAllBroken) && e.o.Group.Size() > 1 {
			return p.unread() // others may have some
		}
		if err != nil {
			return err
		}
		for i, n := range batch.Index {
			batch.Index[i] = p.numbers[n]
		}
		features, err := model.ImageFeatures(ctx, batch.Pixels, len(batch.Samples), e.o.Precision)
		if errors.Is(err, clip.ErrNotFinite) {
			err = fmt.Errorf("images %s to %s: %w", batch.Samples[0].Key, batch.Samples[len(batch.Samples)-1].Key, err)
		}
		if err != nil {
			return err
		}
		for _, s := range p.suites {
			if err := runs[s].classify(model, features, batch); err != nil {
				return err
			}
		}
		progress(batch.Index[len(batch.Index)-1] + 1)
		batch.Release()
	}
	return nil
}

// unread is unreadShare of a pass.
func (p *pass) unread() error {
	share, err := dataset.Subset(p.data, p.numbers)
	if err != nil {
		return err
	}
	return unreadShare(share)
}

// join adds up what the processes counted.
func (e *Evaluator) join(p *pass, runs map[*suite]*run) error {
	type counted struct {
		Broken  int
		Tallies []counts
	}
	var own counted
	if p.loader != nil {
		own.Broken = p.loader.Broken().Count
	}
	for _, s := range p.suites {
		own.Tallies = append(own.Tallies, runs[s].tally.counts())
	}
	all, err := dist.GatherOf(e.o.Group, own)
	if err != nil {
		return err
	}
	for i, s := range p.suites {
		runs[s].broken = p.broken
		runs[s].tally = newTally(len(s.classes))
		for _, c := range all {
			runs[s].broken += c.Broken
			runs[s].tally.join(c.Tallies[i])
		}
	}
	return nil
}

func (r *run) classify(model *clip.Model, features []float32, batch *dataset.Batch) (err error) {
	defer torch.Catch(&err)
	dim := model.Config.EmbedDim
	rows := len(r.weight) / dim
	var logits []float32
	torch.Scope(func() {
		torch.NoGrad(func() {
			d := model.Device()
			f, w := torch.From(d, features, len(batch.Samples), dim), torch.From(d, r.weight, rows, dim)
			logits = torch.To[float32](model.Logits(f, w))
		})
	})
	for i, number := range batch.Index {
		label := r.labels[number]
		if label < 0 {
			continue
		}
		if err := r.tally.add(greatest(logits[i*rows:(i+1)*rows], r.rowsOf), int(label)); err != nil {
			return fmt.Errorf("image %s: %w; the head or the logit scale is damaged", batch.Samples[i].Key, err)
		}
	}
	return nil
}

// greatest reduces the logits of rows to those of classes, in place: class k has
// the next rowsOf[k] rows.
func greatest(logits []float32, rowsOf []int) []float32 {
	if rowsOf == nil {
		return logits
	}
	at := 0
	for k, n := range rowsOf {
		best := logits[at]
		for _, v := range logits[at : at+n] {
			if v > best || v != v { // NaN stays, to be told
				best = v
			}
		}
		logits[k] = best
		at += n
	}
	return logits[:len(rowsOf)]
}

func (r *run) result() (*Result, error) {
	n, _ := r.tally.images()
	if n == 0 {
		return nil, errors.New("none of its images could be decoded")
	}
	out := &Result{
		Dataset: r.Name, Task: "zeroshot_classification", Language: "en", Role: r.Role,
		Metrics: r.tally.metrics(), Images: n, LeftOut: r.leftOut, Broken: r.broken, Classes: len(r.classes),
		ClassMask: r.ClassMask, Templates: r.Templates, Head: r.kind, Activation: r.activation,
		PerClass: make(map[string]ClassResult, len(r.classes)), MainMetric: cmp.Or(r.Metric, Acc1), Border: r.Border,
		Confusions: r.tally.confusions(r.classes),
	}
	out.StandardError, out.StandardErrorByClass = r.tally.standardErrors()
	for i, c := range r.classes {
		own := ClassResult{N: r.tally.n[i]}
		if c.Prompt != c.Name {
			own.Prompt = c.Prompt
		}
		if own.N > 0 {
			acc := float64(r.tally.right[i]) / float64(own.N)
			own.Acc1 = &acc
		}
		out.PerClass[c.Name] = own
	}
	return out, nil
}
