// Package atomicfile writes files that are there whole or not at all, by renameio.
// What is being written lies beside its file, never in the system's folder for
// temporary files, where a killed process would leave it for good.
package atomicfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// stale is how long nothing is written to a file that a killed process left.
const stale = time.Hour

// Write puts data into a file, in place of what it held.
func Write(path string, data []byte, perm fs.FileMode) error {
	sweep(path)
	return renameio.WriteFile(path, data, perm, renameio.WithTempDir(filepath.Dir(path)))
}

// Create begins a file of mode 0644, which CloseAtomicallyReplace puts in its
// place; Cleanup, to be deferred, gives it up.
func Create(path string) (*renameio.PendingFile, error) {
	sweep(path)
	return renameio.NewPendingFile(path, renameio.WithPermissions(0o644), renameio.WithTempDir(filepath.Dir(path)))
}

// Clean removes what killed processes left in a folder and those in it, however
// new. Nobody else may write there meanwhile.
func Clean(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if unfinished(e.Name()) == "" {
			return nil
		}
		return os.Remove(path)
	})
}

// unfinished is the file that one of this name was to become, "" of others:
// ".name.ext" and digits is what renameio calls it.
func unfinished(name string) string {
	of := strings.TrimRight(name, "0123456789")
	if of == "" || of == name || of[0] != '.' || filepath.Ext(of[1:]) == "" {
		return ""
	}
	return of[1:]
}

// sweep removes what killed processes left of a file.
func sweep(path string) {
	dir, name := filepath.Split(path)
	entries, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return // writing will say so
	}
	for _, e := range entries {
		if unfinished(e.Name()) != name {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > stale {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
