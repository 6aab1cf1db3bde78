package checkpoint

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// HashFiles identifies a model's folder: the SHA-256, in hex, over the names
// and the contents of those of the files that are there. It's an error if none is.
func HashFiles(dir string, names ...string) (string, error) {
	sum := sha256.New()
	found := false
	for _, name := range names {
		err := hashFile(sum, filepath.Join(dir, name), name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("model %s: %w", dir, err)
		}
		found = true
	}
	if !found {
		return "", fmt.Errorf("model %s: no model files in it", dir)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func hashFile(sum io.Writer, path, name string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(sum, "%s %d\n", name, info.Size())
	_, err = io.Copy(sum, file)
	return err
}
