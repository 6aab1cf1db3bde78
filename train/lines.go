package train

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
)

// maxLine bounds a line of metrics.jsonl. A longer one is no step's: a machine
// that lost power may leave a file that ends in zeros.
const maxLine = 1 << 20

// lines gives a log's lines without their ends, but for those above maxLine and
// a last one that is cut off. A line is valid until the next.
func lines(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		buffer := bufio.NewReaderSize(r, maxLine)
		for long := false; ; {
			line, err := buffer.ReadSlice('\n')
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
				long = true
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(nil, err)
				return
			default:
				if !long && !yield(bytes.TrimSuffix(line, []byte("\n")), nil) {
					return
				}
				long = false
			}
		}
	}
}
