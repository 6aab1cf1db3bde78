package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "gocloud.dev/blob/fileblob"
)

// impatient is for servers on this machine.
var impatient = Tries{Count: 3, Wait: time.Millisecond, Idle: 300 * time.Millisecond}

func content(n int, seed uint64) []byte {
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	data := make([]byte, n)
	rng.Read(data)
	return data
}

// server serves one file, through whatever fault stands before it.
type server struct {
	*httptest.Server
	data  []byte
	tag   string
	calls atomic.Int32
	sent  atomic.Int64
	// fault may answer a call itself, and then returns true.
	fault func(call int, w http.ResponseWriter, r *http.Request) bool
}

func serve(t *testing.T, data []byte) *server {
	s := &server{data: data, tag: `"v1"`}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		call := int(s.calls.Add(1))
		if s.fault != nil && s.fault(call, w, r) {
			return
		}
		w.Header().Set("ETag", s.tag)
		http.ServeContent(counted{w, &s.sent}, r, "", time.Time{}, bytes.NewReader(s.data))
	}))
	t.Cleanup(s.Close)
	return s
}

type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c counted) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

func cache(t *testing.T, limit int64) *Cache {
	return &Cache{Dir: filepath.Join(t.TempDir(), "[cache]"), Limit: limit, Tries: impatient} // no pattern
}

func open(t *testing.T, c *Cache, url string) *File {
	t.Helper()
	f, err := c.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func whole(t *testing.T, f *File) []byte {
	t.Helper()
	if err := f.Fetch(); err != nil {
		t.Fatal(err)
	}
	local, err := f.Local()
	if err != nil {
		t.Fatal(err)
	}
	defer local.Close()
	data, err := io.ReadAll(local)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestParts(t *testing.T) {
	data := content(100_000, 1)
	s := serve(t, data)
	f := open(t, cache(t, 1<<20), s.URL+"/a.tar")
	if f.Size() != 100_000 || f.Version() != `"v1" 100000` {
		t.Errorf("%d bytes, %s", f.Size(), f.Version())
	}
	for i := range 10 {
		p := make([]byte, 100)
		if n, err := f.ReadAt(p, int64(i*9000)); err != nil || n != 100 || !bytes.Equal(p, data[i*9000:i*9000+100]) {
			t.Fatalf("part %d: %d, %v", i, n, err)
		}
	}
	if sent := s.sent.Load(); sent > 2000 {
		t.Errorf("%d bytes were sent for 10 parts of 100", sent)
	}
	if _, err := f.ReadAt(make([]byte, 10), 99_995); err == nil {
		t.Error("read beyond the end")
	}
	// Many parts bring the whole file.
	for i := range 100 {
		if _, err := f.ReadAt(make([]byte, 100), int64(i*900)); err != nil {
			t.Fatal(err)
		}
	}
	if calls := s.calls.Load(); calls > 40 {
		t.Errorf("%d calls for 110 parts", calls)
	}
	if got := whole(t, f); !bytes.Equal(got, data) {
		t.Error("the cached file is another")
	}
}

// Each fault, what becomes of a fetch, and whether it got the whole file.
func TestFaults(t *testing.T) {
	data := content(200_000, 2)
	cut := func(w http.ResponseWriter, r *http.Request, n int) bool {
		w.Header().Set("ETag", `"v1"`)
		var from int
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		w.Header().Set("Content-Length", fmt.Sprint(len(data)-from))
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(data[from:min(from+n, len(data))])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	for name, c := range map[string]struct {
		fault func(call int, w http.ResponseWriter, r *http.Request) bool // call 1 opens the file
		err   string                                                      // "" if it must succeed
		calls int                                                         // 0: any
	}{
		"500 once": {fault: func(call int, w http.ResponseWriter, _ *http.Request) bool {
			if call == 2 {
				http.Error(w, "no", http.StatusInternalServerError)
			}
			return call == 2
		}, calls: 3},
		"500 always": {fault: func(call int, w http.ResponseWriter, _ *http.Request) bool {
			if call > 1 {
				http.Error(w, "no", http.StatusInternalServerError)
			}
			return call > 1
		}, err: "500 Internal Server Error; the same command goes on", calls: 4},
		"429 with a time": {fault: func(call int, w http.ResponseWriter, _ *http.Request) bool {
			if call == 2 {
				w.Header().Set("Retry-After", "1")
				http.Error(w, "slowly", http.StatusTooManyRequests)
			}
			return call == 2
		}, calls: 3},
		"404 later": {fault: func(call int, w http.ResponseWriter, r *http.Request) bool {
			if call > 1 {
				http.NotFound(w, r)
			}
			return call > 1
		}, err: "404", calls: 2},
		"cut again and again": {fault: func(call int, w http.ResponseWriter, r *http.Request) bool {
			return call > 1 && call < 20 && cut(w, r, 11_000)
		}},
		"goes away": {fault: func(call int, w http.ResponseWriter, r *http.Request) bool {
			if call == 2 {
				return cut(w, r, 50_000)
			}
			if call > 2 {
				panic(http.ErrAbortHandler)
			}
			return false
		}, err: "can't be read"},
		"stands still": {fault: func(call int, w http.ResponseWriter, r *http.Request) bool {
			if call > 1 {
				<-r.Context().Done()
			}
			return call > 1
		}, err: "no answer for"},
		"another file meanwhile": {fault: func(call int, w http.ResponseWriter, r *http.Request) bool {
			if call > 1 {
				w.Header().Set("ETag", `"v2"`)
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content(200_000, 3)))
			}
			return call > 1
		}, err: "was changed on the server"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, data)
			s.fault = c.fault
			dir := cache(t, 1<<20)
			f := open(t, dir, s.URL+"/a.tar?signature=secret")
			err := f.Fetch()
			if c.err == "" {
				if err != nil {
					t.Fatal(err)
				}
				if got := whole(t, f); !bytes.Equal(got, data) {
					t.Error("another file came")
				}
			} else if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), s.URL) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v", err)
			}
			if temporary := errors.Is(err, ErrUnavailable); err != nil && temporary != slices.Contains([]string{"500 always", "goes away", "stands still"}, name) {
				t.Errorf("unavailable is %v: %v", temporary, err)
			}
			if calls := int(s.calls.Load()); c.calls > 0 && calls != c.calls {
				t.Errorf("%d calls, want %d", calls, c.calls)
			}
			// When the server is well again the fetch goes on where it was.
			if c.err != "" {
				part := 0
				if info, err := os.Stat(filepath.Join(f.dir, partName)); err == nil {
					part = int(info.Size())
				}
				s.fault = nil
				s.sent.Store(0)
				if got := whole(t, open(t, dir, s.URL+"/a.tar?signature=secret")); !bytes.Equal(got, data) {
					t.Error("another file came")
				}
				if sent := int(s.sent.Load()); sent > len(data)-part+1 {
					t.Errorf("%d bytes were sent, of which %d were there", sent, part)
				}
				if name == "goes away" && part != 50_000 {
					t.Errorf("%d bytes were kept of 50000", part)
				}
			}
		})
	}
}

