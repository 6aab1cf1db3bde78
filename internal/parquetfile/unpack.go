package parquetfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

var errUnpacks = errors.New("it unpacks to more than its header says")

// zstdDecoders decode into the room that they are given and no further.
var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(err) // only of wrong options
	}
	return d
}}

// unpack decompresses into room and no further. It uses the library's decoders,
// so that what is fine here is fine there.
func unpack(codec format.CompressionCodec, room, packed []byte) ([]byte, error) {
	switch codec {
	case format.Snappy:
		n, err := snappy.DecodedLen(packed)
		if err != nil {
			return nil, err
		}
		if n > len(room) {
			return nil, errUnpacks
		}
		return snappy.Decode(room, packed)
	case format.Zstd:
		d := zstdDecoders.Get().(*zstd.Decoder)
		defer zstdDecoders.Put(d)
		data, err := d.DecodeAll(packed, room[:0:len(room)])
		if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
			err = errUnpacks
		}
		return data, err
	case format.Gzip:
		r, err := gzip.NewReader(bytes.NewReader(packed))
		if err != nil {
			return nil, err
		}
		n, err := io.ReadFull(r, room)
		if err == nil {
			if more, _ := io.ReadFull(r, make([]byte, 1)); more > 0 {
				return nil, errUnpacks
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = nil // less than it says; or cut, which the library notices
		}
		return room[:n], err
	}
	return nil, fmt.Errorf("compressed with %s, which isn't read; write it with snappy or zstd", codec)
}
