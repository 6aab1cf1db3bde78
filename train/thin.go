package train

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"arf/internal/atomicfile"
)

// ThinMetrics copies every every-th step, those with a held-out measurement and
// the last one of a run's metrics.jsonl to the file to, the log that goes with
// a shipped model.
func ThinMetrics(from, to string, every int) error {
	file, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("training log: %w", err)
	}
	defer file.Close()
	var kept, last []byte
	for data, err := range lines(file) {
		if err != nil {
			return fmt.Errorf("training log: read %s: %w", from, err)
		}
		var line struct {
			Step int `json:"step"`
		}
		if json.Unmarshal(data, &line) != nil {
			continue
		}
		last = nil
		if line.Step%every == 0 || bytes.Contains(data, []byte(`"held_out`)) {
			kept = append(append(kept, data...), '\n')
		} else {
			last = append(last, data...)
		}
	}
	if last != nil {
		kept = append(append(kept, last...), '\n')
	}
	return atomicfile.Write(to, kept, 0o644)
}
