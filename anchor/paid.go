package anchor

import (
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// asidePath is where captions of other settings are kept: captions-1a2b3c4d.jsonl.
func asidePath(path, hash string) string {
	ext := filepath.Ext(path)
	return strings.TrimSuffix(path, ext) + "-" + hash[:min(len(hash), 8)] + ext
}

// setAside puts captions of other settings out of the way: those that an endpoint
// was paid for beside the file, others can be made again. The summary goes first,
// so that an interruption leaves no file without one.
func (w *captionWriter) setAside(old CaptionSummary) error {
	paid := old.Usage.Requests > 0
	if err := readCaptions(w.path, func(r CaptionRecord) { paid = paid || r.Usage.Requests > 0 }); err != nil { // of a killed run
		return err
	}
	if !paid {
		return os.Remove(w.path)
	}
	aside := asidePath(w.path, old.Hash)
	if err := writeSummary(beside(aside), old); err != nil {
		return err
	}
	if err := os.Rename(w.path, aside); err != nil {
		return err
	}
	cmp.Or(w.o.Log, slog.Default()).Warn("settings or data changed, so captions are asked for anew; those that were paid for are kept, and used again with their settings", "file", aside)
	return nil
}

// takeBack finds captions of these settings that were set aside; nil if there are none.
func (w *captionWriter) takeBack(hash string) (*CaptionSummary, error) {
	aside := asidePath(w.path, hash)
	if _, err := os.Stat(aside); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var s CaptionSummary
	if found, err := readSummary(beside(aside), &s); err != nil || !found || s.Hash != hash {
		return nil, err
	}
	if err := writeSummary(beside(w.path), s); err != nil {
		return nil, err
	}
	if err := os.Rename(aside, w.path); err != nil {
		return nil, err
	}
	return &s, os.Remove(beside(aside))
}
