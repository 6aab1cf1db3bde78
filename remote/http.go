package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

type httpStore struct{ url string }

// stat asks for the first byte: some servers, and signed URLs, allow no HEAD.
func (h httpStore) stat(ctx context.Context) (fileStat, error) {
	r, err := h.request(ctx, "bytes=0-0", "")
	if err != nil {
		return fileStat{}, err
	}
	defer r.Body.Close()
	s := fileStat{Version: versionOf(r)}
	switch r.StatusCode {
	case http.StatusPartialContent:
		_, total, ok := strings.Cut(r.Header.Get("Content-Range"), "/")
		size, err := strconv.ParseInt(total, 10, 64)
		if !ok || err != nil || size < 0 {
			return s, permanent{fmt.Errorf("the server doesn't say the file's size (Content-Range %q)", r.Header.Get("Content-Range"))}
		}
		s.Size, s.Ranges = size, true
	case http.StatusRequestedRangeNotSatisfiable:
		return s, permanent{errors.New("the file is empty")}
	default:
		if r.ContentLength < 0 {
			return s, permanent{errors.New("the server doesn't say the file's size (no Content-Length)")}
		}
		s.Size = r.ContentLength
	}
	if s.Size == 0 {
		return s, permanent{errors.New("the file is empty")}
	}
	return s, nil
}

func (h httpStore) get(ctx context.Context, at fileStat, offset, length int64) (io.ReadCloser, error) {
	part := ""
	switch {
	case length >= 0:
		part = fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
	case offset > 0:
		part = fmt.Sprintf("bytes=%d-", offset)
	}
	r, err := h.request(ctx, part, at.Version)
	if err != nil {
		return nil, err
	}
	switch {
	case r.StatusCode == http.StatusRequestedRangeNotSatisfiable, versionOf(r) != at.Version:
		err = permanent{errChanged}
	case part != "" && r.StatusCode != http.StatusPartialContent:
		err = permanent{errors.New("the server sends no parts of files")}
	case part != "" && !strings.HasPrefix(r.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", offset)):
		err = permanent{fmt.Errorf("the server sent another part of the file (%s)", r.Header.Get("Content-Range"))}
	}
	if err != nil {
		r.Body.Close()
		return nil, err
	}
	return r.Body, nil
}

// request gives answers of the 200s, and 416.
func (h httpStore) request(ctx context.Context, part, version string) (*http.Response, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url, nil)
	if err != nil {
		return nil, permanent{err}
	}
	// Of a compressed answer neither size nor ranges are the file's.
	q.Header.Set("Accept-Encoding", "identity")
	q.Header.Set("User-Agent", "arf")
	if part != "" {
		q.Header.Set("Range", part)
		if strings.HasPrefix(version, `"`) { // a strong ETag
			q.Header.Set("If-Range", version)
		}
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		if full, ok := errors.AsType[*url.Error](err); ok { // its text has the URL with its signature
			err = full.Err
		}
		return nil, err
	}
	if r.StatusCode < 300 || r.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return r, nil
	}
	r.Body.Close()
	err = fmt.Errorf("the server answered %s", r.Status)
	switch {
	case r.StatusCode >= 500, r.StatusCode == http.StatusTooManyRequests, r.StatusCode == http.StatusRequestTimeout:
		if seconds, e := strconv.Atoi(r.Header.Get("Retry-After")); e == nil && seconds >= 0 {
			return nil, retryAfter{err, time.Duration(seconds) * time.Second}
		}
		return nil, err
	}
	return nil, permanent{err}
}

func versionOf(r *http.Response) string {
	if tag := r.Header.Get("ETag"); tag != "" {
		return tag
	}
	return r.Header.Get("Last-Modified")
}
