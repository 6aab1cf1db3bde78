package report

import (
	"fmt"
	"math"
	"slices"
)

// Roles of a test set.
const (
	RoleID         = "id"
	RoleShift      = "shift"
	RoleZeroShot   = "zero-shot"
	RoleValidation = "validation" // shown, never averaged, never in the verdict
)

var roles = []string{RoleID, RoleShift, RoleZeroShot, RoleValidation}

// Evaluation is one eval JSON file: one model on one test set, in
// clip_benchmark's shape plus what a comparison needs. Accuracies and errors
// are in [0,1]. A null number means that it wasn't measured.
type Evaluation struct {
	Dataset       string                 `json:"dataset"`
	Role          string                 `json:"role"`
	Images        int                    `json:"num_images"`
	Classes       int                    `json:"num_classes"`
	Templates     []string               `json:"templates"`
	Metrics       Metrics                `json:"metrics"`
	StandardError *float64               `json:"standard_error"` // of acc1, from the number of images
	PerClass      map[string]ClassResult `json:"per_class"`
	Method        string                 `json:"method"`
	Seed          *int                   `json:"seed"`
	Alpha         *float64               `json:"alpha"`

	file string
}

// Metrics of one evaluation, each in [0,1].
type Metrics struct {
	Acc1               *float64 `json:"acc1"`
	Acc5               *float64 `json:"acc5"`
	MeanPerClassRecall *float64 `json:"mean_per_class_recall"`
	ECE                *float64 `json:"ece"` // expected calibration error
}

// ClassResult is the share of one class's N images that were right.
type ClassResult struct {
	N    int      `json:"n"`
	Acc1 *float64 `json:"acc1"`
}

// check finds values that no evaluation can have.
func (e *Evaluation) check() error {
	bad := func(field, want string, got any) error {
		return fmt.Errorf("%s: field %s is %v, want %s; run arf eval again", e.file, field, got, want)
	}
	known := false
	for _, role := range roles {
		known = known || role == e.Role
	}
	if !known {
		return bad("role", "id, shift, zero-shot or validation", fmt.Sprintf("%q", e.Role))
	}
	if e.Images < 0 {
		return bad("num_images", "a count", e.Images)
	}
	for _, m := range []struct {
		field string
		value *float64
	}{
		{"metrics.acc1", e.Metrics.Acc1}, {"metrics.acc5", e.Metrics.Acc5},
		{"metrics.mean_per_class_recall", e.Metrics.MeanPerClassRecall},
		{"metrics.ece", e.Metrics.ECE}, {"standard_error", e.StandardError},
	} {
		if m.value != nil && !(*m.value >= 0 && *m.value <= 1) {
			return bad(m.field, "a share between 0 and 1", *m.value)
		}
	}
	for name, c := range e.PerClass {
		if c.N < 0 {
			return bad("per_class."+name+".n", "a count", c.N)
		}
		if c.Acc1 != nil && !(*c.Acc1 >= 0 && *c.Acc1 <= 1) {
			return bad("per_class."+name+".acc1", "a share between 0 and 1", *c.Acc1)
		}
	}
	return nil
}

// standardError of acc1: the file's, else the binomial one; NaN when neither is
// known. An accuracy of 0 or 1 has a binomial error of 0, which would claim
// certainty of few images: there it is that of Laplace's (np+1)/(n+2).
func (e *Evaluation) standardError() float64 {
	if e.StandardError != nil && *e.StandardError > 0 {
		return *e.StandardError
	}
	p, n := value(e.Metrics.Acc1), float64(e.Images)
	if p == 0 || p == 1 {
		p = (n*p + 1) / (n + 2)
	}
	return math.Sqrt(p * (1 - p) / n)
}

// value of an optional number; NaN when it is missing.
func value(p *float64) float64 {
	if p == nil {
		return math.NaN()
	}
	return *p
}

// Suite is one test set.
type Suite struct {
	Name      string
	Role      string
	Images    int
	Classes   int
	Templates []string
}

// Prompts are what classes were asked for with.
type Prompts struct {
	Suites    []string
	Templates []string
}

// Prompts of the test sets, those of equal ones together. Results of another
// program may have none.
func (r *Run) Prompts() []Prompts {
	var out []Prompts
	for _, s := range r.Suites {
		if len(s.Templates) == 0 {
			continue
		}
		i := slices.IndexFunc(out, func(p Prompts) bool { return slices.Equal(p.Templates, s.Templates) })
		if i < 0 {
			i, out = len(out), append(out, Prompts{Templates: s.Templates})
		}
		out[i].Suites = append(out[i].Suites, s.Name)
	}
	return out
}
