package parquetfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxFooter bounds a file's metadata; that of a million images in groups of 100
// is about 3 MB.
const maxFooter = 64 << 20

var errFooter = errors.New("broken Parquet: its metadata contradicts itself")

// checkFooter walks the metadata at a file's end (Thrift's compact protocol)
// before the library does, which makes lists as long as a damaged file says.
func checkFooter(r io.ReaderAt, size int64) error {
	if size < 12 {
		return errors.New("not a Parquet file: it is too short")
	}
	var tail [8]byte
	if _, err := r.ReadAt(tail[:], size-8); err != nil {
		return err
	}
	if string(tail[4:]) != "PAR1" {
		return errors.New("not a whole Parquet file: it doesn't end with PAR1")
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > size-12 || n > maxFooter {
		return fmt.Errorf("broken Parquet: metadata of %d bytes in a file of %d", n, size)
	}
	footer := make([]byte, n)
	if _, err := r.ReadAt(footer, size-8-n); err != nil {
		return err
	}
	w := walker{rest: footer, footer: true}
	return w.structure(0)
}

// Types of the compact protocol.
const (
	thriftStop = iota
	thriftTrue
	thriftFalse
	thriftI8
	thriftI16
	thriftI32
	thriftI64
	thriftDouble
	thriftBinary
	thriftList
	thriftSet
	thriftMap
	thriftStruct
)

// walker skips values and checks that announced lengths can be true.
type walker struct {
	rest   []byte
	footer bool // it's of a file's metadata

	columns, groups uint64 // of the schema and of rows
}

func (w *walker) skip(n uint64) error {
	if n > uint64(len(w.rest)) {
		return errFooter
	}
	w.rest = w.rest[n:]
	return nil
}

func (w *walker) byte() (byte, error) {
	if len(w.rest) == 0 {
		return 0, errFooter
	}
	b := w.rest[0]
	w.rest = w.rest[1:]
	return b, nil
}

func (w *walker) varint() (uint64, error) {
	v, n := binary.Uvarint(w.rest)
	if n <= 0 {
		return 0, errFooter
	}
	w.rest = w.rest[n:]
	return v, nil
}

func (w *walker) structure(depth int) error {
	if depth > 32 {
		return errFooter
	}
	field := int16(0)
	for {
		head, err := w.byte()
		if err != nil {
			return err
		}
		if head == thriftStop {
			return nil
		}
		field += int16(head >> 4)
		if head>>4 == 0 { // the field's number follows, in zigzag
			number, err := w.varint()
			if err != nil {
				return err
			}
			field = int16(int64(number>>1) ^ -int64(number&1))
		}
		kind := head & 15
		if kind == thriftTrue || kind == thriftFalse {
			continue
		}
		if err := w.value(kind, depth, field); err != nil {
			return err
		}
	}
}

func (w *walker) value(kind byte, depth int, field int16) error {
	switch kind {
	case thriftTrue, thriftFalse, thriftI8:
		return w.skip(1)
	case thriftI16, thriftI32, thriftI64:
		_, err := w.varint()
		return err
	case thriftDouble:
		return w.skip(8)
	case thriftBinary:
		n, err := w.varint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case thriftStruct:
		return w.structure(depth + 1)
	case thriftList, thriftSet:
		return w.list(depth+1, field)
	}
	return errFooter // Parquet's metadata has no maps
}

func (w *walker) list(depth int, field int16) error {
	head, err := w.byte()
	if err != nil {
		return err
	}
	n := uint64(head >> 4)
	if n == 15 {
		if n, err = w.varint(); err != nil {
			return err
		}
	}
	kind := head & 15
	least := uint64(1)
	if kind == thriftStruct {
		least = 3 // ColumnOrder's; other structures are longer
		if w.footer {
			if least, err = w.metadata(n, depth, field); err != nil {
				return err
			}
		}
	}
	if depth > 32 || n > uint64(len(w.rest))/least {
		return errFooter
	}
	for range n {
		if err := w.value(kind, depth, 0); err != nil {
			return err
		}
	}
	return nil
}

// metadata gives the least length of a list's structures, which take up to 560
// bytes in memory each, and bounds what the library multiplies.
func (w *walker) metadata(n uint64, depth int, field int16) (least uint64, err error) {
	const (
		schema, groups = 2, 4 // fields of FileMetaData
		columns        = 1    // of RowGroup
		maxChunks      = 32 << 20
	)
	switch {
	case depth == 1 && field == schema:
		w.columns += n
		least = 6
	case depth == 1 && field == groups:
		w.groups += n
		least = 8
	case depth == 3 && field == columns:
		least = 20
	default:
		least = 3
	}
	if w.columns > maxColumns {
		return 0, fmt.Errorf("it has %d columns, more than the %d that are read; write it with fewer", w.columns, maxColumns)
	}
	if w.columns*w.groups > maxChunks {
		return 0, fmt.Errorf("it has %d columns in %d row groups, more than are read; write it with larger row groups", w.columns, w.groups)
	}
	return least, nil
}
