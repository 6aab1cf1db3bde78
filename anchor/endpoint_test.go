package anchor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"arf/captioner"
	"arf/dataset"
	"arf/internal/cliptest"
)

// chat is a server of chat completions that says how large a picture's JPEG is,
// and the seed, so that each caption has its own text.
type chat struct {
	*httptest.Server
	mu       sync.Mutex
	requests map[string]int // by answer
	all      int
	broken   func(n int) bool // answers half a JSON in place of request n
	refused  func(n int) bool
}

func newChat(t *testing.T) *chat {
	c := &chat{requests: map[string]int{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var q struct {
			Seed     int64 `json:"seed"`
			Messages []struct {
				Content []struct {
					Text     string               `json:"text"`
					ImageURL struct{ URL string } `json:"image_url"`
				} `json:"content"`
			} `json:"messages"`
		}
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		text := fmt.Sprintf("there is a red disc of %d bytes, %d", len(q.Messages[0].Content[0].ImageURL.URL), q.Seed)
		c.mu.Lock()
		n := c.all
		c.all++
		c.requests[text]++
		c.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		switch {
		case c.broken != nil && c.broken(n):
			fmt.Fprint(w, `{"choices":[{"message":`)
		case c.refused != nil && c.refused(n):
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":{"message":"not this one"}}`)
		default:
			json.NewEncoder(w).Encode(map[string]any{
				"choices": []any{map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": text}}},
				"usage":   map[string]any{"prompt_tokens": 50, "completion_tokens": 6},
			})
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// endpoint keeps answers in dir.
func endpoint(t *testing.T, url, dir string, o captioner.EndpointOptions) *captioner.Endpoint {
	t.Helper()
	o.URL, o.Model, o.Answers = url+"/v1", "m", dir
	e, err := captioner.NewEndpoint(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The child of the next test: asks the server slowly until it's killed.
func TestEndpointChild(t *testing.T) {
	dir := os.Getenv("ARF_TEST_ENDPOINT_CHILD")
	if dir == "" {
		t.Skip("only as a child of TestEndpointSurvivesKill")
	}
	model := cliptest.Model(t, 1)
	o := captionOptions()
	o.Progress = func(done, total int) { time.Sleep(200 * time.Millisecond) }
	_, err := Caption(t.Context(), filepath.Join(dir, "captions.jsonl"), openData(t, filepath.Join(dir, "data")), endpoint(t, os.Getenv("ARF_TEST_ENDPOINT_URL"), dir, captioner.EndpointOptions{}), model, o)
	t.Fatal("not killed:", err)
}

// killed captions 24 pictures of dir/data into dir/captions.jsonl in a process
// that it kills midway, and tells how many have captions.
func killed(t *testing.T, dir string, server *chat) int {
	t.Helper()
	cliptest.Folder(t, filepath.Join(dir, "data"), []string{"disc", "bar"}, 12, 0)
	child := exec.Command(os.Args[0], "-test.run=^TestEndpointChild$")
	child.Env = append(os.Environ(), "ARF_TEST_ENDPOINT_CHILD="+dir, "ARF_TEST_ENDPOINT_URL="+server.URL)
	var output bytes.Buffer
	child.Stdout, child.Stderr = &output, &output
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := func() int {
		data, _ := os.ReadFile(filepath.Join(dir, "captions.jsonl"))
		return bytes.Count(data, []byte("\n"))
	}
	for deadline := time.Now().Add(time.Minute); lines() < 8 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if err := child.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	child.Wait()
	survived := lines()
	if survived < 8 || survived >= 24 {
		t.Fatalf("%d lines after the kill; the child said: %s", survived, output.String())
	}
	return survived
}

// answers counts those that are kept in dir, to any question.
func answers(t *testing.T, dir string) int {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "answers-*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n += bytes.Count(data, []byte("\n")) - 1 // the question
	}
	return n
}

// A kill loses what was under way: what was answered isn't asked for again, and
// counts in the plan and the cap.
func TestEndpointSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "captions.jsonl")
	server := newChat(t)
	lines := killed(t, dir, server)
	answered := answers(t, dir)
	if asked := server.all; answered < 3*lines || answered < asked-4 { // the default's concurrency
		t.Errorf("of %d requests, %d answers and %d lines survived", asked, answered, lines)
	}
	data := openData(t, filepath.Join(dir, "data"))
	model := cliptest.Model(t, 1)
	o := captionOptions()
	var planned captioner.Estimate
	o.Planned = func(e captioner.Estimate) { planned = e }
	if _, err := Caption(t.Context(), path, data, endpoint(t, server.URL, filepath.Dir(path), captioner.EndpointOptions{MaxRequests: 71}), model, o); !errors.Is(err, captioner.ErrCap) || !strings.Contains(err.Error(), "max_requests is 71") {
		t.Errorf("a cap below what is needed: %v", err)
	}
	s, err := Caption(t.Context(), path, data, endpoint(t, server.URL, filepath.Dir(path), captioner.EndpointOptions{MaxRequests: 72}), model, o)
	if err != nil {
		t.Fatal(err)
	}
	left := 72 - answered
	if want := (captioner.Estimate{Usage: captioner.Usage{Requests: left, InputTokens: 50 * left, OutputTokens: 6 * left}, Measured: true, Reused: 3*(24-lines+lines%o.BatchSize) - left}); planned != want {
		t.Errorf("planned %+v, want %+v", planned, want)
	}
	if s.Captions != 72 || s.Usage != (captioner.Usage{Requests: 72, InputTokens: 72 * 50, OutputTokens: 72 * 6}) || s.LogProb != 0 || s.Perplexity != 0 {
		t.Errorf("%+v", s)
	}
	if again := server.all - 72; len(server.requests) != 72 || again > 4 {
		t.Errorf("%d captions were asked for, %d of them again", len(server.requests), again)
	}
	records, err := ReadCaptions(path)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		if r.Row != i || len(r.Captions) != 3 || r.Captions[0].LogProb != nil || r.Captioner != "test" {
			t.Errorf("%+v", r)
		}
	}
}

// A server that goes mad ends the run in a state that goes on; images that it
// refuses are counted and don't.
func TestEndpointFaultsLeaveAResumableRun(t *testing.T) {
	model := cliptest.Model(t, 1)
	var data dataset.Dataset = openData(t, folder(t, []string{"disc"}, 12, 0))
	path := filepath.Join(t.TempDir(), "captions.jsonl")
	server := newChat(t)
	server.broken = func(n int) bool { return n >= 14 }
	server.refused = func(n int) bool { return n == 2 }
	o := captionOptions()
	o.DropBoilerplate, o.Generate.N, o.Generate.Prompt = true, 1, "Say what it is."
	_, err := Caption(t.Context(), path, data, endpoint(t, server.URL, filepath.Dir(path), captioner.EndpointOptions{}), model, o)
	if err != nil {
		t.Fatal(err) // 12 requests, so nothing was broken yet
	}
	records, err := ReadCaptions(path)
	if err != nil || len(records) != 12 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	refused := 0
	for _, r := range records {
		if len(r.Refusals) > 0 && len(r.Captions) == 0 && strings.Contains(r.Refusals[0], "not this one") {
			refused++
		} else if len(r.Captions) != 1 || !strings.HasPrefix(r.Captions[0].Text, "a red disc") || r.Prompt != "Say what it is." {
			t.Errorf("%+v", r)
		}
	}
	s, err := ReadCaptionSummary(path)
	if err != nil || refused != 1 || s.Refused != 1 || s.Without != 1 || s.Boilerplate != 11 || s.Prompt != "Say what it is." {
		t.Errorf("%d refused, %+v, %v", refused, s, err)
	}

	o.Generate.Seed++ // anew; the first batch has requests 12 to 15
	server.broken = func(n int) bool { return n >= 18 }
	_, err = Caption(t.Context(), path, data, endpoint(t, server.URL, filepath.Dir(path), captioner.EndpointOptions{Concurrency: 1}), model, o)
	if err == nil || !strings.Contains(err.Error(), "the same command goes on") || !strings.Contains(err.Error(), path) {
		t.Errorf("half a JSON: %v", err)
	}
	if records, err = ReadCaptions(path); err != nil || len(records) != 4 {
		t.Errorf("%d records, %v", len(records), err)
	}
	spent := server.all - 12
	if s, err = ReadCaptionSummary(path); err != nil || spent != 7 || s.Complete {
		t.Errorf("%d requests, %+v, %v", spent, s, err)
	}
	// Of the seven, six are answers, and the one in vain counts too.
	server.broken = nil
	e := endpoint(t, server.URL, filepath.Dir(path), captioner.EndpointOptions{MaxRequests: spent + 5})
	if _, err := Caption(t.Context(), path, data, e, model, o); !errors.Is(err, captioner.ErrCap) || server.all != 12+spent {
		t.Errorf("a cap that earlier requests use up: %v", err)
	}
	e = endpoint(t, server.URL, filepath.Dir(path), captioner.EndpointOptions{MaxRequests: spent + 6})
	if s, err := Caption(t.Context(), path, data, e, model, o); err != nil || s.Captions != 12 || s.Usage.Requests != spent+6 {
		t.Errorf("%+v, %v", s, err)
	}
}
