package train

import (
	"encoding/json"
	"os"
	"path/filepath"

	"arf/checkpoint"
	"arf/torch"
)

// BatchSaver is a Task that can write down the batch of its last step. It's
// asked to when that step's gradient ends the run.
type BatchSaver interface {
	// SaveBatch writes files into dir, which is there; SavedBatch does.
	SaveBatch(dir string) error
}

// SavedBatch is batch.json: what a step's rows are, in the order of their pixels.
type SavedBatch struct {
	Step    int         `json:"step"` // from 1
	Samples []SavedItem `json:"samples"`
	Pairs   []SavedItem `json:"pairs,omitempty"` // of the pool
}

// SavedItem is one of a batch's images.
type SavedItem struct {
	Key    string   `json:"key"`
	Number int      `json:"number"` // in its dataset, from 0
	Label  *int64   `json:"label,omitempty"`
	Texts  []string `json:"texts,omitempty"` // that the step compared it with
}

// Write writes batch.json, and the images as they went into the tower:
// batch.safetensors with pixels, uint8 [samples and pairs, size, size, 3].
func (b SavedBatch) Write(dir string, pixels []uint8, size int) error {
	data, err := json.MarshalIndent(b, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "batch.json"), data, 0o644); err != nil {
		return err
	}
	images := checkpoint.Tensor{DType: torch.Uint8, Shape: []int{len(b.Samples) + len(b.Pairs), size, size, 3}, Data: pixels}
	return checkpoint.WriteSafetensors(filepath.Join(dir, "batch.safetensors"), checkpoint.Tensors{"pixels": images}, nil)
}
