package anchor

import (
	"fmt"

	"arf/index"
)

// ExactSummary tells of an exact search.
type ExactSummary struct {
	// Precision is what rows were compared in, bfloat16 or float32; scores are float32's
	// either way.
	Precision     string  `json:"precision"`
	SearchSeconds float64 `json:"-"` // wall clock of all queries' search; pairs.json is the same each time
}

// String is a line for the user.
func (s *ExactSummary) String() string {
	text := "exact search in " + s.Precision
	if s.Precision != "float32" {
		text += ", scores in float32"
	}
	return fmt.Sprintf("%s: %.1f s", text, s.SearchSeconds)
}

// exact searches vectors; progress may be nil.
func (o PairOptions) exact(vectors index.Vectors, progress func(done, total int)) *index.Exact {
	return &index.Exact{Vectors: vectors, Device: o.Device, Precision: o.Precision, Progress: progress}
}
