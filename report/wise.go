package report

import (
	"math"
	"slices"
)

// curvePoint is one interpolated model: weights (1−alpha)·pretrained + alpha·finetuned
// (WiSE-FT, Wortsman et al., CVPR 2022).
type curvePoint struct {
	Alpha float64
	X, Y  Score
}

// curve is a method's path from the pretrained (alpha 0) to the finetuned model
// (alpha 1): x is ID accuracy, y the average over the suites of another role.
// Methods without WiSE-FT have the finetuned model alone.
func (r *Run) curve(method, role string) []curvePoint {
	alphas := r.alphas(method)
	if len(alphas) > 1 && alphas[0] != 0 {
		alphas = append([]float64{0}, alphas...)
	}
	var out []curvePoint
	for _, alpha := range alphas {
		x := r.score(method, alpha, metrics[0], r.suites(RoleID))
		y := r.score(method, alpha, metrics[0], r.suites(role))
		if alpha == 0 && (math.IsNaN(x.Mean) || math.IsNaN(y.Mean)) {
			x = r.score(Pretrained, 1, metrics[0], r.suites(RoleID))
			y = r.score(Pretrained, 1, metrics[0], r.suites(role))
		}
		if !math.IsNaN(x.Mean) && !math.IsNaN(y.Mean) {
			out = append(out, curvePoint{Alpha: alpha, X: x, Y: y})
		}
	}
	return out
}

// halfway is the alpha that the WiSE-FT paper advises when none was tuned.
const halfway = 0.5

// hasHalfway tells whether a method was interpolated there.
func (r *Run) hasHalfway(method string) bool {
	return slices.Contains(r.alphas(method), halfway)
}
