// Package buckettest serves buckets from memory, for tests: S3's protocol, as a
// MinIO does with path-style URLs, and Google's JSON and XML interfaces, as its
// client uses them of an emulator. It speaks what reading needs: lists by prefix
// (in pages), what is known of an object, and objects or ranges of them. Requests
// to S3 must be signed; whose signature it is isn't checked.
package buckettest

import (
	"bytes"
	"cmp"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// page is how many objects a list has at once.
const page = 2

// Server is one, with the objects of its only bucket.
type Server struct {
	*httptest.Server
	Bucket string

	mu      sync.Mutex
	objects map[string][]byte
	fault   func(Call, http.ResponseWriter) bool
	calls   []Call
	sent    int64
}

// Call is what a client asks for.
type Call struct {
	What string // "list", "stat" or "get"
	Key  string // of an object, or the prefix of a list
	From int64  // of a get, in bytes
}

// New starts a server, which ends with the test. Its bucket has a name of its
// own, as buckets stay open in the program.
func New(t *testing.T, objects map[string][]byte) *Server {
	s := &Server{objects: maps.Clone(objects)}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	s.Bucket = "pairs-" + s.URL[strings.LastIndex(s.URL, ":")+1:]
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// S3 is the URL of a key or a pattern of keys.
func (s *Server) S3(key string) string {
	return "s3://" + s.Bucket + "/" + key + "?endpoint=" + url.QueryEscape(s.URL) + "&use_path_style=true&region=us-east-1"
}

// GS is the same for a program whose environment has Emulator.
func (s *Server) GS(key string) string { return "gs://" + s.Bucket + "/" + key }

// Emulator is what STORAGE_EMULATOR_HOST must be.
func (s *Server) Emulator() string { return strings.TrimPrefix(s.URL, "http://") }

// Set puts an object into the bucket.
func (s *Server) Set(key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = data
}

// Fault has f see each call from now on; where it answers itself it returns true.
func (s *Server) Fault(f func(Call, http.ResponseWriter) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.calls, s.sent = f, nil, 0
}

// Calls are those since the last Fault, and the bytes of objects sent to them.
func (s *Server) Calls() ([]Call, int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls), s.sent
}

// Refuse answers as both clouds do: with a status and a code in words, such as
// 403 and AccessDenied, in XML and in JSON.
func Refuse(w http.ResponseWriter, status int, code string) {
	if w.Header().Get("Content-Type") == "application/json" {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": status, "message": code}})
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, code)
}

// Cut sends the object's bytes from the call's place up to byte to, of more that
// are announced, and cuts the connection.
func (s *Server) Cut(c Call, w http.ResponseWriter, to int64) {
	data, _ := s.object(c.Key)
	stamp(w, data)
	w.Header().Set("Content-Length", fmt.Sprint(int64(len(data))-c.From))
	if c.From > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", c.From, len(data)-1, len(data)))
		w.WriteHeader(http.StatusPartialContent)
	}
	n, _ := w.Write(data[c.From:max(c.From, to)])
	s.count(n)
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

func (s *Server) object(key string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.objects[key]
	return data, ok
}

func (s *Server) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent += int64(n)
}

// changed is when all objects were: their content tells them apart.
var changed = time.Unix(1704067200, 0).UTC()

func tag(data []byte) string {
	sum := md5.Sum(data)
	return hex.EncodeToString(sum[:])
}

func stamp(w http.ResponseWriter, data []byte) {
	w.Header().Set("ETag", `"`+tag(data)+`"`)
	w.Header().Set("X-Goog-Generation", "1")
	w.Header().Set("Last-Modified", changed.Format(http.TimeFormat))
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	bucket, call, google := parse(r)
	if google {
		w.Header().Set("Content-Type", "application/json")
	}
	s.mu.Lock()
	s.calls = append(s.calls, call)
	fault := s.fault
	s.mu.Unlock()
	signed := strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	data, ok := s.object(call.Key)
	switch {
	case fault != nil && fault(call, w):
	case r.URL.Query().Get("x-id")+r.URL.Query().Get("list-type") != "" && !signed:
		Refuse(w, http.StatusForbidden, "AccessDenied")
	case bucket != s.Bucket:
		Refuse(w, http.StatusNotFound, "NoSuchBucket")
	case call.What == "list":
		s.list(w, r, call.Key, google)
	case !ok:
		Refuse(w, http.StatusNotFound, "NoSuchKey")
	case google:
		answerJSON(w, about(s.Bucket, call.Key, data))
	default:
		stamp(w, data)
		http.ServeContent(counted{w, s}, r, "", changed, bytes.NewReader(data))
	}
}

