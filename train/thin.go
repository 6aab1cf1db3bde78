package train

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"

	"github.com/google/renameio/v2"
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
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		var line struct {
			Step int `json:"step"`
		}
		if json.Unmarshal(scanner.Bytes(), &line) != nil {
			continue
		}
		last = nil
		if line.Step%every == 0 || bytes.Contains(scanner.Bytes(), []byte(`"held_out`)) {
			kept = append(append(kept, scanner.Bytes()...), '\n')
		} else {
			last = append(last, scanner.Bytes()...)
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("training log: read %s: %w", from, err)
	}
	if last != nil {
		kept = append(append(kept, last...), '\n')
	}
	return renameio.WriteFile(to, kept, 0o644)
}
