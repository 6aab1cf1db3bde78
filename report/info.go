package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"arf/internal/atomicfile"
)

// Info is run.json: what was run, with what, on what data. The pipeline writes
// it; every field may be left out.
type Info struct {
	Version string `json:"arf_version,omitempty"`
	Engine  string `json:"engine,omitempty"` // for example "libtorch 1.13.0"
	Device  string `json:"device,omitempty"` // for example "cpu" or "cuda:0 (NVIDIA H100)"
	Threads int    `json:"threads,omitempty"`
	// Precision of the towers, in training and evaluation: "bfloat16" or "float32".
	Precision string     `json:"precision,omitempty"`
	Command   string     `json:"command,omitempty"`
	Started   time.Time  `json:"started,omitzero"`
	Finished  time.Time  `json:"finished,omitzero"` // zero while the run goes on
	Model     ModelInfo  `json:"model,omitzero"`
	Source    string     `json:"data_source,omitempty"` // for example "@iconify/json 2.2.535"
	Data      []DataInfo `json:"data,omitempty"`
	// FinetuneSeconds is the wall time of finetuning one seed, by method.
	FinetuneSeconds map[string]float64 `json:"finetune_seconds,omitempty"`
}

// ModelInfo names the pretrained model.
type ModelInfo struct {
	Name       string `json:"name,omitempty"`
	SHA256     string `json:"sha256,omitempty"`
	Parameters int64  `json:"parameters,omitempty"`
}

// DataInfo is one part of the data: finetune, pool, a test set.
type DataInfo struct {
	Role    string `json:"role"`
	Path    string `json:"path,omitempty"`
	Images  int    `json:"images"`
	Classes int    `json:"classes,omitempty"`
	SHA256  string `json:"sha256,omitempty"` // of the content
}

// WriteInfo writes run.json into the run folder, atomically.
func WriteInfo(runDir string, info Info) error {
	data, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return fmt.Errorf("report: encode run.json: %w", err)
	}
	path := filepath.Join(runDir, "run.json")
	return writeFile(path, append(data, '\n'))
}

// writeFile replaces path in one step, so that a reader never meets half a file.
func writeFile(path string, data []byte) error {
	if err := atomicfile.Write(path, data, 0o644); err != nil {
		return fmt.Errorf("report: write %s: %w", path, err)
	}
	return nil
}

// encode is JSON with indentation and without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(v)
	return b.Bytes(), err
}
