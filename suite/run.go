package suite

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"

	"arf/clip"
	"arf/dataset"
	"arf/dist"
	"arf/eval"
)

// RunOptions of Run. ModelName and ModelHash are needed.
type RunOptions struct {
	eval.Options
	ModelName string // as the results call it
	ModelHash string // of its weights, see clip.Hash
	// Out is the folder of the results, "" for none:
	// <Out>/<suite>/<set>.json and <set>.confusion.csv.
	Out string
	// Redo measures again what Out has of the same model, data and prompts.
	Redo bool
	// Failed is told of a test that can't be measured as its classes and images
	// don't fit; it is then left out. nil makes it Run's error.
	Failed func(error)
	// Stage reports progress; may be nil.
	Stage func(stage string, done, total int)
}

// Outcome is a test's result; one of Class and Captions is set.
type Outcome struct {
	Test     *Test
	Class    *eval.Result
	Captions *eval.RetrievalResult
	Reused   bool // Out had it already
}

// Run measures a model on the tests and saves each result as soon as it is
// there. Outcomes are in the tests' order, without those of failed tests. In a
// group (eval.Options) all processes call it, and rank 0's outcomes count.
func Run(ctx context.Context, model *clip.Model, tests []Test, o RunOptions) ([]Outcome, error) {
	out := make([]Outcome, len(tests))
	inputs := make([]string, len(tests))
	var suites []eval.Suite
	var places []int // of suites in tests
	for i := range tests {
		t := &tests[i]
		out[i].Test = t
		var err error
		if inputs[i], err = o.inputs(t); err != nil {
			return nil, err
		}
		// In a group rank 0 has the results; the others only know that they are there.
		out[i].Reused, err = dist.Agree(o.Group, func() (bool, error) {
			err := o.reuse(&out[i], inputs[i])
			return out[i].Reused, err
		})
		if err != nil {
			return nil, err
		}
		if t.Class == nil || out[i].Reused {
			continue
		}
		if o.Failed != nil {
			if _, err := eval.New([]eval.Suite{*t.Class}, eval.Options{Log: slog.New(slog.DiscardHandler)}); err != nil {
				o.Failed(err)
				out[i].Test = nil
				continue
			}
		}
		suites, places = append(suites, *t.Class), append(places, i)
	}
	if err := o.classify(ctx, model, suites, places, inputs, out); err != nil {
		return nil, err
	}
	for i := range tests {
		if tests[i].Captions == nil || out[i].Reused {
			continue
		}
		if err := o.retrieve(ctx, model, &out[i], inputs[i]); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(out, func(o Outcome) bool { return o.Test == nil }), nil
}

func (o RunOptions) classify(ctx context.Context, model *clip.Model, suites []eval.Suite, places []int, inputs []string, out []Outcome) error {
	if len(suites) == 0 {
		return nil
	}
	e := o.Options
	e.Progress, e.Prompts = o.stage("images"), o.stage("class prompts")
	e.Done = func(k int, r *eval.Result) error {
		i := places[k]
		r.Model, r.Pretrained, r.Inputs = o.ModelName, o.ModelHash, inputs[i]
		out[i].Class = r
		if o.Out == "" || !o.Group.Leads() {
			return nil
		}
		if err := r.SaveConfusions(o.confusions(out[i].Test)); err != nil {
			return err
		}
		return r.Save(o.file(out[i].Test))
	}
	evaluator, err := eval.New(suites, e)
	if err != nil {
		return err
	}
	_, err = evaluator.Evaluate(ctx, model, o.Head)
	return err
}

func (o RunOptions) retrieve(ctx context.Context, model *clip.Model, out *Outcome, inputs string) error {
	e := o.Options
	e.Progress = o.stage(out.Test.Name())
	r, err := eval.Retrieve(ctx, model, *out.Test.Captions, e)
	if err != nil {
		return err
	}
	r.Model, r.Pretrained, r.Inputs = o.ModelName, o.ModelHash, inputs
	out.Captions = r
	if o.Out == "" || !o.Group.Leads() {
		return nil
	}
	return r.Save(o.file(out.Test))
}

func (o RunOptions) stage(name string) func(done, total int) {
	if o.Stage == nil {
		return nil
	}
	return func(done, total int) { o.Stage(name, done, total) }
}

func (o RunOptions) file(t *Test) string {
	return filepath.Join(o.Out, t.Suite, t.Name()+".json")
}

func (o RunOptions) confusions(t *Test) string {
	return filepath.Join(o.Out, t.Suite, t.Name()+".confusion.csv")
}

// reuse loads a result that is there already.
func (o RunOptions) reuse(out *Outcome, inputs string) error {
	if o.Out == "" || o.Redo {
		return nil
	}
	path := o.file(out.Test)
	if out.Test.Captions != nil {
		r, err := eval.LoadRetrievalResult(path)
		if err == nil && r.Inputs == inputs {
			out.Captions, out.Reused = r, true
		}
		return ignoreForeign(err)
	}
	r, err := eval.LoadResult(path)
	if err == nil && r.Model != o.ModelName && r.Pretrained != o.ModelHash {
		slog.Warn("the results of another model are replaced; --out takes another folder", "file", path, "model", r.Model)
	}
	if err != nil || r.Inputs != inputs {
		return ignoreForeign(err)
	}
	r.Confusions, err = eval.LoadConfusions(o.confusions(out.Test))
	if err != nil {
		return nil //nolint:nilerr // measured again
	}
	out.Class, out.Reused = r, true
	return nil
}

// ignoreForeign forgets that there is no result, or one that can't be read.
func ignoreForeign(err error) error {
	var denied *fs.PathError
	if errors.As(err, &denied) && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// inputs is a hash of what a test's numbers depend on. Of the images only the
// names count, so that it needs no second reading of them.
func (o RunOptions) inputs(t *Test) (string, error) {
	h := sha256.New()
	var parts any
	var d dataset.Dataset
	if c := t.Captions; c != nil {
		d, parts = c.Data, []any{c.ByKey}
	} else {
		c := t.Class
		d, parts = c.Data, []any{c.Classes, c.ClassMask, c.Alias, c.ByLabel, c.Border, c.Metric, c.Templates, c.Role, o.Head}
	}
	text, err := json.Marshal([]any{o.ModelHash, o.Precision.String(), t.Name(), t.Path, parts})
	if err != nil {
		return "", fmt.Errorf("%s: %w", t.Name(), err)
	}
	h.Write(text)
	for i := range d.Len() {
		s, err := dataset.Describe(d, i)
		text := ""
		if err != nil {
			text = err.Error()
		}
		fmt.Fprintf(h, "%q %q %q %d %q\n", s.Key, s.Class, s.Texts, s.Label, text)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}
