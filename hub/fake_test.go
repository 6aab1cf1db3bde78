package hub

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeHub speaks as much of the hub's protocol as Python's huggingface_hub asks
// for: model info, and resolve addresses that redirect for large files to a
// storage on another host.
type fakeHub struct {
	t       *testing.T
	hub     *httptest.Server
	storage *httptest.Server

	repo, commit, branch string
	files                map[string]string
	token                string // that it wants, if any
	gated                bool

	mu       sync.Mutex
	requests []string       // method, path, range
	broken   map[string]int // by path: how many answers break off half-way
	silent   map[string]int // by path: how many answers stop half-way
	failing  int            // how many answers are 503
	noRange  bool
	corrupt  int // how many contents of the storage are other bytes
}

const large = ".safetensors .bin" // names that end so are in the storage

func isLarge(name string) bool { return strings.Contains(large, filepath.Ext(name)) }

func newFakeHub(t *testing.T, files map[string]string) *fakeHub {
	f := &fakeHub{t: t, repo: "org/model", branch: "main", commit: strings.Repeat("c0ffee12", 5), files: files, broken: map[string]int{}}
	f.hub = httptest.NewServer(http.HandlerFunc(f.serveHub))
	f.storage = httptest.NewServer(http.HandlerFunc(f.serveStorage))
	t.Cleanup(f.hub.Close)
	t.Cleanup(f.storage.Close)
	for _, key := range []string{
		"HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_IMPLICIT_TOKEN",
	} {
		t.Setenv(key, "")
	}
	t.Setenv("HF_HOME", filepath.Join(t.TempDir(), "hf"))
	t.Setenv("HF_ENDPOINT", f.hub.URL)
	return f
}

// note counts a request; true means that it has been answered with a failure.
func (f *fakeHub) note(w http.ResponseWriter, r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, strings.TrimSpace(r.Method+" "+r.URL.EscapedPath()+" "+r.Header.Get("Range")))
	if f.failing > 0 {
		f.failing--
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	return false
}

func (f *fakeHub) count(part string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.requests {
		if strings.Contains(r, part) {
			n++
		}
	}
	return n
}

func (f *fakeHub) refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("X-Error-Code", code)
	w.WriteHeader(status)
}

func (f *fakeHub) serveHub(w http.ResponseWriter, r *http.Request) {
	if f.note(w, r) {
		return
	}
	authorized := f.token == "" || r.Header.Get("Authorization") == "Bearer "+f.token
	path := strings.Trim(r.URL.EscapedPath(), "/")
	if rest, ok := strings.CutPrefix(path, "api/models/"); ok {
		repo, revision, _ := strings.Cut(rest, "/revision/")
		revision, _ = url.PathUnescape(revision)
		switch {
		case repo != f.repo || !authorized && !f.gated:
			f.refuse(w, http.StatusUnauthorized, "RepoNotFound")
			return
		case revision != f.branch && revision != f.commit:
			f.refuse(w, http.StatusNotFound, "RevisionNotFound")
			return
		}
		type sibling struct {
			Name string `json:"rfilename"`
		}
		info := map[string]any{"id": f.repo, "sha": f.commit, "siblings": []sibling{}}
		for name := range f.files {
			info["siblings"] = append(info["siblings"].([]sibling), sibling{name})
		}
		if err := json.NewEncoder(w).Encode(info); err != nil {
			f.t.Error(err)
		}
		return
	}
	// Models that were renamed redirect within the hub.
	if rest, ok := strings.CutPrefix(path, "old/name/resolve/"); ok {
		w.Header().Set("Location", "/"+f.repo+"/resolve/"+rest)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	rest, ok := strings.CutPrefix(path, f.repo+"/resolve/")
	sha, name, _ := strings.Cut(rest, "/")
	content, there := f.files[name]
	switch {
	case !ok || !there || sha != f.commit && sha != f.branch:
		f.refuse(w, http.StatusNotFound, "EntryNotFound")
		return
	case f.gated && !authorized:
		f.refuse(w, http.StatusForbidden, "GatedRepo")
		return
	}
	w.Header().Set("X-Repo-Commit", f.commit)
	if isLarge(name) {
		w.Header().Set("X-Linked-Etag", fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(content))))
		w.Header().Set("X-Linked-Size", fmt.Sprint(len(content)))
		w.Header().Set("Location", f.storage.URL+"/blob/"+name+"?signature=x")
		w.WriteHeader(http.StatusFound)
		return
	}
	w.Header().Set("Etag", fmt.Sprintf(`W/"%x"`, sha1.Sum([]byte(fmt.Sprintf("blob %d\x00%s", len(content), content)))))
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
}

func (f *fakeHub) serveStorage(w http.ResponseWriter, r *http.Request) {
	if f.note(w, r) {
		return
	}
	if r.Header.Get("Authorization") != "" {
		f.t.Error("the token was sent to the storage")
	}
	if r.URL.RawQuery != "signature=x" {
		f.t.Error("the storage's address was changed")
	}
	content := f.files[strings.TrimPrefix(r.URL.Path, "/blob/")]
	w.Header().Set("Etag", `"of-the-storage"`)
	f.mu.Lock()
	broken := f.broken[r.URL.Path] > 0
	f.broken[r.URL.Path]--
	silent := f.silent[r.URL.Path] > 0
	if silent {
		f.silent[r.URL.Path]--
	}
	if f.corrupt > 0 {
		f.corrupt--
		content = strings.Repeat("!", len(content))
	}
	noRange := f.noRange
	f.mu.Unlock()
	if noRange {
		r.Header.Del("Range")
	}
	if broken {
		w = &breaking{ResponseWriter: w, left: len(content) / 4, end: func() { panic(http.ErrAbortHandler) }}
	}
	if silent {
		w = &breaking{ResponseWriter: w, left: len(content) / 4, end: func() { <-r.Context().Done(); panic(http.ErrAbortHandler) }}
	}
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
}

// breaking ends an answer in the midst of its content.
type breaking struct {
	http.ResponseWriter
	left int
	end  func()
}

func (b *breaking) Write(p []byte) (int, error) {
	n, err := b.ResponseWriter.Write(p[:min(b.left, len(p))])
	if err != nil {
		return n, err
	}
	if b.left -= n; b.left == 0 {
		if err := http.NewResponseController(b.ResponseWriter).Flush(); err != nil {
			return n, err
		}
		b.end()
	}
	return n, nil
}

// resolve is Resolve without its pauses.
func (f *fakeHub) resolve(ref string, o Options) (string, error) {
	return resolve(f.t.Context(), ref, o, time.Millisecond)
}

func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(data)
	}
	return out
}