// What keeps a part from being read isn't the part's fault, whatever it is.
func TestPartsThatCantBeHad(t *testing.T) {
	data := content(5000, 12)
	s := serve(t, data)
	c := cache(t, 1<<20)
	f := open(t, c, s.URL+"/a.tar?signature=secret")
	p := make([]byte, 10)
	read := func(name, want string) {
		t.Helper()
		_, err := f.ReadAt(p, 100)
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.fault = func(_ int, w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "expired", http.StatusForbidden)
		return true
	}
	read("403", "403 Forbidden")
	s.fault, s.tag = nil, `"v2"`
	read("another file", "was changed on the server")
	s.tag, c.Limit = `"v1"`, 1000
	f.at.Ranges = false
	read("a full cache", "raise ARF_CACHE_GB")
	if _, err := f.ReadAt(p, 4995); err == nil || errors.Is(err, ErrUnavailable) {
		t.Errorf("beyond the end: %v", err)
	}
	f.at.Ranges = true
	if _, err := f.ReadAt(p, 100); err != nil || !bytes.Equal(p, data[100:110]) {
		t.Errorf("the server is well again: %v", err)
	}
}

func TestServerWithoutRanges(t *testing.T) {
	data := content(5000, 4)
	calls := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls++
		w.Header().Set("Content-Length", "5000")
		if calls == 2 { // half of it
			w.Write(data[:2500])
			panic(http.ErrAbortHandler)
		}
		w.Write(data)
	}))
	defer s.Close()
	f := open(t, cache(t, 1<<20), s.URL+"/a.tar")
	p := make([]byte, 10)
	if _, err := f.ReadAt(p, 100); err != nil || !bytes.Equal(p, data[100:110]) {
		t.Fatal(err)
	}
	if got := whole(t, f); !bytes.Equal(got, data) {
		t.Error("another file came")
	}
}

