package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// Read reads the tensors of one model and the file's metadata (nil where the
// format has none). What the file is, its content tells:
//   - safetensors;
//   - what torch.save writes: a state dict, a training checkpoint with one under
//     state_dict or model, or a whole module. Nothing in it is run, and its other
//     content, such as the optimizer's state, isn't read;
//   - what torch.jit.save writes (OpenAI's CLIP): parameters and buffers by their
//     paths, such as visual.conv1.weight;
//   - an index of shards, *.index.json, with the shards beside it.
//
// If all names begin with DistributedDataParallel's "module." or torch.compile's
// "_orig_mod.", it is taken off. Tensors may share memory, so their Data is not
// to be written to. Errors name the file, and the tensor where one is at fault.
func Read(path string) (Tensors, map[string]string, error) {
	read := readFile
	if IsIndex(path) {
		read = readShards
	}
	tensors, metadata, err := read(path)
	return stripPrefixes(tensors), metadata, err
}

func readFile(path string) (Tensors, map[string]string, error) {
	head, err := readHead(path)
	if err != nil {
		return nil, nil, err
	}
	var read func(io.ReaderAt, int64) (Tensors, error)
	switch {
	case bytes.HasPrefix(head, []byte(zipMagic)):
		read = readArchive
	case bytes.HasPrefix(head, []byte(legacyMagic)):
		read = readLegacy
	default:
		if err := foreign(head); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", path, err)
		}
		return ReadSafetensors(path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	tensors, err := read(file, info.Size())
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return tensors, nil, nil
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
	// A safetensors file begins with the length of its header, which may look
	// like anything; under 4 GB, four zeros and the header's brace follow.
	if len(head) > 8 && bytes.Equal(head[4:9], []byte("\x00\x00\x00\x00{")) {
		return nil
	}
	switch {
	case len(head) == 0:
		return errors.New("the file is empty")
	case bytes.HasPrefix(head, []byte("version https://git-lfs")):
		return errors.New("this is a Git LFS pointer, not the weights; run `git lfs pull` in its folder")
	case bytes.HasPrefix(head, []byte("\x80")):
		return errors.New("this is a pickle, but no checkpoint of PyTorch; save the weights with torch.save")
	case bytes.HasPrefix(head, []byte("<")):
		return errors.New("this is a web page, not weights; download the file itself")
	}
	return nil
}
