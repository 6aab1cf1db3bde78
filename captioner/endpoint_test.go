package captioner

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// request is what the API's reference says of a chat completion with an image.
type request struct {
	Model    string `json:"model"`
	Messages []struct {
		Role    string `json:"role"`
		Content []struct {
			Type     string `json:"type"`
			Text     string `json:"text"`
			ImageURL struct {
				URL string `json:"url"`
			} `json:"image_url"`
		} `json:"content"`
	} `json:"messages"`
	Temperature float64 `json:"temperature"`
	TopP        float64 `json:"top_p"`
	MaxTokens   int     `json:"max_tokens"`
	Seed        int64   `json:"seed"`
	LogProbs    bool    `json:"logprobs"`
}

// vlm is a server of the protocol whose model says the picture's colour.
type vlm struct {
	*httptest.Server
	t *testing.T
	// fault, if any, answers in place of the model, or says that it didn't; n
	// counts requests from 0.
	fault func(n int, w http.ResponseWriter, r *http.Request) bool

	mu       sync.Mutex
	requests []request
	sizes    []image.Point
	begun    []time.Time
	keys     []string
	underWay int
	most     int // under way at a time
}

func newVLM(t *testing.T) *vlm {
	v := &vlm{t: t}
	v.Server = httptest.NewServer(http.HandlerFunc(v.serve))
	t.Cleanup(v.Close)
	return v
}

func (v *vlm) serve(w http.ResponseWriter, r *http.Request) {
	v.mu.Lock()
	n := len(v.begun)
	v.begun, v.keys = append(v.begun, time.Now()), append(v.keys, r.Header.Get("Authorization"))
	v.underWay++
	v.most = max(v.most, v.underWay)
	v.mu.Unlock()
	defer func() {
		v.mu.Lock()
		v.underWay--
		v.mu.Unlock()
	}()
	body, err := io.ReadAll(r.Body) // also lets the server see that the client goes away
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/chat/completions" {
		http.NotFound(w, r)
		return
	}
	if v.fault != nil && v.fault(n, w, r) {
		return
	}
	var q request
	if err := json.Unmarshal(body, &q); err != nil {
		answerError(w, 400, "invalid_request_error", err.Error())
		return
	}
	if q.Model != "see" {
		answerError(w, 404, "model_not_found", "no model "+q.Model)
		return
	}
	parts := q.Messages[0].Content
	data, ok := strings.CutPrefix(parts[0].ImageURL.URL, "data:image/jpeg;base64,")
	raw, err := base64.StdEncoding.DecodeString(data)
	if !ok || err != nil || parts[0].Type != "image_url" || parts[1].Type != "text" || q.Messages[0].Role != "user" {
		answerError(w, 400, "invalid_request_error", "no image")
		return
	}
	picture, err := jpeg.Decode(bytes.NewReader(raw))
	if err != nil {
		answerError(w, 400, "invalid_request_error", err.Error())
		return
	}
	v.mu.Lock()
	v.requests, v.sizes = append(v.requests, q), append(v.sizes, picture.Bounds().Size())
	v.mu.Unlock()
	b := picture.Bounds()
	red, green, blue, _ := picture.At(b.Dx()/2, b.Dy()/2).RGBA()
	text := fmt.Sprintf("A shape of %d %d %d, seed %d.", red>>13, green>>13, blue>>13, q.Seed)
	words := strings.Fields(text)
	var content []map[string]any
	for i, word := range words {
		content = append(content, map[string]any{"token": word, "logprob": -0.25 * float64(i), "bytes": nil, "top_logprobs": []any{}})
	}
	choice := map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": text, "refusal": nil}, "logprobs": nil}
	if q.LogProbs {
		choice["logprobs"] = map[string]any{"content": content}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{
		"id": "chatcmpl-" + strconv.Itoa(n), "object": "chat.completion", "created": 1, "model": q.Model, "choices": []any{choice},
		"usage": map[string]any{"prompt_tokens": 100, "completion_tokens": len(words), "total_tokens": 100 + len(words)},
	})
}

// count is how many requests came.
func (v *vlm) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.begun)
}

func answerError(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": message, "type": "error", "code": code, "param": nil}})
}

func (v *vlm) endpoint(t *testing.T, o EndpointOptions) *Endpoint {
	t.Helper()
	o.URL, o.Model = v.URL+"/v1", "see"
	e, err := NewEndpoint(o)
	if err != nil {
		t.Fatal(err)
	}
	e.pause = time.Millisecond
	return e
}

