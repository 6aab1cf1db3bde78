package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"
)

// download fetches a file's content to path, by way of path.incomplete, which
// stays when it is interrupted and is then gone on with.
func (c *client) download(ctx context.Context, name, path string, meta metadata) error {
	part := path + ".incomplete"
	file, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer file.Close()
	fresh := false // nothing in it is of an earlier program
	for {
		if err := c.retry(ctx, func() (bool, error) { return c.fetch(ctx, name, file, meta, &fresh) }); err != nil {
			return err
		}
		err := verify(file, meta.etag)
		if err == nil {
			break
		}
		if terr := file.Truncate(0); terr != nil {
			return terr
		}
		if fresh {
			return err
		}
		fresh = true // what an earlier program left was wrong; once more
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(part, path)
}

// fetch asks for what file lacks and appends it. fresh becomes true when it
// begins at the start.
func (c *client) fetch(ctx context.Context, name string, file *os.File, meta metadata, fresh *bool) (further bool, err error) {
	have, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return false, err
	}
	if meta.size >= 0 && have > meta.size {
		have = 0
	}
	c.report(name, have, meta.size)
	if have == meta.size {
		*fresh = *fresh || have == 0
		return false, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	response, err := c.do(ctx, http.MethodGet, meta.url, have)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusPartialContent:
		if !strings.HasPrefix(response.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", have)) {
			return false, fmt.Errorf("the hub sends the range %.50q in place of that from byte %d", response.Header.Get("Content-Range"), have)
		}
	case http.StatusOK:
		have = 0 // ranges aren't for every server
	case http.StatusRequestedRangeNotSatisfiable:
		if err := file.Truncate(0); err != nil {
			return false, err
		}
		return false, fmt.Errorf("%w: it doesn't go on with the download", errUnreachable)
	default:
		return false, refusedBy(response)
	}
	*fresh = *fresh || have == 0
	if err := file.Truncate(have); err != nil {
		return false, err
	}
	if _, err := file.Seek(have, io.SeekStart); err != nil {
		return false, err
	}
	total := meta.size
	if total < 0 && response.ContentLength >= 0 {
		total = have + response.ContentLength
	}
	body := &watched{ctx: ctx, reader: response.Body, timer: time.AfterFunc(c.stall, func() { cancel(errStalled) }), stall: c.stall}
	defer body.timer.Stop()
	body.tell = func(n int64) { c.report(name, have+n, total) }
	if total >= 0 {
		body.reader = io.LimitReader(response.Body, total-have)
	}
	if _, err := io.Copy(file, body); err != nil {
		var disk *os.PathError
		switch {
		case errors.As(err, &disk):
			return false, err
		case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errStalled):
			return false, context.Cause(ctx)
		}
		return body.read > 0, unreachable(err)
	}
	if total >= 0 && have+body.read < total {
		return body.read > 0, fmt.Errorf("%w: it broke off after %d of %d bytes", errUnreachable, have+body.read, total)
	}
	return true, nil
}

var errStalled = errors.New("no byte came for a minute")

// watched counts what is read, and ends the request when nothing comes.
type watched struct {
	ctx    context.Context
	reader io.Reader
	read   int64
	timer  *time.Timer
	stall  time.Duration
	tell   func(read int64)
}

func (w *watched) Read(p []byte) (int, error) {
	if w.ctx.Err() != nil { // what is buffered would still come
		return 0, context.Cause(w.ctx)
	}
	n, err := w.reader.Read(p)
	w.read += int64(n)
	w.timer.Reset(w.stall)
	w.tell(w.read)
	return n, err
}

func (c *client) report(name string, done, total int64) {
	if c.progress != nil {
		c.progress(name, done, max(total, 0))
	}
}

// refusedBy is about the storage that the hub sends to, or the hub itself.
func refusedBy(response *http.Response) error {
	err := fmt.Errorf("%s answers %s", response.Request.URL.Host, response.Status)
	if response.StatusCode == http.StatusTooManyRequests || response.StatusCode >= 500 {
		return fmt.Errorf("%w: %w", errUnreachable, err)
	}
	return err
}

var (
	isSHA1   = regexp.MustCompile(`^[0-9a-f]{40}$`)
	isSHA256 = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// verify compares the content with the ETag where that is a hash: SHA-256 of
// large files (Git LFS), SHA-1 of others as Git computes it.
func verify(file *os.File, etag string) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	var sum hash.Hash
	switch {
	case isSHA256.MatchString(etag):
		sum = sha256.New()
	case isSHA1.MatchString(etag):
		sum = sha1.New()
		fmt.Fprintf(sum, "blob %d\x00", info.Size())
	default:
		return nil
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(sum, file); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != etag {
		return fmt.Errorf("what came is not the file (hash %s in place of %s); try again, and check HF_ENDPOINT and proxies", got, etag)
	}
	return nil
}
