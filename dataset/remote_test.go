package dataset

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "gocloud.dev/blob/fileblob"

	"arf/imaging"
	"arf/remote"
)

// tars serves two tars of 20 pictures each; down takes the server away, and
// whatever may change what it sends.
type tars struct {
	url  string
	dir  string
	down atomic.Int32 // 0 is up, noAnswer, or the status that it answers
	sent atomic.Int64
}

const noAnswer = 1

func serveTars(t *testing.T, last []byte) *tars {
	t.Helper()
	t.Setenv("ARF_CACHE", t.TempDir())
	s := &tars{dir: t.TempDir()}
	for n := range 2 {
		var entries []entry
		for i := range 20 {
			key := fmt.Sprintf("%05d", n*20+i)
			entries = append(entries, entry{name: key + ".png", content: string(picture(t, n*20+i, 16))}, entry{name: key + ".txt", content: "text " + key})
		}
		data := tarOf(t, entries...)
		if n == 1 && last != nil {
			data = append(data[:0:0], last...)
		}
		if err := os.WriteFile(filepath.Join(s.dir, fmt.Sprintf("%05d.tar", n)), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	files := http.FileServer(http.Dir(s.dir))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch status := int(s.down.Load()); status {
		case 0:
		case noAnswer:
			panic(http.ErrAbortHandler)
		default:
			w.WriteHeader(status)
			return
		}
		files.ServeHTTP(&counter{ResponseWriter: w, n: &s.sent}, r)
	}))
	s.url = server.URL
	t.Cleanup(func() {
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return s
}

type counter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

func check(t *testing.T, d Dataset, from int) {
	t.Helper()
	for i := range d.Len() {
		s, err := d.Sample(i)
		n := from + i
		if err != nil || s.Key != fmt.Sprintf("%05d", n) || s.Text != "text "+s.Key || string(s.Image) != string(picture(t, n, 16)) {
			t.Fatalf("sample %d: %s, %q, %v", i, s.Key, s.Text, err)
		}
	}
}

func TestRemoteTars(t *testing.T) {
	s := serveTars(t, nil)
	for _, path := range []string{s.url + "/{00000..00001}.tar", "file://" + s.dir + "/*.tar", "file://" + s.dir + "/"} {
		d := open(t, Source{Path: path})
		if d.Len() != 40 || ProblemsOf(d).Count != 0 || RemoteVersion(d) == "" || RemoteVersion(Limit(d, 3)) == RemoteVersion(Limit(d, 4)) {
			t.Fatalf("%s: %d samples, %v, %q", path, d.Len(), ProblemsOf(d), RemoteVersion(d))
		}
		check(t, d, 0)
	}
	// What is in the cache isn't fetched again, nor is what only was there.
	s.sent.Store(0)
	d := open(t, Source{Path: s.url + "/{00000..00001}.tar"})
	check(t, d, 0)
	if n := s.sent.Load(); n > 10 {
		t.Errorf("%d bytes were sent for what is in the cache", n)
	}
	dropped, err := filepath.Glob(filepath.Join(os.Getenv("ARF_CACHE"), "remote", "*", "file"))
	if err != nil || len(dropped) != 4 {
		t.Fatal(dropped, err)
	}
	for _, f := range dropped {
		os.Remove(f)
	}
	s.sent.Store(0)
	d = open(t, Source{Path: s.url + "/{00000..00001}.tar"})
	if n := s.sent.Load(); n > 10 {
		t.Errorf("%d bytes were sent to list tars whose index is kept", n)
	}
	one, err := d.Sample(27)
	if err != nil || string(one.Image) != string(picture(t, 27, 16)) {
		t.Error(err)
	}
	if n := s.sent.Load(); n > 4000 {
		t.Errorf("%d bytes were sent for one sample", n)
	}
	check(t, d, 0)
	// Changed on the server.
	before := RemoteVersion(d)
	if err := os.WriteFile(filepath.Join(s.dir, "00000.tar"), tarOf(t, entry{name: "x.png", content: "X"}), 0o644); err != nil {
		t.Fatal(err)
	}
	d = open(t, Source{Path: s.url + "/00000.tar"})
	if d.Len() != 1 || RemoteVersion(d) == before {
		t.Errorf("%d samples after a change", d.Len())
	}
	for path, want := range map[string]string{
		s.url + "/none.tar?t=secret":  "404",
		s.url + "/*.tar?t=secret":     "range",
		"file://" + s.dir + "/x*.tar": "no file",
		"nothing://a/b.tar":           "known are http",
	} {
		if _, err := Open(Source{Path: path}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	for _, source := range []Source{{Type: Parquet, Path: s.url + "/a.parquet"}, {Path: s.url + "/00000.tar", Split: "train"}} {
		if _, err := Open(source); err == nil {
			t.Errorf("%+v is opened", source)
		}
	}
}

// A tar that is cut short on the server gives what it has, and says so.
func TestRemoteTruncatedTar(t *testing.T) {
	whole := tarOf(t, entry{name: "00020.png", content: string(picture(t, 20, 16))}, entry{name: "00020.txt", content: "text 00020"},
		entry{name: "00021.png", content: strings.Repeat("x", 5000)})
	between := bytes.Index(whole, []byte("00021.png")) // entries
	for _, cut := range []int{len(whole) - 5000, between} {
		s := serveTars(t, whole[:cut])
		for range 2 { // scanned, and from the index
			d := open(t, Source{Path: s.url + "/{00000..00001}.tar"})
			p := ProblemsOf(d)
			if d.Len() != 21 || p.Count != 1 || !strings.Contains(p.First[0], "cut short") || !strings.Contains(p.First[0], s.url+"/00001.tar") {
				t.Errorf("%d samples, %+v", d.Len(), p)
			}
			check(t, d, 0)
		}
	}
}

// A server that goes away, or refuses from then on, ends a pass with its error;
// nothing counts as broken, and the pass can be made when it is back.
func TestServerGoesAwayDuringAPass(t *testing.T) {
	for name, how := range map[string]int32{"no answer": noAnswer, "credentials expired": http.StatusForbidden, "removed": http.StatusNotFound} {
		t.Run(name, func(t *testing.T) { goesAway(t, how) })
	}
}

func goesAway(t *testing.T, how int32) {
	s := serveTars(t, nil)
	cache, err := remote.DefaultCache()
	if err != nil {
		t.Fatal(err)
	}
	cache.Tries = remote.Tries{Count: 2, Wait: time.Millisecond}
	d := open(t, Source{Path: s.url + "/{00000..00001}.tar", cache: cache})
	files, _ := filepath.Glob(filepath.Join(os.Getenv("ARF_CACHE"), "remote", "*", "file"))
	for _, f := range files {
		os.Remove(f)
	}
	loader, err := NewLoader(d, Options{BatchSize: 5, Epochs: 1, Workers: 1, Preprocess: imaging.CLIP(16)})
	if err != nil {
		t.Fatal(err)
	}
	seen, failure := 0, error(nil)
	for batch, err := range loader.Batches(t.Context()) {
		if err != nil {
			failure = err
			break
		}
		if seen += len(batch.Samples); seen == 10 {
			s.down.Store(how)
		}
	}
	if !errors.Is(failure, remote.ErrUnavailable) || !strings.Contains(failure.Error(), s.url) || seen < 10 || seen == 40 {
		t.Errorf("%d samples, then %v", seen, failure)
	}
	if p := loader.Broken(); p.Count > 0 {
		t.Errorf("broken: %+v", p)
	}
	s.down.Store(0)
	check(t, d, 0)
}
