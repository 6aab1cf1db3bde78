package parquetfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sync"

	"github.com/klauspost/compress/snappy"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// rooms are buffers for a page, packed and unpacked. The library holds another of
// its own at the same time.
var rooms = sync.Pool{New: func() any { return new([]byte) }}

// keepRoom bounds what stays in rooms.
const keepRoom = 32 << 20

func giveRoom(room *[]byte) {
	if cap(*room) <= keepRoom {
		rooms.Put(room)
	}
}

// decodeThrift decodes as the library does while it reads pages, and gives how
// many bytes it took. Lengths must have been walked before.
func decodeThrift(data []byte, v any) (int, error) {
	r := bytes.NewReader(data)
	var protocol thrift.CompactProtocol
	err := thrift.NewDecoder(protocol.NewReader(r)).Decode(v)
	return len(data) - r.Len(), err
}

// readHeader reads the header of the page at start, and gives where its body is.
func readHeader(r io.ReaderAt, start, end int64) (h *format.PageHeader, body int64, err error) {
	room := rooms.Get().(*[]byte)
	defer giveRoom(room)
	for size := int64(4 << 10); ; size *= 16 {
		n := int(min(size, end-start, maxPageHeader))
		*room = slices.Grow((*room)[:0], n)[:n]
		if n, err := r.ReadAt(*room, start); n < len(*room) {
			return nil, 0, err
		}
		w := walker{rest: *room}
		if err := w.structure(0); err != nil {
			if int64(n) == size {
				continue // it may be longer
			}
			return nil, 0, errors.New("broken Parquet: no header of a page")
		}
		h = new(format.PageHeader)
		took, err := decodeThrift(*room, h)
		if err == nil && took != n-len(w.rest) {
			err = errPage
		}
		if err != nil {
			return nil, 0, err
		}
		// The library takes some of these without a look at the type.
		if h.DataPageHeader.Valid != (h.Type == format.DataPage) || h.IndexPageHeader.Valid != (h.Type == format.IndexPage) ||
			h.DictionaryPageHeader.Valid != (h.Type == format.DictionaryPage) || h.DataPageHeaderV2.Valid != (h.Type == format.DataPageV2) {
			return nil, 0, errPage
		}
		h.DataPageHeader.V.Statistics = format.Statistics{} // may be long, as images are
		h.DataPageHeaderV2.V.Statistics = format.Statistics{}
		body = start + int64(took)
		if h.CompressedPageSize < 0 || h.UncompressedPageSize < 0 || int64(h.CompressedPageSize) > end-body {
			return nil, 0, fmt.Errorf("broken Parquet: a page of %d bytes where there are %d", h.CompressedPageSize, end-body)
		}
		if limit := pageLimit(int64(h.CompressedPageSize)); int64(h.UncompressedPageSize) > limit {
			return nil, 0, tooMuch("its header says that %d bytes unpack to %d, more than the %d that are read", h.CompressedPageSize, h.UncompressedPageSize, limit)
		}
		return h, body, nil
	}
}

// checkPage refuses a page that the library would need unbounded memory for. Its
// header is read unless it's given.
func (k *chunk) checkPage(r io.ReaderAt, start, end int64, h *header) error {
	if h == nil {
		read, at, err := readHeader(r, start, k.end)
		if err != nil {
			return err
		}
		h = &header{read, at}
	}
	if h.body+int64(h.CompressedPageSize) != end {
		return errPage // the file was changed
	}
	body := &pageBody{
		k: k, r: r, at: h.body, packed: int(h.CompressedPageSize), size: int(h.UncompressedPageSize),
		codec: k.column.Compression().CompressionCodec(),
	}
	defer body.close()
	switch h.Type {
	case format.DictionaryPage:
		return body.dictionary(h.DictionaryPageHeader.V)
	case format.DataPage:
		return body.version1(h.DataPageHeader.V)
	case format.DataPageV2:
		return body.version2(h.DataPageHeaderV2.V)
	}
	return fmt.Errorf("a page of kind %s can't be read", h.Type)
}

// pageBody is a page that is checked. What isn't needed isn't read.
type pageBody struct {
	k            *chunk
	r            io.ReaderAt
	at           int64
	packed, size int
	codec        format.CompressionCodec

	rooms []*[]byte
}

func (b *pageBody) close() {
	for _, room := range b.rooms {
		giveRoom(room)
	}
}

func (b *pageBody) room(size int) []byte {
	room := rooms.Get().(*[]byte)
	b.rooms = append(b.rooms, room)
	*room = slices.Grow((*room)[:0], size)[:size]
	return *room
}

// read reads bytes of the page as they stand in the file.
func (b *pageBody) read(from, to int) ([]byte, error) {
	room := b.room(to - from)
	if n, err := b.r.ReadAt(room, b.at+int64(from)); n < to-from {
		return nil, err
	}
	return room, nil
}

// unpack gives the page from a byte on. Where only its size matters, it isn't
// decompressed if the size can be told without.
func (b *pageBody) unpack(from int, codec format.CompressionCodec, sizeOnly bool) ([]byte, error) {
	if sizeOnly && codec == format.Uncompressed {
		return nil, nil
	}
	if sizeOnly && codec == format.Snappy {
		head, err := b.read(from, min(b.packed, from+binary.MaxVarintLen32))
		if err != nil {
			return nil, err
		}
		n, err := snappy.DecodedLen(head)
		if err == nil && n > b.size {
			err = b.unpacksTo(errUnpacks)
		}
		return nil, err
	}
	packed, err := b.read(from, b.packed)
	if err != nil || codec == format.Uncompressed {
		return packed, err
	}
	data, err := unpack(codec, b.room(b.size), packed)
	if err != nil {
		return nil, b.unpacksTo(err)
	}
	return data, nil
}

