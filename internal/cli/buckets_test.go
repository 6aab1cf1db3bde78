package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"arf/remote"
)

// The clouds' drivers are in the program, and read from a server that speaks
// their protocol: S3's GET, HEAD and list, Google's JSON and XML interfaces.
func TestBuckets(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 500)
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.RequestURI())
		switch {
		case r.URL.Query().Get("list-type") == "2":
			fmt.Fprint(w, `<?xml version="1.0"?><ListBucketResult><Name>pairs</Name><IsTruncated>false</IsTruncated>
				<Contents><Key>cc/1.tar</Key><Size>5000</Size><LastModified>2024-01-01T00:00:00Z</LastModified></Contents>
				<Contents><Key>cc/1.json</Key><Size>5</Size><LastModified>2024-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>`)
		case strings.HasPrefix(r.URL.Path, "/storage/v1/b/pairs/o/"), strings.HasPrefix(r.URL.Path, "/b/pairs/o/"):
			if r.URL.Query().Get("alt") != "media" {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, `{"name": "cc/1.tar", "bucket": "pairs", "size": "5000", "etag": "v1", "updated": "2024-01-01T00:00:00Z", "generation": "1"}`)
				return
			}
			fallthrough
		case strings.HasSuffix(r.URL.Path, "/pairs/cc/1.tar"):
			w.Header().Set("ETag", `"v1"`)
			w.Header().Set("X-Goog-Generation", "1")
			http.ServeContent(w, r, "1.tar", time.Unix(1704067200, 0), bytes.NewReader(data))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("STORAGE_EMULATOR_HOST", host)
	options := "?endpoint=" + server.URL + "&use_path_style=true&region=us-east-1"
	cache := &remote.Cache{Dir: t.TempDir(), Limit: 1 << 20, Tries: remote.Tries{Count: 1}}
	for _, url := range []string{"s3://pairs/cc/1.tar" + options, "gs://pairs/cc/1.tar"} {
		f, err := cache.Open(t.Context(), url)
		if err != nil {
			t.Fatalf("%v\nasked: %q", err, asked)
		}
		p := make([]byte, 7)
		if _, err := f.ReadAt(p, 1234); err != nil || f.Size() != 5000 || string(p) != "4567890" {
			t.Errorf("%s: %d bytes, part %q, %v\nasked: %q", url, f.Size(), p, err, asked)
		}
		if err := f.Fetch(); err != nil {
			t.Fatal(err)
		}
		local, err := f.Local()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(local)
		local.Close()
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes, %v", url, len(got), err)
		}
	}
	found, err := remote.List(t.Context(), "s3://pairs/cc/*.tar"+options, remote.Tries{Count: 1})
	if err != nil || len(found) != 1 || !strings.HasPrefix(found[0], "s3://pairs/cc/1.tar?") {
		t.Errorf("list: %q, %v", found, err)
	}
	if _, err := cache.Open(t.Context(), "s3://pairs/cc/2.tar"+options); err == nil || !strings.Contains(err.Error(), "s3://pairs/cc/2.tar") {
		t.Errorf("a file that isn't there: %v", err)
	}
}
