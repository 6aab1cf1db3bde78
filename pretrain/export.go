package pretrain

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"arf/clip"
	"arf/torch"

	"github.com/google/renameio/v2"
)

// Training is training.json beside an exported model: what it was made of and
// how it came out.
type Training struct {
	Command string `json:"command"`
	Config  Config `json:"config"`
	Pairs   int    `json:"pairs"`
	// Corpus is what manifest.json beside the data says of it: package version
	// and hash of the pairs; empty for other data.
	Corpus     json.RawMessage `json:"corpus,omitempty"`
	Parameters int             `json:"parameters"`
	Engine     string          `json:"libtorch"`
	Precision  string          `json:"precision"`
	HeldOut    HeldOut         `json:"held_out"`
}

// logEvery thins metrics.jsonl to the lines that go with a model.
const logEvery = 20

// Export writes m as float16 into dir/model, with training.json and the log of
// the run folder dir, thinned to every 20th step.
func Export(dir string, m *clip.Model, t Training) error {
	out := filepath.Join(dir, "model")
	for _, p := range m.Trainable() {
		n := 1
		for _, size := range p.Tensor.Shape() {
			n *= size
		}
		t.Parameters += n
	}
	t.Engine = torch.Version()
	var err error
	if t.Corpus, err = corpusInfo(t.Config.Data.Path); err != nil {
		return err
	}
	record, err := json.MarshalIndent(t, "", "  ")
	if err != nil {
		return err
	}
	if err := m.Save(out, torch.Float16, nil); err != nil {
		return err
	}
	if err := thinLog(filepath.Join(dir, "metrics.jsonl"), filepath.Join(out, "training-log.jsonl")); err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(out, "training.json"), append(record, '\n'), 0o644)
}

// corpusInfo picks from the corpus's manifest what identifies the pairs.
func corpusInfo(data string) (json.RawMessage, error) {
	path := filepath.Join(filepath.Dir(data), "manifest.json")
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var manifest struct {
		Package string                     `json:"package"`
		Version string                     `json:"version"`
		Inputs  string                     `json:"inputs"`
		Parts   map[string]json.RawMessage `json:"parts"`
	}
	if err := json.Unmarshal(content, &manifest); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return json.Marshal(map[string]any{
		"package": manifest.Package, "version": manifest.Version, "inputs_sha256": manifest.Inputs,
		"pairs": manifest.Parts[filepath.Base(data)],
	})
}

func thinLog(from, to string) error {
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close()
	var kept []byte
	scanner := bufio.NewScanner(file)
	for scanner.Scan() {
		var line struct {
			Step int `json:"step"`
		}
		if json.Unmarshal(scanner.Bytes(), &line) == nil && line.Step%logEvery == 0 {
			kept = append(append(kept, scanner.Bytes()...), '\n')
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	return renameio.WriteFile(to, kept, 0o644)
}
