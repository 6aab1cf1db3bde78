// Package remote reads files of servers, such as the tars of a pool: http(s)://,
// and s3://, gs:// and file:// through gocloud.dev (programs choose these by
// importing its drivers). Files that are read as a whole are kept in a cache on
// disk of bounded size; single parts are read by range.
//
// A server that fails is asked again for a while. What it costs to try again is
// small: an interrupted fetch goes on where it was.
package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"
)

// ErrUnavailable is wrapped by errors of a server that can't be reached, or that
// answers with an error, after all tries, and by all errors of File.ReadAt that
// don't come of the part asked for. The same call may succeed later.
var ErrUnavailable = errors.New("the server can't be read")

// unavailable marks an error whose text says what is wrong.
type unavailable struct{ error }

func (u unavailable) Unwrap() error        { return u.error }
func (u unavailable) Is(target error) bool { return target == ErrUnavailable }

// IsURL tells paths of this package from those of the disk.
func IsURL(path string) bool {
	scheme, _, ok := strings.Cut(path, "://")
	return ok && scheme != "" && !strings.ContainsAny(scheme, `/\{*`)
}

// store is where a file lies.
type store interface {
	// stat gives the size in bytes and what changes with the content.
	stat(ctx context.Context) (fileStat, error)
	// get reads length bytes from offset on, or up to the end if length is negative.
	get(ctx context.Context, at fileStat, offset, length int64) (io.ReadCloser, error)
}

// fileStat is what a server says of a file.
type fileStat struct {
	Size    int64
	Version string // ETag, or the time of change; "" if it says neither
	Ranges  bool   // parts can be read
	// Modified is the time that a bucket says with each part.
	Modified time.Time `json:"-"`
}

// errChanged is of a file that isn't the one any more that was listed.
var errChanged = errors.New("the file was changed on the server since it was opened; start again to read the new one")

func openStore(ctx context.Context, name string) (store, error) {
	u, err := url.Parse(name)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Redacted(name), err)
	}
	switch u.Scheme {
	case "http", "https":
		return httpStore{name}, nil
	}
	return openBlob(ctx, u)
}

// Tries says how patiently a failing server is asked. Zero values are the defaults given.
type Tries struct {
	Count int           // calls; 0 is 6
	Wait  time.Duration // before the second, doubled for each further one, with jitter; 0 is 1 s, about 30 s altogether
	Idle  time.Duration // without a byte until a call counts as failed; 0 is 30 s
}

func (t Tries) idle() time.Duration { return cmp.Or(t.Idle, 30*time.Second) }

// permanent is an error that no further try mends.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// exhausted is an error of a library that has itself tried for a while.
type exhausted struct{ error }

func (e exhausted) Unwrap() error { return e.error }

// do calls f until it succeeds, fails for good, or has been called Count times.
// progress tells that a failed call got on; then the count starts again.
func (t Tries) do(ctx context.Context, what string, f func(context.Context) (progress bool, err error)) error {
	count, wait := cmp.Or(t.Count, 6), cmp.Or(t.Wait, time.Second)
	for try := 1; ; try++ {
		progress, err := f(ctx)
		var final permanent
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &final):
			return fmt.Errorf("%s: %w", what, final.error)
		}
		if progress {
			try = 1
		}
		if _, tried := errors.AsType[exhausted](err); tried || try >= count {
			return fmt.Errorf("%s: %w (%d tries): %w; the same command goes on from here", what, ErrUnavailable, try, err)
		}
		pause := wait << (try - 1)
		pause = pause/2 + rand.N(pause)
		if asked, ok := errors.AsType[retryAfter](err); ok {
			pause = max(pause, min(asked.wait, time.Minute))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// retryAfter is an answer that says when to ask again.
type retryAfter struct {
	error
	wait time.Duration
}

// watched ends a reader's context when no byte comes for a while.
type watched struct {
	io.ReadCloser
	timer *time.Timer
	idle  time.Duration
}

func (w watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.timer.Reset(w.idle)
	return n, err
}

// read hands the bytes of a part to to, and ends a call that stands still.
func (t Tries) read(ctx context.Context, s store, at fileStat, offset, length int64, to func(io.Reader) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(t.idle(), func() { cancel(fmt.Errorf("no answer for %v", t.idle())) })
	defer timer.Stop()
	body, err := s.get(ctx, at, offset, length)
	if err == nil {
		err = to(watched{body, timer, t.idle()})
		body.Close()
	}
	if err != nil && ctx.Err() != nil {
		_, final := errors.AsType[permanent](err)
		if _, tried := errors.AsType[exhausted](err); !final && !tried {
			return context.Cause(ctx)
		}
	}
	return err
}
