package pretrain

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"

	"arf/clip"
	"arf/corpus"
	"arf/internal/atomicfile"
	"arf/torch"
	"arf/train"
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
// the run folder dir, thinned to every 20th step and the last.
func Export(dir string, m *clip.Model, t Training) error {
	out := filepath.Join(dir, "model")
	for _, p := range m.Trainable() {
		t.Parameters += torch.Elements(p.Tensor.Shape())
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
	if err := train.ThinMetrics(filepath.Join(dir, "metrics.jsonl"), filepath.Join(out, "training-log.jsonl"), logEvery); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(out, "training.json"), append(record, '\n'), 0o644)
}

// corpusInfo picks from the corpus's manifest what identifies the pairs; nil for
// other data.
func corpusInfo(data string) (json.RawMessage, error) {
	manifest, err := corpus.LoadManifest(filepath.Dir(data))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"package": manifest.Package, "version": manifest.Version, "inputs_sha256": manifest.Inputs,
		"pairs": manifest.Parts[filepath.Base(data)],
	})
}