func TestOpenErrors(t *testing.T) {
	s := serve(t, nil)
	s.fault = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Path {
		case "/forbidden":
			http.Error(w, "no", http.StatusForbidden)
		case "/empty":
			return false
		default:
			http.NotFound(w, r)
		}
		return true
	}
	closed := httptest.NewServer(nil)
	closed.Close()
	c := cache(t, 1<<20)
	for url, want := range map[string]string{
		s.URL + "/none.tar":                     "404",
		s.URL + "/forbidden":                    "403",
		s.URL + "/empty":                        "empty",
		closed.URL + "/a.tar":                   "connection refused",
		"ftp://example.org/a.tar":               "known are http",
		"file://" + t.TempDir() + "/none.tar":   "none.tar",
		"file://" + t.TempDir() + "/":           "names no file",
		"http://user:secret@127.0.0.1:1/a.tar":  "127.0.0.1",
		"http://127.0.0.1:1/a.tar?token=secret": "127.0.0.1",
	} {
		if _, err := c.Open(t.Context(), url); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	if left, _ := os.ReadDir(c.Dir); len(left) > 0 {
		t.Errorf("%d folders are left in the cache", len(left))
	}
}

func TestCacheIsBounded(t *testing.T) {
	c := cache(t, 250_000)
	used := func() (n int64) {
		files, _ := fs.Glob(os.DirFS(c.Dir), "*/"+wholeName)
		for _, f := range files {
			info, err := os.Stat(filepath.Join(c.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			n += info.Size()
		}
		return n
	}
	s := serve(t, content(100_000, 5))
	var files []*File
	for i := range 4 {
		f := open(t, c, fmt.Sprintf("%s/%d.tar", s.URL, i))
		files = append(files, f)
		if i == 3 { // the first was used last
			then := time.Now().Add(-time.Hour)
			os.Chtimes(filepath.Join(files[1].dir, wholeName), then, then)
			os.Chtimes(filepath.Join(files[2].dir, wholeName), then, then)
		}
		if err := f.Fetch(); err != nil {
			t.Fatal(err)
		}
		if n := used(); n > c.Limit {
			t.Errorf("%d bytes are kept, of at most %d", n, c.Limit)
		}
	}
	var kept []int
	for i, f := range files {
		if f.here() {
			kept = append(kept, i)
		}
	}
	if !slices.Contains(kept, 3) || len(kept) != 2 {
		t.Errorf("kept are %v", kept)
	}
	c.Limit = 50_000
	if err := open(t, c, s.URL+"/9.tar").Fetch(); err == nil || !strings.Contains(err.Error(), "ARF_CACHE_GB") {
		t.Errorf("larger than the cache: %v", err)
	}
	// Another version replaces the one in the cache.
	c.Limit = 1 << 20
	s.data, s.tag = content(70_000, 6), `"v2"`
	f := open(t, c, s.URL+"/3.tar")
	if f.here() {
		t.Error("another version is taken from the cache")
	}
	if got := whole(t, f); !bytes.Equal(got, s.data) {
		t.Error("an old version")
	}
}

// One fetch serves all that wait for it.
func TestSideBySide(t *testing.T) {
	data := content(300_000, 7)
	s := serve(t, data)
	c := cache(t, 1<<20)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			f, err := c.Open(t.Context(), s.URL+"/a.tar")
			if err == nil {
				err = f.Fetch()
			}
			p := make([]byte, 1000)
			if err == nil {
				_, err = f.ReadAt(p, 5000)
			}
			if err != nil || !bytes.Equal(p, data[5000:6000]) {
				t.Errorf("%v", err)
			}
		})
	}
	group.Wait()
	if sent := s.sent.Load(); sent > 300_100 {
		t.Errorf("%d bytes were sent for a file of 300000", sent)
	}
}

