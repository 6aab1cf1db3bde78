package results

import (
	"fmt"
	"slices"
	"strings"

	"arf/config"
	"arf/report"
)

// check refuses a run that can't be averaged with those before it.
func (t *Table) check(r *report.Run) error {
	var own []report.Suite
	for _, s := range r.Suites {
		if s.Role != report.RoleValidation {
			own = append(own, s)
		}
	}
	if len(t.Runs) == 0 {
		t.suites = own
		return nil
	}
	first := t.Runs[0]
	same := func(a, b report.Suite) bool {
		return a.Name == b.Name && a.Role == b.Role && a.Images == b.Images && a.Classes == b.Classes
	}
	if !slices.EqualFunc(t.suites, own, same) {
		return fmt.Errorf("results: %s has other test sets than %s; evaluate both on the same data", r.Dir, first.Dir)
	}
	for _, a := range first.Info.Data {
		for _, b := range r.Info.Data {
			if a.Role == b.Role && a.SHA256 != b.SHA256 {
				return fmt.Errorf("results: %s was run on other data than %s: %s differs; run both on the same", r.Dir, first.Dir, a.Role)
			}
		}
	}
	for _, old := range t.Runs {
		if seed, ok := repeated(old, r); ok {
			return fmt.Errorf("results: %s repeats seed %d of the pretrained model of %s; give each run once", r.Dir, seed, old.Dir)
		}
	}
	return checkSettings(first, r)
}

// repeated finds a seed that both runs finetuned the same model with: counted
// twice, it would make results look surer than they are.
func repeated(a, b *report.Run) (seed int, ok bool) {
	if a.Dir != b.Dir && (a.Info.Model.SHA256 == "" || a.Info.Model.SHA256 != b.Info.Model.SHA256) {
		return 0, false
	}
	for m := range a.Evaluations() {
		for other := range b.Evaluations() {
			if m == other && m.Method != report.Pretrained {
				return m.Seed, true
			}
		}
	}
	return 0, false
}

// freeSettings may differ between runs: the captioner belongs to the pretrained
// model, the others change no number.
var freeSettings = []string{
	"anchors.captions.captioner", "anchors.captions.batch_size", "anchors.pairs.batch_size",
	"train.workers", "train.micro_batch", "train.activation_checkpointing", "train.checkpoint_every", "train.keep_checkpoints",
}

// checkSettings compares what the numbers depend on.
func checkSettings(a, b *report.Run) error {
	if a.Config == "" || b.Config == "" {
		return nil
	}
	x, err := settings(a)
	if err != nil {
		return err
	}
	y, err := settings(b)
	if err != nil {
		return err
	}
	const captioner = "anchors.captions.captioner"
	if (x[captioner] == config.CaptionerRetrieval) != (y[captioner] == config.CaptionerRetrieval) {
		return fmt.Errorf("results: captions are retrieved in one of %s and %s (%s: %q and %q); such runs can't be averaged", a.Dir, b.Dir, captioner, x[captioner], y[captioner])
	}
	for _, k := range differing([]map[string]string{x, y}) {
		section, _, _ := strings.Cut(k, ".")
		if (section == "train" || section == "anchors" || k == "eval.templates") && !slices.Contains(freeSettings, k) {
			return fmt.Errorf("results: %s has %s: %q, %s has %q; runs of different settings can't be averaged (arf compare shows them apart)", a.Dir, k, x[k], b.Dir, y[k])
		}
	}
	return nil
}
