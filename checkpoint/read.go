package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// Read reads the tensors of one model and the file's metadata (nil where the
// format has none). What the file is, its content tells:
//   - safetensors;
//   - an index of shards, *.index.json, with the shards beside it.
//
// Tensors may share memory, so their Data is not to be written to. Errors name
// the file, and the tensor where one is at fault.
func Read(path string) (Tensors, map[string]string, error) {
	if strings.HasSuffix(path, indexSuffix) {
		return readShards(path)
	}
	return readFile(path)
}

func readFile(path string) (Tensors, map[string]string, error) {
	head, err := readHead(path)
	if err != nil {
		return nil, nil, err
	}
	if err := foreign(head); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return ReadSafetensors(path)
}

// readHead gives the first bytes of a file, fewer if it is shorter.
func readHead(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	head := make([]byte, 64)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return head[:n], nil
}

// foreign knows what people give by mistake.
func foreign(head []byte) error {
	switch {
	case len(head) == 0:
		return errors.New("the file is empty")
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return errors.New("this is a Git LFS pointer, not the weights; run `git lfs pull` in its folder")
	case bytes.HasPrefix(head, []byte("<")):
		return errors.New("this is a web page, not weights; download the file itself")
	}
	return nil
}
