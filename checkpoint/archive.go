package checkpoint

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	zipMagic     = "PK\x03\x04"
	maxCodeBytes = 64 << 20 // of a TorchScript archive, unpacked
)

// archive is a zip file as torch.save (since PyTorch 1.6) and torch.jit.save
// write it: one folder with data.pkl, data/<storage>, and more.
type archive struct {
	file    io.ReaderAt
	size    int64
	folder  string // with its slash
	entries map[string]*zip.File
}

func readArchive(file io.ReaderAt, size int64) (Tensors, error) {
	a, err := openArchive(file, size)
	if err != nil {
		return nil, err
	}
	return a.tensors()
}

func openArchive(file io.ReaderAt, size int64) (*archive, error) {
	z, err := zip.NewReader(file, size)
	if err != nil {
		return nil, fmt.Errorf("a zip file that is damaged or cut off: %w", err)
	}
	a := &archive{file: file, size: size, entries: make(map[string]*zip.File, len(z.File))}
	for _, f := range z.File {
		if a.entries[f.Name] != nil {
			return nil, fmt.Errorf("entry %.100q is there twice; the file is damaged", f.Name)
		}
		a.entries[f.Name] = f
		if folder, ok := strings.CutSuffix(f.Name, "data.pkl"); ok && strings.Count(folder, "/") == 1 && strings.HasSuffix(folder, "/") {
			if a.folder != "" {
				return nil, errors.New("two data.pkl in it; the file is damaged")
			}
			a.folder = folder
		}
	}
	if a.folder == "" {
		return nil, errors.New("a zip file without a data.pkl; no checkpoint of PyTorch")
	}
	return a, nil
}

func (a *archive) tensors() (Tensors, error) {
	if order, err := a.read("byteorder", 16); err == nil && string(order) != "little" {
		return nil, fmt.Errorf("its byte order is %.16q; load and save it again on a little-endian machine", order)
	}
	data, err := a.read("data.pkl", maxPickleBytes)
	if err != nil {
		return nil, err
	}
	p, err := unpickle(data)
	if err != nil {
		return nil, fmt.Errorf("data.pkl: %w", err)
	}
	declared, err := a.declared()
	if err != nil {
		return nil, err
	}
	refs, err := weights(p.root, declared)
	if err != nil {
		return nil, err
	}
	return readTensors(refs, newTensorReader(a.file, a.size, a.locate))
}

// read gives a whole entry of at most limit bytes.
func (a *archive) read(name string, limit int64) ([]byte, error) {
	f := a.entries[a.folder+name]
	if f == nil {
		return nil, fmt.Errorf("there is no %s in it; the file is damaged", name)
	}
	if f.UncompressedSize64 > uint64(limit) {
		return nil, fmt.Errorf("%s has %d bytes; at most %d are read", name, f.UncompressedSize64, limit)
	}
	if f.Method == zip.Store {
		// Its checksum isn't asked for: PyTorch can leave it out.
		where, err := a.section(f)
		if err != nil {
			return nil, err
		}
		data := make([]byte, where.size)
		_, err = a.file.ReadAt(data, where.at)
		return data, err
	}
	content, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	defer content.Close()
	data, err := io.ReadAll(io.LimitReader(content, limit+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s unpacks to over %d bytes", name, limit)
	}
	return data, nil
}

// section is where an entry's bytes are, which have to be within the file and
// not compressed.
func (a *archive) section(f *zip.File) (section, error) {
	if f.Method != zip.Store {
		return section{}, fmt.Errorf("entry %.100q is compressed, which PyTorch doesn't do; load and save the file again with PyTorch 1.6 or later", f.Name)
	}
	at, err := f.DataOffset()
	if err != nil {
		return section{}, fmt.Errorf("entry %.100q: %w", f.Name, err)
	}
	if f.CompressedSize64 != f.UncompressedSize64 || at < 0 || at > a.size || f.UncompressedSize64 > uint64(a.size-at) {
		return section{}, fmt.Errorf("entry %.100q goes beyond the end of the file, which is cut off or damaged", f.Name)
	}
	return section{at: at, size: int64(f.UncompressedSize64)}, nil
}

func (a *archive) locate(s *storage) (section, error) {
	f := a.entries[a.folder+"data/"+s.key]
	if f == nil {
		return section{}, fmt.Errorf("its storage data/%.100s is missing; the file is damaged", s.key)
	}
	return a.section(f)
}
