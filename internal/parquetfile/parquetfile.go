// Package parquetfile reads and writes Parquet files of one kind of row, whole
// or not at all. Errors name the file.
package parquetfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/parquet-go/parquet-go"
)

// Write writes rows atomically.
func Write[T any](path string, rows []T) error {
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	w := parquet.NewGenericWriter[T](f, parquet.Compression(&parquet.Zstd))
	if _, err = w.Write(rows); err == nil {
		err = w.Close()
	}
	if err == nil {
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
		r := parquet.NewGenericReader[T](f)
		defer r.Close()
		rows = make([]T, f.NumRows())
		for n := 0; n < len(rows); {
			m, err := r.Read(rows[n:])
			if n += m; n < len(rows) && (err != nil || m == 0) {
				if err == nil || errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return fmt.Errorf("%d rows of %d are readable: %w", n, len(rows), err)
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
func Open(path string, do func(*parquet.File) error) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("broken Parquet: %v", p)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
	}()
	f, err := parquet.OpenFile(file, info.Size())
	if err != nil {
		return err
	}
	return do(f)
}
