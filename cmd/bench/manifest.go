package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"arf/internal/atomicfile"
)

// manifest is the data of a row, the same for both sides: ours takes the texts,
// the peer their token ids.
type manifest struct {
	Source    string          `json:"source"` // hash of what it was made from
	Classes   []string        `json:"classes"`
	Template  string          `json:"template"`
	PromptIDs [][]int32       `json:"prompt_ids"` // by class
	EOS       int32           `json:"eos"`
	Images    []manifestImage `json:"images"`
	Pool      []manifestPair  `json:"pool,omitempty"`
}

type manifestImage struct {
	Path       string    `json:"path"`
	Label      int       `json:"label"`
	Captions   []string  `json:"captions,omitempty"`
	CaptionIDs [][]int32 `json:"caption_ids,omitempty"`
	Pairs      []int     `json:"pairs,omitempty"` // numbers in the pool
}

type manifestPair struct {
	Path    string  `json:"path"`
	Text    string  `json:"text"`
	TextIDs []int32 `json:"text_ids"`
}

func readManifest(path string) (*manifest, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%s: %w; delete it, and it's made again", path, err)
	}
	return &m, nil
}

func (d *manifest) write(path string) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, text, 0o644)
}

// fresh tells whether the manifest at path was made from that source.
func fresh(path, source string) (bool, error) {
	m, err := readManifest(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil && m.Source == source, err
}
