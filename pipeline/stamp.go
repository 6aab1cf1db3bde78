package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"arf/config"
	"arf/internal/atomicfile"
	"arf/report"
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
	if err := atomicfile.Write(filepath.Join(dir, stampFile), data, 0o644); err != nil {
		return fmt.Errorf("stamp %s: %w", dir, err)
	}
	return nil
}

// begunFile has the hash of what a step in its folder is made from.
const begunFile = ".begun"

func begunFrom(dir string) string {
	old, _ := os.ReadFile(filepath.Join(dir, begunFile))
	return string(old)
}

// restart makes dir ready for a step whose inputs changed: what an earlier one
// left is removed rather than mixed in. A step that was interrupted with these
// inputs goes on.
func restart(dir, hash string, in inputs) error {
	if begunFrom(dir) == hash {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := in.save(dir); err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, begunFile), []byte(hash), 0o644)
}

// setAside moves what was begun in dir from other inputs out of the way, into
// before-<dir>-<hash> beside it, and brings back what was begun from these and
// set aside before. aside is where it went, "" if nowhere. The last one of dir
// is kept. Each move is one rename, so that a killed program loses nothing.
func setAside(dir, hash string) (aside string, err error) {
	of := func(hash string) string {
		const digits = 12
		return filepath.Join(filepath.Dir(dir), "before-"+filepath.Base(dir)+"-"+hash[:min(digits, len(hash))])
	}
	kept, err := fs.Glob(os.DirFS(filepath.Dir(dir)), filepath.Base(of("*")))
	if err != nil {
		return "", err
	}
	old := begunFrom(dir)
	if old == hash {
		return "", nil
	}
	if worthKeeping(dir) {
		aside = of(old)
		if err := os.RemoveAll(aside); err != nil {
			return "", err
		}
		if err := os.Rename(dir, aside); err != nil {
			return "", err
		}
	}
	if begunFrom(of(hash)) == hash {
		if err := os.RemoveAll(dir); err != nil {
			return aside, err
		}
		if err := os.Rename(of(hash), dir); err != nil {
			return aside, err
		}
	}
	for _, k := range kept {
		if k = filepath.Join(filepath.Dir(dir), k); k != aside && aside != "" {
			if err := os.RemoveAll(k); err != nil {
				return aside, err
			}
		}
	}
	return aside, nil
}

// worthKeeping tells whether a training has come to a checkpoint or its end.
func worthKeeping(dir string) bool {
	checkpoints, _ := fs.Glob(os.DirFS(dir), "checkpoints/step-*")
	return begunFrom(dir) != "" && (wasDone(dir) || len(checkpoints) > 0)
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
