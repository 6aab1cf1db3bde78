package index

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"arf/internal/parquetfile"

	"github.com/parquet-go/parquet-go"
)

// Column reads one column of the metadata as text, "" where a row lacks it. The
// error for a column that isn't there, or is a list, names those that could be
// meant.
func (s *Store) Column(name string) ([]string, error) {
	out := make([]string, 0, s.Len())
	for _, path := range s.metadata {
		if err := parquetfile.Open(path, func(f *parquet.File) (err error) {
			out, err = appendColumn(out, f, name)
			return err
		}); err != nil {
			return nil, err
		}
	}
	if len(out) != s.Len() {
		return nil, fmt.Errorf("%s: column %s of the metadata has %d values for %d rows; embed the pool again", s.Dir, name, len(out), s.Len())
	}
	return out, nil
}

// Columns are the names of the metadata's columns that Column reads, sorted.
func (s *Store) Columns() (names []string, err error) {
	err = parquetfile.Open(s.metadata[0], func(f *parquet.File) error {
		names = columnNames(f)
		return nil
	})
	return names, err
}

func columnNames(f *parquet.File) (names []string) {
	for _, c := range f.Root().Columns() {
		if c.Leaf() && !c.Repeated() {
			names = append(names, c.Name())
		}
	}
	slices.Sort(names)
	return names
}

func appendColumn(out []string, f *parquet.File, name string) ([]string, error) {
	column := f.Root().Column(name)
	if column == nil || !column.Leaf() || column.Repeated() {
		return nil, fmt.Errorf("no column %q of single values; there are %s", name, strings.Join(columnNames(f), ", "))
	}
	pages := column.Pages()
	defer pages.Close()
	meter := parquetfile.NewMeter(f)
	values := make([]parquet.Value, 1024)
	for {
		page, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		for in := page.Values(); err == nil; {
			var n int
			n, err = in.ReadValues(values)
			if n == 0 && err == nil {
				err = io.ErrNoProgress
			}
			for _, v := range values[:n] {
				text := ""
				if !v.IsNull() {
					text = v.String()
				}
				if e := meter.Add(int64(len(text)) + 16); e != nil {
					return nil, e
				}
				out = append(out, text)
			}
		}
		parquet.Release(page)
		if !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
}