// files are the test pictures, as an endpoint gets them.
func files(n int) Images {
	data := shapes()
	in := Images{File: func(i int) ([]byte, error) { return data[i].Image, nil }}
	for i := range n {
		in.Keys = append(in.Keys, data[i].Key)
	}
	return in
}

func TestEndpointSpeaksTheProtocol(t *testing.T) {
	v := newVLM(t)
	t.Setenv("ARF_TEST_KEY", "secret")
	t.Setenv("OPENAI_API_KEY", "of another server")
	e := v.endpoint(t, EndpointOptions{KeyEnv: "ARF_TEST_KEY", ImageSize: 48, LogProbs: true, Concurrency: 3})
	o := GenerateOptions{N: 2, Temperature: 0.7, TopP: 0.9, MaxLength: 40, Prompt: "What is it?", Seed: 5}
	got, err := e.Caption(t.Context(), files(8), o)
	if err != nil {
		t.Fatal(err)
	}
	seeds := map[int64]bool{}
	for i, q := range v.requests {
		seeds[q.Seed] = true
		if q.Temperature != 0.7 || q.TopP != 0.9 || q.MaxTokens != 40 || !q.LogProbs || q.Messages[0].Content[1].Text != "What is it?" || v.sizes[i] != image.Pt(48, 48) || v.keys[i] != "Bearer secret" {
			t.Errorf("request %+v of a picture of %v, key %q", q, v.sizes[i], v.keys[i])
		}
	}
	if len(seeds) != 16 || v.most > 3 {
		t.Errorf("%d seeds, %d requests at a time", len(seeds), v.most)
	}
	// The pictures' colours, in eighths.
	for i, want := range []string{"A shape of 7 0 0, seed", "A shape of 0 0 7, seed", "A shape of 7 6 0, seed"} {
		for _, c := range got[i] {
			if !strings.HasPrefix(c.Text, want) || c.NoLogProb || math.Abs(c.LogProb+0.25*28) > 1e-9 || c.Usage != (Usage{1, 100, 8}) {
				t.Errorf("image %d: %+v, want %q", i, c, want)
			}
		}
	}
	// The same again, whatever the order of the answers.
	again, err := e.Caption(t.Context(), files(8), o)
	if err != nil || fmt.Sprint(again) != fmt.Sprint(got) {
		t.Errorf("%v, %v", again, err)
	}

	v.requests, v.keys = nil, nil
	plain := v.endpoint(t, EndpointOptions{})
	if got, err = plain.Caption(t.Context(), files(1), GenerateOptions{}); err != nil || !got[0][0].NoLogProb {
		t.Errorf("%+v, %v", got, err)
	}
	if q := v.requests[0]; v.keys[0] != "" || q.Messages[0].Content[1].Text != DefaultInstruction || q.MaxTokens != 0 || q.LogProbs {
		t.Errorf("request %+v, key %q", q, v.keys[0])
	}
}

