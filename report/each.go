package report

import "iter"

// Model names one evaluated model of a run: a method's, or with Alpha below 1
// the one at that share of the way from the pretrained one (WiSE-FT).
type Model struct {
	Method string
	Alpha  float64
	Seed   int
}

// Evaluations goes through all evaluations, in no order; each one's Dataset is a
// Suite's Name.
func (r *Run) Evaluations() iter.Seq2[Model, *Evaluation] {
	return func(yield func(Model, *Evaluation) bool) {
		for key, bySeed := range r.evals {
			for seed, e := range bySeed {
				if !yield(Model{key.method, key.alpha, seed}, e) {
					return
				}
			}
		}
	}
}

// DriftOf is the feature drift of a method's finetuned model; nil if it wasn't measured.
func (r *Run) DriftOf(method string, seed int) *Drift { return r.drifts[method][seed] }
