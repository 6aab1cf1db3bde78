package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"arf/internal/atomicfile"
	"arf/torch"

	"github.com/sbinet/npyio/npy"
)

// matrix is a two-dimensional .npy file, read where and when it's needed.
type matrix struct {
	path      string
	rows, dim int
	dtype     torch.DType
	offset    int64 // of the first element
}

// openMatrix reads a file's header and checks it against the file's size.
func openMatrix(path string) (*matrix, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	m, err := readHeader(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("%s: %w; embed again", path, err)
	}
	m.path = path
	return m, nil
}

var npyTypes = map[string]torch.DType{"<f2": torch.Float16, "<f4": torch.Float32}

// readHeader reads the head of a .npy file of the given size.
func readHeader(r io.Reader, size int64) (m *matrix, err error) {
	// Magic, version, and the length of the header in 2 or 4 bytes.
	head := make([]byte, 12)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, errors.New("not a .npy file: it ends within its header")
	}
	length, start := int64(binary.LittleEndian.Uint16(head[8:])), int64(10)
	if head[6] >= 2 {
		length, start = int64(binary.LittleEndian.Uint32(head[8:])), 12
	}
	// A header for two dimensions is about 128 bytes; bound what is allocated.
	if !bytes.HasPrefix(head, npy.Magic[:]) || length > 1<<16 || start+length < 12 || start+length > size {
		return nil, errors.New("not a .npy file")
	}
	rest := make([]byte, start+length-12)
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, errors.New("not a .npy file: it ends within its header")
	}
	header, err := parseHeader(append(head, rest...))
	if err != nil {
		return nil, err
	}
	d := header.Descr
	dtype, ok := npyTypes[d.Type]
	switch {
	case !ok:
		return nil, fmt.Errorf("elements of type %q; want float16 or float32, little-endian", d.Type)
	case d.Fortran || len(d.Shape) != 2:
		return nil, fmt.Errorf("shape %v (Fortran order: %v); want rows × columns in C order", d.Shape, d.Fortran)
	}
	m = &matrix{rows: d.Shape[0], dim: d.Shape[1], dtype: dtype, offset: start + length}
	if m.rows < 0 || m.dim < 1 || m.rows > math.MaxInt32 || m.dim > 1<<20 {
		return nil, fmt.Errorf("shape %v isn't possible", d.Shape)
	}
	if want := m.offset + int64(m.rows)*int64(m.dim)*int64(dtype.Size()); size != want {
		return nil, fmt.Errorf("%d bytes, but %d×%d elements of type %q need %d", size, m.rows, m.dim, d.Type, want)
	}
	return m, nil
}

// parseHeader has npyio read the dictionary, which panics on some broken ones.
func parseHeader(head []byte) (h npy.Header, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("broken .npy header")
		}
	}()
	if !bytes.Contains(head, []byte("\n")) {
		return h, errors.New("broken .npy header")
	}
	r, err := npy.NewReader(bytes.NewReader(head))
	if err != nil {
		return h, fmt.Errorf("broken .npy header: %w", err)
	}
	return r.Header, nil
}

func (m *matrix) Len() int { return m.rows }
func (m *matrix) Dim() int { return m.dim }

func (m *matrix) Read(dst []float32, from int) (err error) {
	defer torch.Catch(&err)
	if from < 0 || from*m.dim+len(dst) > m.rows*m.dim {
		return fmt.Errorf("%s: read %d numbers from row %d of %d", m.path, len(dst), from, m.rows)
	}
	f, err := os.Open(m.path)
	if err != nil {
		return err
	}
	defer f.Close()
	size := m.dtype.Size()
	data := make([]byte, len(dst)*size)
	if _, err := f.ReadAt(data, m.offset+int64(from)*int64(m.dim)*int64(size)); err != nil {
		return fmt.Errorf("read %s at row %d: %w", m.path, from, err)
	}
	torch.Scope(func() {
		copy(dst, torch.To[float32](torch.FromBytes(torch.CPU, data, m.dtype, len(dst)).Cast(torch.Float32)))
	})
	return nil
}

// writeMatrix writes rows as float16, atomically. npyio knows no float16, so
// the header (NumPy's format 1.0, aligned to 64 bytes) is made here.
func writeMatrix(path string, data []float32, dim int) (err error) {
	defer torch.Catch(&err)
	header := fmt.Sprintf("{'descr': '<f2', 'fortran_order': False, 'shape': (%d, %d), }", len(data)/dim, dim)
	const start = 10
	header += string(bytes.Repeat([]byte{' '}, 63-(start+len(header))%64)) + "\n"
	out := slices.Concat(npy.Magic[:], []byte{1, 0}, binary.LittleEndian.AppendUint16(nil, uint16(len(header))), []byte(header))
	torch.Scope(func() {
		out = append(out, torch.From(torch.CPU, data, len(data)).Cast(torch.Float16).Bytes()...)
	})
	if err := atomicfile.Write(path, out, 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
