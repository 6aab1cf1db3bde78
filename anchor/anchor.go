// Package anchor makes the two sources of rich text that regularise finetuning
// (ARF §3): captions of the finetune images (text-compensated anchors), and
// image-text pairs that the finetune images retrieve from a pool (ITA).
//
//	summary, err := anchor.Caption(ctx, "anchors/captions.jsonl", finetune, captioner, model, anchor.CaptionOptions{…})
//	pool, err := index.Embed(ctx, "features/pool", data, anchor.Encoder{Model: model}, index.EmbedOptions{Texts: true})
//	summary, err := anchor.Retrieve(ctx, "anchors/pairs.parquet", anchor.PairInput{Pool: pool, Finetune: …}, anchor.PairOptions{})
//
// Beside each file lies a summary of the same name in JSON, with a hash of what
// the file was made from: what is there is not made again.
package anchor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"arf/internal/atomicfile"
)

// beside gives the summary's path, pairs.json for pairs.parquet.
func beside(path string) string { return strings.TrimSuffix(path, filepath.Ext(path)) + ".json" }

// readSummary reads a summary; false if there is none.
func readSummary(path string, v any) (bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w; remove it to begin anew", path, err)
	}
	return true, nil
}

func writeSummary(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		err = atomicfile.Write(path, append(data, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