// parse tells the bucket, what is asked for, and whether in Google's JSON.
func parse(r *http.Request) (bucket string, c Call, google bool) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	if rest, ok := strings.CutPrefix(path, "storage/v1/b/"); ok {
		bucket, rest, _ = strings.Cut(rest, "/")
		key, _ := url.PathUnescape(strings.TrimPrefix(strings.TrimPrefix(rest, "o"), "/"))
		if key == "" {
			return bucket, Call{What: "list", Key: r.URL.Query().Get("prefix")}, true
		}
		return bucket, Call{What: "stat", Key: key}, true
	}
	bucket, path, _ = strings.Cut(path, "/")
	c = Call{What: "get"}
	c.Key, _ = url.PathUnescape(path)
	switch {
	case c.Key == "":
		c = Call{What: "list", Key: r.URL.Query().Get("prefix")}
	case r.Method == http.MethodHead:
		c.What = "stat"
	default:
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &c.From)
	}
	return bucket, c, false
}

type counted struct {
	http.ResponseWriter
	s *Server
}

func (c counted) Write(p []byte) (int, error) {
	c.s.count(len(p))
	return c.ResponseWriter.Write(p)
}

func about(bucket, key string, data []byte) map[string]string {
	return map[string]string{
		"kind": "storage#object", "name": key, "bucket": bucket, "size": fmt.Sprint(len(data)), "etag": tag(data),
		"updated": changed.Format(time.RFC3339), "generation": "1",
	}
}

func answerJSON(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

// list gives the next page of the objects below a prefix; what has a further /
// is a folder.
func (s *Server) list(w http.ResponseWriter, r *http.Request, prefix string, google bool) {
	q := r.URL.Query()
	after := cmp.Or(q.Get("continuation-token"), q.Get("pageToken"))
	s.mu.Lock()
	defer s.mu.Unlock()
	var keys, folders []string
	more := false
	for _, key := range slices.Sorted(maps.Keys(s.objects)) {
		rest, below := strings.CutPrefix(key, prefix)
		switch folder, _, deep := strings.Cut(rest, "/"); {
		case !below || key <= after:
		case deep && q.Get("delimiter") == "/":
			if folder = prefix + folder + "/"; after == "" && !slices.Contains(folders, folder) {
				folders = append(folders, folder)
			}
		case len(keys) == page:
			more = true
		default:
			keys = append(keys, key)
		}
	}
	next := ""
	if more {
		next = keys[len(keys)-1]
	}
	if google {
		items := []map[string]string{}
		for _, key := range keys {
			items = append(items, about(s.Bucket, key, s.objects[key]))
		}
		answerJSON(w, map[string]any{"kind": "storage#objects", "items": items, "prefixes": folders, "nextPageToken": next})
		return
	}
	type content struct{ Key, LastModified, ETag, Size string }
	type common struct{ Prefix string }
	result := struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Name                  string
		IsTruncated           bool
		NextContinuationToken string `xml:",omitempty"`
		Contents              []content
		CommonPrefixes        []common
	}{Name: s.Bucket, IsTruncated: more, NextContinuationToken: next}
	for _, key := range keys {
		result.Contents = append(result.Contents, content{key, changed.Format(time.RFC3339), `"` + tag(s.objects[key]) + `"`, fmt.Sprint(len(s.objects[key]))})
	}
	for _, f := range folders {
		result.CommonPrefixes = append(result.CommonPrefixes, common{f})
	}
	w.Header().Set("Content-Type", "application/xml")
	_ = xml.NewEncoder(w).Encode(result)
}
