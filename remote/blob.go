package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
	"gocloud.dev/gcp"
	"google.golang.org/api/googleapi"
)

// buckets are opened once each: they hold connections and credentials.
var buckets struct {
	sync.Mutex
	open map[string]*blob.Bucket
}

type blobStore struct {
	bucket *blob.Bucket
	scheme string
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
	b, err := newBucket(context.WithoutCancel(ctx), name) // it outlives this call
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", Redacted(name), shown{err})
	}
	if buckets.open == nil {
		buckets.open = map[string]*blob.Bucket{}
	}
	buckets.open[name] = b
	return b, nil
}

func newBucket(ctx context.Context, name string) (*blob.Bucket, error) {
	u, err := url.Parse(name)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(blob.DefaultURLMux().BucketSchemes(), u.Scheme) {
		return nil, fmt.Errorf("%s:// is not known; known are http, https, s3 and gs", u.Scheme)
	}
	q := u.Query()
	switch u.Scheme {
	case "s3":
		if u.User != nil {
			return nil, fmt.Errorf("credentials don't go into the URL; give them by %s", credentials[u.Scheme])
		}
		if e := q.Get("endpoint"); e != "" && !IsURL(e) {
			return nil, fmt.Errorf("endpoint=%s lacks http:// or https://", e)
		}
		const checksums = "response_checksum_validation"
		// Else the SDK logs a warning for each part that is read without a checksum.
		if !q.Has(checksums) {
			q.Set(checksums, "when_required")
			u.RawQuery = q.Encode()
		}
	case "gs":
		// The driver goes on without credentials, and fails obscurely later.
		if os.Getenv("STORAGE_EMULATOR_HOST") == "" && q.Get("anonymous") == "" && q.Get("access_id") == "" {
			if _, err := gcp.DefaultCredentials(ctx); err != nil {
				return nil, noCredentials(u.Scheme, err)
			}
		}
	}
	return blob.OpenBucket(ctx, u.String())
}

// credentials are where each cloud's come from.
var credentials = map[string]string{
	"s3": "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or anonymous=true in the URL of a public bucket",
	"gs": "gcloud auth application-default login, or GOOGLE_APPLICATION_CREDENTIALS, or anonymous=true in the URL of a public bucket",
}

func noCredentials(scheme string, err error) error {
	return fmt.Errorf("there are no credentials that work; give them by %s (%w)", credentials[scheme], err)
}

// shown is an error whose text may have URLs, with what they must not show.
type shown struct{ error }

func (s shown) Error() string { return RedactedText(s.error.Error()) }
func (s shown) Unwrap() error { return s.error }

func openBlob(ctx context.Context, u *url.URL) (store, error) {
	name, key := bucketOf(u)
	if key == "" {
		return nil, fmt.Errorf("%s names no file; give one, or a pattern such as %s/*.tar", Redacted(u.String()), strings.TrimSuffix(Redacted(u.String()), "/"))
	}
	b, err := openBucket(ctx, name)
	return blobStore{b, u.Scheme, key}, err
}

func (b blobStore) stat(ctx context.Context) (fileStat, error) {
	a, err := b.bucket.Attributes(ctx, b.key)
	if err != nil {
		if gcerrors.Code(err) == gcerrors.NotFound && b.scheme != "file" {
			// S3 says the same of a missing file and a missing bucket.
			if _, e := b.bucket.List(&blob.ListOptions{Prefix: b.key}).Next(ctx); statusOf(e) == http.StatusNotFound {
				err = e
			}
		}
		return fileStat{}, blobError(b.scheme, err)
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
		return s, blobError(b.scheme, err)
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
		return nil, blobError(b.scheme, err)
	}
	if r.Size() != at.Size || !r.ModTime().Equal(at.Modified) {
		r.Close()
		return nil, permanent{errChanged}
	}
	return part{r, b.scheme}, nil
}

// part is an object's bytes. Google's library itself asks for the rest where
// they end too soon, and may be refused.
type part struct {
	io.ReadCloser
	scheme string
}

func (p part) Read(data []byte) (int, error) {
	n, err := p.ReadCloser.Read(data)
	if err != nil && !errors.Is(err, io.EOF) {
		err = blobError(p.scheme, err)
	}
	return n, err
}

// blobError tells errors that no further try mends, and says what does.
func blobError(scheme string, err error) error {
	err = shown{err}
	text := err.Error()
	switch status := statusOf(err); {
	case strings.Contains(text, "get credentials"):
		return permanent{noCredentials(scheme, err)}
	case strings.Contains(text, "region must be set"), strings.Contains(text, "Missing Region"):
		return permanent{fmt.Errorf("the bucket's region isn't known; give AWS_REGION, or region=us-east-1 in the URL (%w)", err)}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return permanent{fmt.Errorf("access is denied; check what the credentials may read, which come from %s (%w)", credentials[scheme], err)}
	case status == http.StatusNotFound && strings.Contains(text, "bucket"), strings.Contains(text, "NoSuchBucket"):
		return permanent{fmt.Errorf("there is no such bucket (%w)", err)}
	case status == http.StatusNotFound:
		return permanent{fmt.Errorf("there is no such file in the bucket (%w)", err)}
	case status == http.StatusMovedPermanently:
		return permanent{fmt.Errorf("the bucket is in another region; give it as AWS_REGION, or region=… in the URL (%w)", err)}
	case strings.Contains(text, "retry failed with"):
		return exhausted{err}
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500:
		return err
	case status >= 400:
		return permanent{err}
	}
	switch gcerrors.Code(err) {
	case gcerrors.NotFound, gcerrors.PermissionDenied, gcerrors.InvalidArgument, gcerrors.Unimplemented, gcerrors.FailedPrecondition:
		return permanent{err}
	}
	return err
}

// statusOf is the status that a cloud answered with, 0 if it's none.
func statusOf(err error) int {
	if e, ok := errors.AsType[*googleapi.Error](err); ok {
		return e.Code
	}
	var s3 interface{ HTTPStatusCode() int }
	if errors.As(err, &s3) {
		return s3.HTTPStatusCode()
	}
	return 0
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
			o, err := next(ctx, it, t.idle())
			if errors.Is(err, io.EOF) {
				return false, nil
			}
			if err != nil {
				return false, blobError(u.Scheme, err)
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

// next ends a call that stands still; Google's library asks again for as long as
// it may.
func next(ctx context.Context, it *blob.ListIterator, idle time.Duration) (*blob.ListObject, error) {
	ctx, cancel := context.WithTimeout(ctx, idle)
	defer cancel()
	return it.Next(ctx)
}
