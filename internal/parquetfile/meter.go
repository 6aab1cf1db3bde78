package parquetfile

import (
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go"
)

// Meter counts what a file's values become in memory where all are kept: one
// value of a dictionary may stand for millions, and a null takes no room at all.
type Meter struct{ left, limit int64 }

// NewMeter is for one reading of a file.
func NewMeter(f *parquet.File) *Meter {
	limit := freeFile + fileRatio*f.Size()
	return &Meter{limit, limit}
}

// Add refuses what is beyond the bound.
func (m *Meter) Add(bytes int64) error {
	if m.left -= bytes; m.left < 0 {
		return fmt.Errorf("its rows take more than %d bytes of memory; write it as several files, or without long values that repeat", m.limit)
	}
	return nil
}

// groups are a file's row groups, whose pages are counted before their values
// are copied into rows.
func (m *Meter) groups(f *parquet.File) parquet.RowGroup {
	groups := slices.Clone(f.RowGroups())
	for i, g := range groups {
		groups[i] = meteredGroup{g, m}
	}
	return parquet.MultiRowGroup(groups...)
}

type meteredGroup struct {
	parquet.RowGroup
	meter *Meter
}

func (g meteredGroup) ColumnChunks() []parquet.ColumnChunk {
	chunks := slices.Clone(g.RowGroup.ColumnChunks())
	for i, c := range chunks {
		chunks[i] = meteredChunk{c, g.meter}
	}
	return chunks
}

func (g meteredGroup) Rows() parquet.Rows { return parquet.NewRowGroupRowReader(g) }

type meteredChunk struct {
	parquet.ColumnChunk
	meter *Meter
}

func (c meteredChunk) Pages() parquet.Pages { return meteredPages{c.ColumnChunk.Pages(), c.meter} }

type meteredPages struct {
	parquet.Pages
	meter *Meter
}

func (p meteredPages) ReadPage() (parquet.Page, error) {
	page, err := p.Pages.ReadPage()
	if err != nil {
		return page, err
	}
	if err := p.meter.Add(kept(page)); err != nil {
		parquet.Release(page)
		return nil, err
	}
	return page, nil
}

// kept is what a page's values take as strings, and an element of a list each.
func kept(page parquet.Page) int64 {
	const header = 16
	sum := header * page.NumValues()
	dictionary := page.Dictionary()
	if dictionary == nil {
		return sum + page.Size()
	}
	if kind := dictionary.Type().Kind(); kind != parquet.ByteArray && kind != parquet.FixedLenByteArray {
		return sum
	}
	for _, i := range indexes(page) {
		if i >= 0 && int(i) < dictionary.Len() {
			sum += int64(len(dictionary.Index(i).ByteArray()))
		}
	}
	return sum
}

func indexes(page parquet.Page) []int32 {
	data := page.Data()
	return data.Int32()
}
