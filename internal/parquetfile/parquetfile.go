// Package parquetfile reads and writes Parquet files of one kind of row, whole
// or not at all. Errors name the file.
package parquetfile

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"reflect"
	"strings"

	"arf/internal/atomicfile"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// Write writes rows atomically.
func Write[T any](path string, rows []T) error {
	return write(path, func(f io.Writer) error {
		w := parquet.NewGenericWriter[T](f, parquet.Compression(&parquet.Zstd))
		if _, err := w.Write(rows); err != nil {
			return err
		}
		return w.Close()
	})
}

// WriteOf writes rows, pointers to structs of a type made at run time,
// atomically.
func WriteOf(path string, row reflect.Type, rows iter.Seq[any]) error {
	return write(path, func(f io.Writer) error {
		w := parquet.NewWriter(f, parquet.SchemaOf(reflect.New(row).Interface()), parquet.Compression(&parquet.Zstd))
		for r := range rows {
			if err := w.Write(r); err != nil {
				return err
			}
		}
		return w.Close()
	})
}

func write(path string, to func(io.Writer) error) error {
	f, err := atomicfile.Create(path)
	if err != nil {
		return err
	}
	defer f.Cleanup()
	if err = to(f); err == nil {
		err = f.CloseAtomicallyReplace()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// Read reads all rows of a file that has these columns.
func Read[T any](path string, columns ...string) (rows []T, err error) {
	err = Open(path, func(f *parquet.File) error {
		var missing []string
		for _, column := range columns {
			if _, ok := f.Schema().Lookup(column); !ok {
				missing = append(missing, column)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("no column %s", strings.Join(missing, ", "))
		}
		meter := NewMeter(f)
		r := parquet.NewGenericRowGroupReader[T](meter.groups(f))
		defer r.Close()
		// In pieces, since the number of rows is only what the file says.
		const piece = 8192
		for want := int(f.NumRows()); len(rows) < want; {
			n := len(rows)
			if err := meter.Add(int64(min(piece, want-n)) * int64(reflect.TypeFor[T]().Size())); err != nil {
				return err
			}
			rows = append(rows, make([]T, min(piece, want-n))...)
			m, err := r.Read(rows[n:])
			if rows = rows[:n+m]; len(rows) < want && (err != nil || m == 0) {
				if err == nil || errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return fmt.Errorf("%d rows of %d are readable: %w", len(rows), want, err)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// Open hands an open file to do. The library panics on some broken files; that
// becomes an error.
func Open(path string, do func(*parquet.File) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	f, err := OpenAt(file, info.Size())
	if err == nil {
		err = Guard(func() error { return do(f) })
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// OpenAt reads the metadata of a file, whose lengths are checked before memory
// is taken for them, as are those of its pages when they're read. Page indexes
// are left for when they're asked for. r must stay open while the file is read.
func OpenAt(r io.ReaderAt, size int64) (f *parquet.File, err error) {
	if err := checkFooter(r, size); err != nil {
		return nil, err
	}
	err = Guard(func() error {
		c := &checked{r: r, size: size}
		f, err = parquet.OpenFile(c, size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
		if err == nil {
			err = checkColumns(f, size)
		}
		if err == nil {
			err = c.learn(f)
		}
		return err
	})
	return f, err
}

// checkColumns refuses columns that can't lie in a file of that size; LZ4, whose
// decoder in the library never ends on damaged data; and codecs that nobody
// writes.
func checkColumns(f *parquet.File, size int64) error {
	inside := func(offset, length int64) bool { return offset >= 0 && length >= 0 && offset <= size-length }
	for _, group := range f.Metadata().RowGroups {
		if group.NumRows < 0 {
			return errFooter
		}
		for _, c := range group.Columns {
			switch codec := c.MetaData.Codec; codec {
			case format.Uncompressed, format.Snappy, format.Gzip, format.Zstd:
			default:
				return fmt.Errorf("compressed with %s, which isn't read; write it with snappy or zstd", codec)
			}
			m := c.MetaData
			if !inside(m.DataPageOffset, 0) || !inside(m.DictionaryPageOffset, 0) || !inside(0, m.TotalCompressedSize) ||
				!inside(c.OffsetIndexOffset, int64(c.OffsetIndexLength)) {
				return errFooter
			}
		}
	}
	return nil
}

// Guard makes an error of the library's panics on broken files.
func Guard(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("broken Parquet: %v", p)
		}
	}()
	return do()
}