// Faults that go away again are only counted.
func TestEndpointTriesAgain(t *testing.T) {
	for name, fault := range map[string]func(w http.ResponseWriter, r *http.Request){
		"time-out": func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(10 * time.Second):
			}
		},
		"lost connection": func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
		"500":             func(w http.ResponseWriter, r *http.Request) { http.Error(w, "oh no", http.StatusInternalServerError) },
		"503 in HTML": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, "<html>loading")
		},
		"429": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "0.05")
			answerError(w, 429, "rate_limit_exceeded", "slow down")
		},
		"garbage": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte{0, 1, 2, 0xff})
		},
		"another page": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "<html>welcome to the hotel's network")
		},
		"half a JSON": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assis`)
		},
		"cut off": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"id":"x","choices":[]`)
		},
		"an error of status 200": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"error":{"message":"upstream is busy"}}`)
		},
		"endless": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for range 1 << 10 {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<14)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVLM(t)
			v.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
				if n > 1 {
					return false
				}
				fault(w, r)
				return true
			}
			o := EndpointOptions{Retries: 2, Concurrency: 1, Timeout: 300 * time.Millisecond}
			got, err := v.endpoint(t, o).Caption(t.Context(), files(2), GenerateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if got[0][0].Usage.Requests != 3 || got[1][0].Usage.Requests != 1 || !strings.HasPrefix(got[0][0].Text, "A shape of 7 0 0") {
				t.Errorf("%+v", got)
			}
			if name == "429" && v.begun[1].Sub(v.begun[0]) < 50*time.Millisecond {
				t.Errorf("came again after %v, the server asked for 50 ms", v.begun[1].Sub(v.begun[0]))
			}
			// One that stays ends the work, with a message that says how it goes on.
			v.fault = func(n int, w http.ResponseWriter, r *http.Request) bool { fault(w, r); return true }
			o.Retries = 1
			before := v.count()
			_, err = v.endpoint(t, o).Caption(t.Context(), files(1), GenerateOptions{})
			if err == nil || !strings.Contains(err.Error(), "after 2 tries") || !strings.Contains(err.Error(), "the same command goes on") || !strings.Contains(err.Error(), "set--0") {
				t.Errorf("%v", err)
			}
			if n := v.count() - before; n != 2 {
				t.Errorf("%d requests, want 2", n)
			}
		})
	}
}

func TestEndpointGivesUpAtOnce(t *testing.T) {
	v := newVLM(t)
	for _, c := range []struct {
		status     int
		code, want string
	}{
		{401, "invalid_api_key", "api_key_env"},
		{403, "", "the server refuses"},
		{404, "model_not_found", `is "see" one of its models`},
		{429, "insufficient_quota", "the server refuses"},
		{402, "out_of_credit", "the server refuses"},
		{405, "", "the server refuses"},
		{410, "", "the server refuses"},
	} {
		v.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
			answerError(w, c.status, c.code, "because of "+c.code)
			return true
		}
		before := v.count()
		_, err := v.endpoint(t, EndpointOptions{Retries: 5, Concurrency: 1}).Caption(t.Context(), files(8), GenerateOptions{})
		if !errors.Is(err, ErrRefused) || c.status != 404 && !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "because of "+c.code) {
			t.Errorf("%d: %v, want %q", c.status, err, c.want)
		}
		if n := v.count() - before; n != 1 {
			t.Errorf("%d: %d requests", c.status, n)
		}
	}
}

// An image that the server doesn't like has no caption; a server that likes
// none is an error.
func TestEndpointRefusesImages(t *testing.T) {
	v := newVLM(t)
	v.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		switch n {
		case 1:
			answerError(w, 400, "image_parse_error", "this image is not allowed")
		case 2:
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"choices":[{"index":0,"finish_reason":"content_filter","message":{"role":"assistant","content":""}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}`)
		default:
			return false
		}
		return true
	}
	got, err := v.endpoint(t, EndpointOptions{Retries: 5, Concurrency: 1}).Caption(t.Context(), files(4), GenerateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "this image is not allowed", "content filter", ""} {
		if c := got[i][0]; (want == "") != (c.Text != "") || !strings.Contains(c.Refusal, want) || (want == "") != (c.Refusal == "") || c.Usage.Requests != 1 {
			t.Errorf("image %d: %+v, want refusal %q", i, c, want)
		}
	}
	v.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		answerError(w, 400, "", "this model sees no images")
		return true
	}
	_, err = v.endpoint(t, EndpointOptions{Retries: 5, Concurrency: 1}).Caption(t.Context(), files(8), GenerateOptions{})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "this model sees no images") {
		t.Errorf("%v", err)
	}
}

// It's images that are counted, not captions: those of two images don't end the
// work, and nor do many that are refused now and then.
func TestEndpointCountsRefusedImages(t *testing.T) {
	v := newVLM(t)
	var refused func(n int) bool
	v.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if refused(n) {
			answerError(w, 400, "content_filter", "not this one")
		}
		return refused(n)
	}
	refused = func(n int) bool { return n < 10 }
	got, err := v.endpoint(t, EndpointOptions{Concurrency: 1}).Caption(t.Context(), files(4), GenerateOptions{N: 5, Temperature: 1})
	if err != nil || got[1][4].Refusal == "" || got[2][0].Text == "" {
		t.Errorf("ten captions of two images: %v", err)
	}
	image := files(1)
	in := Images{File: func(int) ([]byte, error) { return image.File(0) }}
	for i := range 200 {
		in.Keys = append(in.Keys, fmt.Sprintf("image %d", i))
	}
	begun := v.count()
	refused = func(n int) bool { return n > begun && n != begun+50 && n != begun+100 }
	_, err = v.endpoint(t, EndpointOptions{Concurrency: 1}).Caption(t.Context(), in, GenerateOptions{})
	if n := v.count() - begun; !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "64 images in a row: 400 Bad Request: not this one") || n != 165 {
		t.Errorf("after %d requests: %v", n, err)
	}
}

