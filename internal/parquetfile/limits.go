package parquetfile

import (
	"errors"
	"fmt"
)

// What a file may make of its bytes. Writers stay far below: Arrow's pages are of
// 1 MiB where values are small, and of a row group where they are images.
const (
	// A page may always unpack to freePage bytes; more only up to pageRatio times
	// its packed size, and never to more than maxPage.
	freePage  = 64 << 20
	pageRatio = 64
	maxPage   = 1 << 30
	// maxPageValues bounds the values of a page, which may be nulls that take no room.
	maxPageValues = 16 << 20
	// maxPageHeader bounds what stands before a page: its sizes and statistics.
	maxPageHeader = 16 << 20
	// maxPages bounds the pages of a column in a row group, of which each is
	// remembered.
	maxPages = 1 << 20
	// maxColumns bounds the schema, which the library multiplies by its depth.
	maxColumns = 4096
	// A file that is read whole may become freeFile bytes and fileRatio times its size.
	freeFile  = 1 << 30
	fileRatio = 64
)

var (
	errPage = errors.New("broken Parquet: a page contradicts its header")
	errMend = errors.New("write the file again, with smaller pages (data_page_size of pyarrow) and Snappy or Zstandard")
)

func tooMuch(format string, args ...any) error {
	return fmt.Errorf("%s; %w", fmt.Sprintf(format, args...), errMend)
}

// pageLimit bounds what a page of packed bytes unpacks to.
func pageLimit(packed int64) int64 {
	return min(maxPage, max(freePage, pageRatio*packed))
}
