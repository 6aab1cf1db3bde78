package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

// buckets are opened once each: they hold connections and credentials.
var buckets struct {
	sync.Mutex
	open map[string]*blob.Bucket
}

type blobStore struct {
	bucket *blob.Bucket
	key    string
}

// bucketOf splits a URL into its bucket's and the key. A file's bucket is its folder.
func bucketOf(u *url.URL) (bucket, key string) {
	b := *u
	key = strings.TrimPrefix(u.Path, "/")
	b.Path = ""
	if u.Scheme == "file" {
		b.Path, key = path.Split(u.Path)
	}
	b.RawPath = ""
	return b.String(), key
}

func openBucket(ctx context.Context, name string) (*blob.Bucket, error) {
	buckets.Lock()
	defer buckets.Unlock()
	if b := buckets.open[name]; b != nil {
		return b, nil
	}
	// The bucket outlives this call.
	b, err := blob.OpenBucket(context.WithoutCancel(ctx), name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w; known are http, https, s3 and gs, and credentials are those of the cloud's own tools", Redacted(name), err)
	}
	if buckets.open == nil {
		buckets.open = map[string]*blob.Bucket{}
	}
	buckets.open[name] = b
	return b, nil
}

func openBlob(ctx context.Context, u *url.URL) (store, error) {
	name, key := bucketOf(u)
	if key == "" {
		return nil, fmt.Errorf("%s names no file; give one, or a pattern such as %s/*.tar", Redacted(u.String()), Redacted(u.String()))
	}
	b, err := openBucket(ctx, name)
	return blobStore{b, key}, err
}

func (b blobStore) stat(ctx context.Context) (fileStat, error) {
	a, err := b.bucket.Attributes(ctx, b.key)
	if err != nil {
		return fileStat{}, blobError(err)
	}
	s := fileStat{Size: a.Size, Version: a.ETag, Ranges: true}
	if s.Version == "" {
		s.Version = a.ModTime.UTC().Format(time.RFC3339Nano)
	}
	if s.Size == 0 {
		return s, nil
	}
	// Parts carry no ETag, but a time; Google's attributes have another one than its parts.
	r, err := b.bucket.NewRangeReader(ctx, b.key, 0, 1, nil)
	if err != nil {
		return s, blobError(err)
	}
	defer r.Close()
	if r.Size() != s.Size {
		return s, errors.New("the file was changed while it was opened")
	}
	s.Modified = r.ModTime()
	return s, nil
}

func (b blobStore) get(ctx context.Context, at fileStat, offset, length int64) (io.ReadCloser, error) {
	r, err := b.bucket.NewRangeReader(ctx, b.key, offset, length, nil)
	if err != nil {
		return nil, blobError(err)
	}
	if r.Size() != at.Size || !r.ModTime().Equal(at.Modified) {
		r.Close()
		return nil, permanent{errChanged}
	}
	return r, nil
}

// blobError tells errors that no further try mends.
func blobError(err error) error {
	switch gcerrors.Code(err) {
	case gcerrors.NotFound, gcerrors.PermissionDenied, gcerrors.InvalidArgument, gcerrors.Unimplemented, gcerrors.FailedPrecondition:
		return permanent{err}
	}
	return err
}

// List writes out a pattern with * or [ ] in its last part, or a folder (its
// .tar files), of a bucket. http(s) has no lists.
func List(ctx context.Context, pattern string, t Tries) ([]string, error) {
	u, err := url.Parse(pattern)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		return nil, fmt.Errorf("%s: http has no lists of files; write the range out, as in %s", Redacted(pattern), "https://server/{00000..00099}.tar")
	}
	name, key := bucketOf(u)
	prefix, match := path.Split(key)
	if match == "" {
		match = "*.tar"
	}
	b, err := openBucket(ctx, name)
	if err != nil {
		return nil, err
	}
	var found []string
	err = t.do(ctx, "list "+Redacted(pattern), func(ctx context.Context) (bool, error) {
		found = nil
		for it := b.List(&blob.ListOptions{Prefix: prefix, Delimiter: "/"}); ; {
			o, err := it.Next(ctx)
			if errors.Is(err, io.EOF) {
				return false, nil
			}
			if err != nil {
				return false, blobError(err)
			}
			ok, err := path.Match(match, path.Base(o.Key))
			if err != nil {
				return false, permanent{err}
			}
			if ok && !o.IsDir {
				file := *u
				file.Path = "/" + o.Key
				if u.Scheme == "file" {
					file.Path = path.Join(path.Dir(u.Path), o.Key)
				}
				file.RawPath = ""
				found = append(found, file.String())
			}
		}
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("%s: no file there has such a name", Redacted(pattern))
	}
	slices.Sort(found)
	return found, err
}
