package eval

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"arf/internal/atomicfile"
)

// Result is one model on one suite: clip_benchmark's JSON and what a comparison
// needs besides. Accuracies and errors are in [0, 1].
type Result struct {
	Dataset    string `json:"dataset"`    // the suite's name
	Model      string `json:"model"`      // set by the caller
	Pretrained string `json:"pretrained"` // set by the caller
	// DataSource names the package that the data came from, DataSHA256 is the
	// hash of its content; set by the caller.
	DataSource string  `json:"data_source,omitempty"`
	DataSHA256 string  `json:"data_sha256,omitempty"`
	Task       string  `json:"task"`
	Metrics    Metrics `json:"metrics"`
	Language   string  `json:"language"`

	Images     int      `json:"num_images"`           // that were classified
	LeftOut    int      `json:"num_masked,omitempty"` // of classes outside the mask
	Broken     int      `json:"num_broken,omitempty"` // that couldn't be decoded
	Classes    int      `json:"num_classes"`          // that competed
	ClassMask  []string `json:"class_mask"`
	Templates  []string `json:"templates"`
	Head       string   `json:"head"` // "text" or "linear"
	Activation string   `json:"activation"`
	// StandardError is acc1's binomial one, √(p(1−p)/n); the other one takes
	// images of one class as alike.
	StandardError        float64  `json:"standard_error"`
	StandardErrorByClass *float64 `json:"standard_error_by_class"`

	// MainMetric names the metric that the suite's papers report.
	MainMetric string `json:"main_metric"`
	Border     int    `json:"border_crop,omitempty"` // pixels that were cut off each side
	Precision  string `json:"precision,omitempty"`   // of the towers
	// Inputs is a hash of all that the numbers depend on; set by the caller.
	Inputs string `json:"inputs,omitempty"`
	// Confusions are the mistakes, the most frequent first; in a file of their
	// own (SaveConfusions).
	Confusions []Confusion `json:"-"`

	Role     string                 `json:"role"`
	PerClass map[string]ClassResult `json:"per_class"`
	Method   string                 `json:"method"`          // set by the caller
	Seed     int                    `json:"seed"`            // set by the caller
	Alpha    *float64               `json:"alpha,omitempty"` // of WiSE-FT; set by the caller
}

// MarshalJSON leaves method and seed out where there is no method: a model by
// itself has neither.
func (r Result) MarshalJSON() ([]byte, error) {
	type plain Result
	if r.Method != "" {
		return json.Marshal(plain(r))
	}
	return json.Marshal(struct {
		plain
		Method *string `json:"method,omitempty"`
		Seed   *int    `json:"seed,omitempty"`
	}{plain: plain(r)})
}

// Metrics of a suite.
type Metrics struct {
	Acc1               float64  `json:"acc1"`
	Acc5               *float64 `json:"acc5"`                  // nil with fewer than five classes
	MeanPerClassRecall float64  `json:"mean_per_class_recall"` // over classes with images
	ECE                float64  `json:"ece"`                   // expected calibration error, 15 bins
}

// ClassResult is one class's share.
type ClassResult struct {
	Prompt string   `json:"prompt,omitempty"` // its name in prompts, where that isn't the key
	N      int      `json:"n"`
	Acc1   *float64 `json:"acc1"` // nil without images
}

// Main is the value of MainMetric.
func (r *Result) Main() float64 {
	if r.MainMetric == MeanPerClassRecall {
		return r.Metrics.MeanPerClassRecall
	}
	return r.Metrics.Acc1
}

// Save writes the JSON atomically and makes the folder.
func (r *Result) Save(path string) error { return save(path, r) }

// LoadResult reads what Save wrote, without confusions.
func LoadResult(path string) (*Result, error) {
	r := &Result{}
	if err := load(path, r); err != nil {
		return nil, err
	}
	for _, v := range []float64{r.Metrics.Acc1, r.Metrics.MeanPerClassRecall} {
		if !(v >= 0 && v <= 1) {
			return nil, fmt.Errorf("%s: an accuracy of %v; want a share between 0 and 1", path, v)
		}
	}
	return r, nil
}

func load(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: not a result of an evaluation: %w", path, err)
	}
	return nil
}

func save(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := atomicfile.Write(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
