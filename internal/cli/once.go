package cli

import (
	"bytes"
	"io"
)

// once drops warnings that were said before: a run opens some sources two or
// three times, and each opening finds the same broken files. It gets a line a
// write, one at a time, as slog's handlers write them.
type once struct {
	w    io.Writer
	said map[string]bool
}

func (o *once) Write(line []byte) (int, error) {
	if bytes.HasPrefix(line, []byte("level=WARN ")) {
		if o.said[string(line)] {
			return len(line), nil
		}
		o.said[string(line)] = true
	}
	return o.w.Write(line)
}