func (b *pageBody) unpacksTo(err error) error {
	if errors.Is(err, errUnpacks) {
		return tooMuch("%d bytes unpack to more than the %d that its header says", b.packed, b.size)
	}
	return fmt.Errorf("broken Parquet: %w", err)
}

func (b *pageBody) dictionary(h format.DictionaryPageHeader) error {
	if h.Encoding != format.Plain && h.Encoding != format.PlainDictionary { //nolint:staticcheck // old files have it
		return fmt.Errorf("a dictionary in the encoding %s can't be read", h.Encoding)
	}
	if err := b.count(h.NumValues); err != nil {
		return err
	}
	if err := b.fixed(h.NumValues); err != nil {
		return err
	}
	_, err := b.unpack(0, b.codec, true)
	return err
}

// count bounds the values of a page.
func (b *pageBody) count(n int32) error {
	if n < 0 || n > maxPageValues {
		return tooMuch("its header says that it has %d values, more than the %d that are read", n, maxPageValues)
	}
	return nil
}

// fixed bounds what values of a fixed length take.
func (b *pageBody) fixed(n int32) error {
	t := b.k.column.Type()
	if limit := pageLimit(int64(b.packed)); t.Kind() == parquet.FixedLenByteArray && int64(n)*int64(t.Length()) > limit {
		return tooMuch("its header says that it has %d values of %d bytes, more than the %d that are read", n, t.Length(), limit)
	}
	return nil
}

func (b *pageBody) version1(h format.DataPageHeader) error {
	if err := b.count(h.NumValues); err != nil {
		return err
	}
	repetition, definition := b.k.column.MaxRepetitionLevel(), b.k.column.MaxDefinitionLevel()
	data, err := b.unpack(0, b.codec, repetition+definition == 0 && h.Encoding == format.Plain)
	if err != nil {
		return err
	}
	for _, level := range []struct {
		most     int
		encoding format.Encoding
	}{{repetition, h.RepetitionLevelEncoding}, {definition, h.DefinitionLevelEncoding}} {
		if level.most == 0 {
			continue
		}
		if level.encoding != format.RLE {
			return fmt.Errorf("levels in the encoding %s aren't read; %w", level.encoding, errMend)
		}
		var runs []byte
		if runs, data, err = prefixed(data); err != nil {
			return err
		}
		if err := checkRuns(runs, uint(bits.Len8(uint8(level.most))), int(h.NumValues)); err != nil {
			return err
		}
	}
	return b.values(data, h.Encoding, h.NumValues)
}

// prefixed cuts off data that begin with their length.
func prefixed(data []byte) (first, rest []byte, err error) {
	if len(data) < 4 {
		return nil, nil, errPage
	}
	n := uint64(binary.LittleEndian.Uint32(data))
	if n > uint64(len(data)-4) {
		return nil, nil, errPage
	}
	return data[4 : 4+n], data[4+n:], nil
}

func (b *pageBody) version2(h format.DataPageHeaderV2) error {
	if err := b.count(h.NumValues); err != nil {
		return err
	}
	from := 0
	for _, level := range []struct {
		most   int
		length int32
	}{
		{b.k.column.MaxRepetitionLevel(), h.RepetitionLevelsByteLength},
		{b.k.column.MaxDefinitionLevel(), h.DefinitionLevelsByteLength},
	} {
		n := int(level.length)
		if n < 0 || n > b.packed-from {
			return errPage
		}
		if level.most > 0 {
			runs, err := b.read(from, from+n)
			if err == nil {
				err = checkRuns(runs, uint(bits.Len8(uint8(level.most))), int(h.NumValues))
			}
			if err != nil {
				return err
			}
		}
		from += n
	}
	codec := b.codec
	if h.IsCompressed.Valid && !h.IsCompressed.V {
		codec = format.Uncompressed
	}
	data, err := b.unpack(from, codec, h.Encoding == format.Plain)
	if err != nil {
		return err
	}
	return b.values(data, h.Encoding, h.NumValues)
}

// values checks those encodings that make more of their bytes.
func (b *pageBody) values(data []byte, encoding format.Encoding, n int32) error {
	kind := b.k.column.Type().Kind()
	if encoding != format.Plain {
		if err := b.fixed(n); err != nil {
			return err
		}
	}
	switch encoding {
	case format.Plain, format.ByteStreamSplit:
		return nil
	case format.PlainDictionary, format.RLEDictionary: //nolint:staticcheck // old files have it
		if len(data) == 0 {
			return nil
		}
		return checkRuns(data[1:], uint(data[0]), int(n))
	case format.RLE:
		if kind != parquet.Boolean {
			break
		}
		if len(data) == 0 {
			return nil
		}
		runs, _, err := prefixed(data)
		if err != nil {
			return err
		}
		return checkRuns(runs, 1, int(n))
	case format.DeltaBinaryPacked, format.DeltaLengthByteArray:
		return deltaCount(data, int(n))
	case format.DeltaByteArray:
		prefixes, rest, err := deltaLengths(data, int(n))
		if err != nil {
			return err
		}
		suffixes, _, err := deltaLengths(rest, int(n))
		if err != nil {
			return err
		}
		if limit := pageLimit(int64(b.packed)); prefixes+suffixes > limit {
			return tooMuch("its values share beginnings so that %d bytes become %d, more than the %d that are read", b.packed, prefixes+suffixes, limit)
		}
		return nil
	}
	return fmt.Errorf("values of kind %s in the encoding %s aren't read; %w", kind, encoding, errMend)
}
