package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/nlpodyssey/gopickle/types"
)

// legacyMagic begins the files of torch.save before PyTorch 1.6: the pickled
// number 0x1950a86a20f9469cfc6c.
const legacyMagic = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."

// readLegacy reads such a file: the pickles of the magic number, the format's
// version, the machine's properties, the object and the keys of the storages,
// and then the storages in the keys' order, each its number of elements in eight
// bytes, and the elements.
func readLegacy(file io.ReaderAt, size int64) (Tensors, error) {
	head := make([]byte, min(size, maxPickleBytes))
	if _, err := file.ReadAt(head, 0); err != nil {
		return nil, err
	}
	var parts [5]pickled
	at := 0
	for i := range parts {
		p, err := unpickle(head[at:])
		if err != nil {
			return nil, fmt.Errorf("part %d of the file: %w", i+1, err)
		}
		parts[i] = p
		at += p.length
	}
	magic, ok := parts[0].root.(*big.Int)
	if !ok || magic.Text(16) != "1950a86a20f9469cfc6c" || parts[1].root != 1001 {
		return nil, errors.New("no checkpoint of PyTorch that is known")
	}
	if get(parts[2].root, "little_endian") != true {
		return nil, errors.New("it was written on a big-endian machine; load and save it again on a little-endian one")
	}
	refs, err := weights(parts[3].root, nil)
	if err != nil {
		return nil, err
	}
	sections, err := legacySections(file, size, int64(at), parts[4].root, parts[3].storages)
	if err != nil {
		return nil, err
	}
	locate := func(s *storage) (section, error) {
		where, ok := sections[s.key]
		if !ok {
			return section{}, fmt.Errorf("its storage %.100s is missing; the file is damaged", s.key)
		}
		return where, nil
	}
	return readTensors(refs, newTensorReader(file, size, locate))
}

func legacySections(file io.ReaderAt, size, at int64, keys any, storages map[string]*storage) (map[string]section, error) {
	list, ok := keys.(*types.List)
	if !ok {
		return nil, errors.New("the list of storages is damaged")
	}
	sections := make(map[string]section, list.Len())
	for _, k := range *list {
		key, _ := k.(string)
		s := storages[key]
		if s == nil {
			return nil, fmt.Errorf("storage %.100q is of no tensor; the file is damaged", key)
		}
		if s.element.size == 0 {
			return nil, fmt.Errorf("storage %.100s: element type %.100s is not supported", key, s.element.name)
		}
		var count [8]byte
		if _, err := file.ReadAt(count[:], at); err != nil {
			return nil, fmt.Errorf("storage %.100s: %w; the file is cut off", key, err)
		}
		at += 8
		n := binary.LittleEndian.Uint64(count[:])
		if n > uint64(size-at)/uint64(s.element.size) {
			return nil, fmt.Errorf("storage %.100s goes beyond the end of the file, which is cut off or damaged", key)
		}
		where := section{at: at, size: int64(n) * int64(s.element.size)}
		sections[key] = where
		at += where.size
	}
	return sections, nil
}
