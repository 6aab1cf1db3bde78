package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"arf/config"
	"arf/report"

	"github.com/google/renameio/v2"
)

// stamp is the file that tells a finished step: what it was made from.
type stamp struct {
	Hash     string    `json:"hash"`
	Finished time.Time `json:"finished"`
}

const stampFile = ".done"

// done tells whether the step that leaves its result in dir was finished from
// the same inputs.
func done(dir, hash string) bool {
	data, err := os.ReadFile(filepath.Join(dir, stampFile))
	if err != nil {
		return false
	}
	var s stamp
	return json.Unmarshal(data, &s) == nil && s.Hash == hash
}

// wasDone tells whether a step was finished here from any inputs.
func wasDone(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, stampFile))
	return err == nil
}

// finished stamps dir.
func finished(dir, hash string) error {
	data, err := json.Marshal(stamp{Hash: hash, Finished: time.Now().UTC()})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := renameio.WriteFile(filepath.Join(dir, stampFile), data, 0o644); err != nil {
		return fmt.Errorf("stamp %s: %w", dir, err)
	}
	return nil
}

// restart makes dir ready for a step whose inputs changed: what an earlier one
// left is removed rather than mixed in. A step that was interrupted with these
// inputs goes on.
func restart(dir, hash string) error {
	const begun = ".begun"
	path := filepath.Join(dir, begun)
	if old, err := os.ReadFile(path); err == nil && string(old) == hash {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return renameio.WriteFile(path, []byte(hash), 0o644)
}

func hash(parts ...any) string { return config.Hash(parts) }

func fileHash(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

func readInfo(dir string) (report.Info, error) {
	var info report.Info
	data, err := os.ReadFile(filepath.Join(dir, "run.json"))
	if err != nil {
		return info, err
	}
	return info, json.Unmarshal(data, &info)
}