func TestContextEndsAFetch(t *testing.T) {
	s := serve(t, content(1000, 8))
	s.fault = func(call int, w http.ResponseWriter, _ *http.Request) bool {
		if call > 1 {
			http.Error(w, "no", http.StatusServiceUnavailable)
		}
		return call > 1
	}
	ctx, cancel := context.WithCancel(t.Context())
	c := &Cache{Dir: t.TempDir(), Limit: 1 << 20, Tries: Tries{Wait: time.Hour}}
	f, err := c.Open(ctx, s.URL+"/a.tar")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := f.Fetch(); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestBlobs(t *testing.T) {
	dir := t.TempDir()
	data := content(50_000, 9)
	for _, name := range []string{"b.tar", "a.tar", "c.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	url := "file://" + dir
	for pattern, want := range map[string][]string{"/": {"a.tar", "b.tar"}, "/b*": {"b.tar"}, "/*.t[ax]*": {"a.tar", "b.tar", "c.txt"}} {
		got, err := List(t.Context(), url+pattern, impatient)
		for i := range want {
			want[i] = url + "/" + want[i]
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v", pattern, got, err)
		}
	}
	if _, err := List(t.Context(), url+"/x*", impatient); err == nil {
		t.Error("an empty list")
	}
	if _, err := List(t.Context(), "http://127.0.0.1/*.tar", impatient); err == nil || !strings.Contains(err.Error(), "range") {
		t.Errorf("a list over http: %v", err)
	}
	f := open(t, cache(t, 1<<20), url+"/a.tar")
	p := make([]byte, 100)
	if _, err := f.ReadAt(p, 4000); err != nil || !bytes.Equal(p, data[4000:4100]) {
		t.Error(err)
	}
	if got := whole(t, f); !bytes.Equal(got, data) {
		t.Error("another file came")
	}
	// Changed while it is read.
	g := open(t, cache(t, 1<<20), url+"/b.tar")
	if err := os.WriteFile(filepath.Join(dir, "b.tar"), data[:100], 0o644); err != nil {
		t.Fatal(err)
	}
	if err := g.Fetch(); !errors.Is(err, errChanged) {
		t.Errorf("changed meanwhile: %v", err)
	}
	// By another file of the same size, as tars are padded.
	c := cache(t, 1<<20)
	g = open(t, c, url+"/a.tar")
	then := time.Now().Add(-time.Hour)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "a.tar"), content(50_000, 10), 0o644), os.Chtimes(filepath.Join(dir, "a.tar"), then, then)); err != nil {
		t.Fatal(err)
	}
	if err := g.Fetch(); !errors.Is(err, errChanged) {
		t.Errorf("changed to one of the same size: %v", err)
	}
	for range 2 { // opened again, it's the new one
		if got := whole(t, open(t, c, url+"/a.tar")); !bytes.Equal(got, content(50_000, 10)) {
			t.Error("another file came")
		}
	}
}

func TestDefaultCache(t *testing.T) {
	t.Setenv("ARF_CACHE", "/somewhere")
	t.Setenv("ARF_CACHE_GB", "0.5")
	if c, err := DefaultCache(); err != nil || c.Dir != "/somewhere/remote" || c.Limit != 500_000_000 {
		t.Errorf("%+v, %v", c, err)
	}
	for _, bad := range []string{"0", "-1", "NaN", "much"} {
		t.Setenv("ARF_CACHE_GB", bad)
		if _, err := DefaultCache(); err == nil || !strings.Contains(err.Error(), "ARF_CACHE_GB") {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if !IsURL("s3://bucket/x") || IsURL("a/b.tar") || IsURL("C:/x") || IsURL("a/b{1..2}://c") {
		t.Error("URLs")
	}
}

func TestRedactedText(t *testing.T) {
	for text, want := range map[string]string{
		"https://b/{00000..00331}.tar?X-Amz-Signature=secret":                      "https://b/{00000..00331}.tar",
		"data/a.tar::s3://b/*.tar?endpoint=h:9000::https://c/1.tar?t=secret":       "data/a.tar::s3://b/*.tar::https://c/1.tar",
		"http://me:secret@host:8000/v1":                                            "http://host:8000/v1",
		"http://localhost:8000/v1":                                                 "http://localhost:8000/v1",
		"http://[::1]:8000/v1":                                                     "http://[::1]:8000/v1",
		"arf run c.yaml --set 'data.pool.path=https://b/a.tar?t=secret' --verbose": "arf run c.yaml --set 'data.pool.path=https://b/a.tar' --verbose",
		"pool:\n  path: https://b/a.tar?t=secret\n  type: webdataset\n":            "pool:\n  path: https://b/a.tar\n  type: webdataset\n",
		"a/what?.tar me@host":                                                      "a/what?.tar me@host",
	} {
		if got := RedactedText(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
