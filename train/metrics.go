package train

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"arf/internal/atomicfile"
)

// Metrics is one line of metrics.jsonl: what one step did.
type Metrics struct {
	Step             int                `json:"step"` // from 1
	Epoch            float64            `json:"epoch"`
	Loss             float64            `json:"loss"`
	Terms            map[string]float64 `json:"-"` // written as loss_<name>
	Measured         map[string]float64 `json:"-"` // written under their own names
	LR               float64            `json:"lr"`
	LogitScale       float64            `json:"logit_scale"` // the factor, not its logarithm
	GradNorm         float64            `json:"grad_norm"`   // before clipping
	SamplesPerSecond float64            `json:"samples_per_second"`
	PeakMemoryBytes  int64              `json:"peak_memory_bytes"`
	Skipped          bool               `json:"skipped,omitempty"` // gradient not finite, weights left alone
	Cause            string             `json:"cause,omitempty"`   // what wasn't finite: a loss_<term>, or a parameter's gradient
	Time             time.Time          `json:"time"`
}

// MarshalJSON writes terms and measurements beside the other fields.
func (m Metrics) MarshalJSON() ([]byte, error) {
	type plain Metrics
	data, err := json.Marshal(plain(m))
	if err != nil || len(m.Terms)+len(m.Measured) == 0 {
		return data, err
	}
	fields := map[string]any{}
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, err
	}
	for name, value := range m.Terms {
		fields["loss_"+name] = value
	}
	for name, value := range m.Measured {
		fields[name] = value
	}
	return json.Marshal(fields)
}

// openMetrics opens a run's metrics.jsonl to append after step, dropping the
// lines of later steps that a killed run left beyond its last checkpoint.
func openMetrics(path string, step int) (*os.File, error) {
	var kept []byte
	if file, err := os.Open(path); err == nil {
		kept, err = linesUpTo(file, step)
		file.Close()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
	} else if !os.IsNotExist(err) {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	if err := atomicfile.Write(path, kept, 0o644); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o644)
}

// linesUpTo gives the lines of steps up to step; what isn't a line is left out.
func linesUpTo(log io.Reader, step int) (kept []byte, err error) {
	for data, err := range lines(log) {
		if err != nil {
			return nil, err
		}
		var line struct {
			Step int `json:"step"`
		}
		if json.Unmarshal(data, &line) == nil && line.Step > 0 && line.Step <= step {
			kept = append(append(kept, data...), '\n')
		}
	}
	return kept, nil
}
