package parquetfile

import (
	"encoding/binary"

	"github.com/parquet-go/parquet-go/encoding/delta"
)

// padding is what runs and blocks may have beyond a page's values.
const padding = 1024

// checkRuns walks runs of bit-packed and repeated values of width bits, and
// refuses more than n: the library makes all that they say.
func checkRuns(data []byte, width uint, n int) error {
	most, total := uint64(n)+padding, uint64(0)
	for len(data) > 0 {
		head, k := binary.Uvarint(data)
		if k <= 0 || width > 32 {
			return errPage
		}
		data = data[k:]
		count, bytes := head>>1, uint64(width+7)/8
		if count > most {
			return errRuns(n)
		}
		if head&1 != 0 {
			bytes = count * uint64(width)
			count *= 8
		}
		if total += count; total > most {
			return errRuns(n)
		}
		data = data[min(bytes, uint64(len(data))):]
	}
	return nil
}

func errRuns(n int) error {
	return tooMuch("its runs are of more values than the %d that its header says", n)
}

// deltaCount gives the number of values that DELTA_BINARY_PACKED data announce.
func deltaCount(data []byte, n int) error {
	for range 2 { // the sizes of blocks
		_, k := binary.Uvarint(data)
		if k <= 0 {
			return errPage
		}
		data = data[k:]
	}
	count, k := binary.Uvarint(data)
	if k <= 0 {
		return errPage
	}
	if count > uint64(n)+padding {
		return errRuns(n)
	}
	return nil
}

// deltaLengths sums up lengths in DELTA_BINARY_PACKED, and gives what follows
// them.
func deltaLengths(data []byte, n int) (sum int64, rest []byte, err error) {
	if err := deltaCount(data, n); err != nil {
		return 0, nil, err
	}
	lengths, err := new(delta.BinaryPackedEncoding).DecodeInt32(nil, data)
	if err != nil {
		return 0, nil, err
	}
	for _, l := range lengths {
		if l < 0 {
			return 0, nil, errPage
		}
		sum += int64(l)
	}
	rest, err = skipDelta(data)
	return sum, rest, err
}

// skipDelta skips DELTA_BINARY_PACKED data that the library can read.
func skipDelta(data []byte) ([]byte, error) {
	var head [4]uint64 // values of a block, its miniblocks, values, the first of them
	for i := range head {
		v, k := binary.Uvarint(data)
		if k <= 0 {
			return nil, errPage
		}
		head[i], data = v, data[k:]
	}
	if head[1] == 0 {
		return nil, errPage
	}
	perMini := head[0] / head[1]
	for left := head[2]; left > 1 && len(data) > 0; {
		_, k := binary.Uvarint(data)
		if k <= 0 || perMini == 0 {
			return nil, errPage
		}
		data = data[k:]
		widths := data[:min(head[1], uint64(len(data)))]
		data = data[len(widths):]
		for _, width := range widths {
			data = data[min(perMini*uint64(width)/8, uint64(len(data))):]
			if left -= min(left-1, perMini); left == 1 {
				break
			}
		}
	}
	return data, nil
}
