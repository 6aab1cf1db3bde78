// Package sharedlib finds the project's shared libraries, which are loaded at
// run time so that the Go program links neither libtorch nor FAISS.
package sharedlib

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Find looks for a library at the path that the environment variable env gives,
// beside the executable, in its ../lib and ../build, and in build/ of the
// working folder and its parents (where tests run). An error that no library is
// there is an fs.ErrNotExist; the caller adds how to mend it.
func Find(name, env string) (string, error) {
	if path := os.Getenv(env); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("library named by %s: %w", env, err)
		}
		return path, nil
	}
	var candidates []string
	if exe, err := os.Executable(); err == nil {
		dir := filepath.Dir(exe)
		candidates = append(candidates, filepath.Join(dir, name),
			filepath.Join(dir, "..", "lib", name), filepath.Join(dir, "..", "build", name))
	}
	if dir, err := os.Getwd(); err == nil {
		for {
			candidates = append(candidates, filepath.Join(dir, "build", name))
			parent := filepath.Dir(dir)
			if parent == dir {
				break
			}
			dir = parent
		}
	}
	for _, path := range candidates {
		if _, err := os.Stat(path); err == nil {
			return filepath.Clean(path), nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	return "", fmt.Errorf("%s: %w", name, fs.ErrNotExist)
}
