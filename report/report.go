// Package report turns a run folder into something to read and something to
// compute with: one self-contained HTML file, results.json, results.csv and a
// text table.
//
// It reads files only, so a report of a run that was made elsewhere, or that is
// still going, needs neither the model nor the engine:
//
//	run, err := report.Load("runs/icons")
//	run.Images = images            // optional, the gallery's pictures
//	err = run.WriteHTML("runs/icons/report.html")
//	err = run.Table(os.Stdout)
//
// What a run folder holds (everything but the first line may be missing, and
// the report then shows less):
//
//	eval/<method>/seed-<s>/<suite>.json            results of one model on one test set
//	eval/<method>/seed-<s>/wise-<alpha>/<suite>.json  WiSE-FT; alpha 0 = pretrained, 1 = finetuned
//	eval/<method>/seed-<s>/drift.json              feature drift
//	train/<method>/seed-<s>/metrics.jsonl          one line a step
//	anchors/captions.jsonl, anchors/pairs.parquet  what ARF trained on besides the labels
//	run.json, config.yaml                          what was run
//
// The method named "zeroshot" is the pretrained model, which everything is
// compared with.
package report

import (
	"errors"
	"slices"
)

// Pretrained is the method name of the model before finetuning.
const Pretrained = "zeroshot"

// ErrNoResults is what Load wraps when a folder holds no evaluation.
var ErrNoResults = errors.New("no evaluation results")

// Run is a run folder in memory. Load fills it; the exported fields in the
// second group may be set before writing.
type Run struct {
	Dir      string
	Name     string
	Info     Info     // run.json; zero when missing
	Config   string   // config.yaml as text; empty when missing
	Methods  []string // display order, Pretrained first when it was evaluated
	Seeds    []int    // seeds of the finetuned models, ascending
	Suites   []Suite  // ID, shifts, zero-shot, validation
	Warnings []string // what is missing, not comparable or not finite

	// Images gives the pictures of the gallery; nil shows it without pictures.
	Images Images
	// GalleryImages limits the finetune images in the gallery, which are spread
	// over the classes: 0 = 60, negative = no gallery.
	GalleryImages int
	// Template is the class prompt shown in it, "{}" standing for the name; "" is
	// that of the evaluations, if any.
	Template string
	// Focus is the method that the verdict is about; empty = "arf+class-text" or
	// "arf" where they were run, else the last finetuned method.
	Focus string

	evals    map[evalKey]map[int]*Evaluation // by seed
	drifts   map[string]map[int]*Drift       // method, seed
	training map[string]map[int]*training    // method, seed
	named    named                           // by config.yaml
	unnamed  int                             // evaluations that are left out
	captions []captionRecord
	pairs    string // path of pairs.parquet; empty when missing
	// leastCaption is the CLIP score below which captions are shown as left out.
	leastCaption float64
}

// evalKey names one point: the model (method, interpolation) and the test set.
// A model that wasn't interpolated has alpha 1.
type evalKey struct {
	method string
	alpha  float64
	suite  string
}

// Images reads the pictures of the anchor gallery, encoded (PNG, JPEG, GIF or WebP).
type Images interface {
	FinetuneImage(key string) ([]byte, error) // key of anchors/captions.jsonl
	PoolImage(key string) ([]byte, error)     // pair_key of anchors/pairs.parquet
}

// known is the order in which methods are shown: from no finetuning to all terms.
var known = []string{
	Pretrained, "ft", "flyp", "flyp+tca", "flyp+ita", "arf", "flyp+class-text", "arf+class-text",
	"flyp-2x", "flyp+random", "flyp+random-matched", "arf+random", "pairs-only", "caption=class-prompt",
}

// published is the number of methods in known that the paper compares, before ours and the controls.
const published = 6

func compareMethods(a, b string) int {
	rank := func(m string) int {
		if i := slices.Index(known, m); i >= 0 {
			return i
		}
		return len(known)
	}
	if ra, rb := rank(a), rank(b); ra != rb {
		return ra - rb
	}
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// finetuned lists the methods other than the pretrained model.
func (r *Run) finetuned() []string {
	return slices.DeleteFunc(slices.Clone(r.Methods), func(m string) bool { return m == Pretrained })
}

// focus is the method that the verdict is about; empty when none was finetuned.
func (r *Run) focus() string {
	methods := r.finetuned()
	switch {
	case slices.Contains(methods, r.Focus):
		return r.Focus
	case slices.Contains(methods, "arf+class-text"):
		return "arf+class-text"
	case slices.Contains(methods, "arf"):
		return "arf"
	case len(methods) > 0:
		return methods[len(methods)-1]
	}
	return ""
}

// suites lists the test sets of one role in display order.
func (r *Run) suites(role string) []Suite {
	var out []Suite
	for _, s := range r.Suites {
		if s.Role == role {
			out = append(out, s)
		}
	}
	return out
}