// A model that reasons past max_length has given no caption.
func TestEndpointTakesNoReasoningForCaptions(t *testing.T) {
	v := newVLM(t)
	v.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 1 {
			return false
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"choices":[{"index":0,"finish_reason":"length","message":{"role":"assistant","content":"<think>\nThe user wants a short"}}],"usage":{"prompt_tokens":7,"completion_tokens":9}}`)
		return true
	}
	e := v.endpoint(t, EndpointOptions{Concurrency: 1, Retries: 3})
	got, err := e.Caption(t.Context(), files(3), GenerateOptions{MaxLength: 9})
	if err != nil || got[0][0].Text != "" || !strings.Contains(got[0][0].Refusal, "max_length (9)") || got[0][0].Usage != (Usage{1, 7, 9}) || got[1][0].Text == "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEndpointStaysBelowTheCap(t *testing.T) {
	v := newVLM(t)
	o := GenerateOptions{N: 2, Temperature: 1, MaxLength: 10}
	e := v.endpoint(t, EndpointOptions{MaxRequests: 20, Prices: Prices{Input: 1000, Output: 2000}})
	plan, err := e.Plan(t.Context(), 8, files(8).File, o)
	if err != nil || plan.Requests != 16 || plan.Measured || plan.InputTokens < 16*19*19 || plan.OutputTokens != 160 || math.Abs(plan.Cost-(float64(plan.InputTokens)/1000+0.32)) > 1e-9 {
		t.Errorf("%+v, %v", plan, err)
	}
	// What earlier requests used says more than the guess.
	e.meter.begin(Usage{4, 400, 20})
	plan, err = e.Plan(t.Context(), 8, files(8).File, o)
	if err != nil || plan != (Estimate{Usage{16, 1600, 80}, 1.6 + 0.16, true, 0}) {
		t.Errorf("%+v, %v", plan, err)
	}
	e.meter.begin(Usage{5, 400, 20})
	if _, err = e.Plan(t.Context(), 8, files(8).File, o); !errors.Is(err, ErrCap) || !strings.Contains(err.Error(), "max_requests is 20") {
		t.Errorf("%v", err)
	}
	// Tries count, so that the cap can be met on the way.
	e.meter.begin(Usage{})
	if _, err = e.Plan(t.Context(), 8, files(8).File, o); err != nil {
		t.Fatal(err)
	}
	v.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n%2 == 0 {
			http.Error(w, "busy", http.StatusServiceUnavailable)
		}
		return n%2 == 0
	}
	e.o.Retries = 50
	if _, err = e.Caption(t.Context(), files(8), o); !errors.Is(err, ErrCap) || v.count() < 16 || v.count() > 20 {
		t.Errorf("%d requests, %v", v.count(), err)
	}
	if _, err = e.Caption(t.Context(), files(1), o); !errors.Is(err, ErrCap) {
		t.Errorf("after the cap: %v", err)
	}

	v = newVLM(t)
	e = v.endpoint(t, EndpointOptions{MaxCost: 0.9, Prices: Prices{Input: 1000, Output: 2000}, Concurrency: 1, ImageSize: 28})
	if _, err = e.Caption(t.Context(), files(8), GenerateOptions{MaxLength: 10}); !errors.Is(err, ErrCap) || !strings.Contains(err.Error(), "max_cost is 0.90") {
		t.Errorf("%v", err)
	}
	// A caption costs 0.1 + 0.016, seven 0.81; one more might cost 0.12.
	if n := v.count(); n != 7 {
		t.Errorf("%d requests", n)
	}
}

func TestEndpointKeepsToTheRate(t *testing.T) {
	v := newVLM(t)
	e := v.endpoint(t, EndpointOptions{RequestsPerMinute: 1200, Concurrency: 8}) // one each 50 ms
	start := time.Now()
	if _, err := e.Caption(t.Context(), files(6), GenerateOptions{}); err != nil {
		t.Fatal(err)
	}
	if d := slices.MaxFunc(v.begun, time.Time.Compare).Sub(start); d < 250*time.Millisecond {
		t.Errorf("six requests in %v", d)
	}
}

func TestEndpointStopsWithContext(t *testing.T) {
	v := newVLM(t)
	ctx, cancel := context.WithCancel(t.Context())
	v.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	}
	begun := time.Now()
	if _, err := v.endpoint(t, EndpointOptions{Retries: 9}).Caption(ctx, files(8), GenerateOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if d := time.Since(begun); d > 5*time.Second {
		t.Errorf("stopped after %v", d)
	}
	v.CloseClientConnections()
	v.Close()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	goleak.VerifyNone(t)
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"3": 3 * time.Second, "0": 0, "1.5": 1500 * time.Millisecond, "1e9": longestWait, "NaN": -1, "-1": -1, "": -1, "soon": -1,
		now.Add(time.Minute).Format(http.TimeFormat): time.Minute, now.Add(-time.Minute).Format(http.TimeFormat): 0, now.Add(time.Hour * 99).Format(http.TimeFormat): longestWait,
	} {
		d, ok := retryAfter(http.Header{"Retry-After": {value}}, now)
		if ok != (want >= 0) || ok && d != want {
			t.Errorf("%q: %v, %v, want %v", value, d, ok, want)
		}
	}
}

func TestBadEndpointsAreNamed(t *testing.T) {
	for _, c := range []struct {
		o    EndpointOptions
		want string
	}{
		{EndpointOptions{Model: "m"}, "url"},
		{EndpointOptions{URL: "localhost:8000", Model: "m"}, "url"},
		{EndpointOptions{URL: "http://localhost/v1"}, "model"},
		{EndpointOptions{URL: "http://me:secret@localhost/v1", Model: "m"}, "api_key_env"},
		{EndpointOptions{URL: "http://localhost/v1", Model: "m", Retries: -1}, "negative"},
		{EndpointOptions{URL: "http://localhost/v1", Model: "m", MaxCost: 3}, "prices"},
	} {
		if _, err := NewEndpoint(c.o); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	v := newVLM(t)
	e := v.endpoint(t, EndpointOptions{})
	if _, err := e.Caption(t.Context(), Images{Keys: []string{"a"}}, GenerateOptions{}); err == nil {
		t.Error("images without files are taken")
	}
	if _, err := e.Caption(t.Context(), files(1), GenerateOptions{Beams: 2}); err == nil {
		t.Error("beams are taken")
	}
}

func TestAnswersAreTidied(t *testing.T) {
	for answer, want := range map[string]string{
		"  \"A cat on a mat.\" ": "A cat on a mat.", "<think>\nIs it a cat?\n</think>\n\nA cat": "A cat", "`a dog`": "a dog", " <think>\nThe user wants": "", "": "", "\"\"": "",
	} {
		if got := tidyAnswer(answer); got != want {
			t.Errorf("%q: %q, want %q", answer, got, want)
		}
	}
}

// Empty answers are paid for too: they end the work as refusals do.
func TestEndpointStopsAtEmptyAnswers(t *testing.T) {
	v := newVLM(t)
	v.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":" "}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}`)
		return true
	}
	_, err := v.endpoint(t, EndpointOptions{Concurrency: 1}).Caption(t.Context(), files(8), GenerateOptions{})
	if n := v.count(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "answers are empty") || n != refusalsAtFirst {
		t.Errorf("after %d requests: %v", n, err)
	}
}

func TestEndpointsThatLeaveOutTheContentType(t *testing.T) {
	v := newVLM(t)
	v.fault = func(n int, w http.ResponseWriter, r *http.Request) bool {
		w.Header()["Content-Type"] = nil // or Go guesses
		io.WriteString(w, `{"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"a disc"}}]}`)
		return true
	}
	got, err := v.endpoint(t, EndpointOptions{}).Caption(t.Context(), files(1), GenerateOptions{})
	if err != nil || got[0][0].Text != "a disc" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEndpointSaysWhatIsWrong(t *testing.T) {
	v := newVLM(t)
	v.fault = func(n int, w http.ResponseWriter, r *http.Request) bool { <-r.Context().Done(); return true }
	if _, err := v.endpoint(t, EndpointOptions{Timeout: 100 * time.Millisecond}).Caption(t.Context(), files(1), GenerateOptions{}); err == nil || !strings.Contains(err.Error(), "within 100ms, the field timeout") {
		t.Error(err)
	}
	e := v.endpoint(t, EndpointOptions{})
	v.Close()
	if _, err := e.Caption(t.Context(), files(1), GenerateOptions{}); err == nil || !strings.Contains(err.Error(), "no connection to the server") {
		t.Error(err)
	}
}
