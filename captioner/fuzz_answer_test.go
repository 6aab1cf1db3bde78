package captioner

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/openai/openai-go/v3"
)

// FuzzAnswer: whatever a server answers, a caption is one line of UTF-8 that a
// record can hold, or there is an error.
func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"choices": [{"message": {"content": "a cat"}, "finish_reason": "stop", "logprobs": {"content": [{"token": "a", "logprob": -0.5}]}}], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}`))
	f.Add(200, []byte(`{"choices": [{"message": {"content": "", "refusal": "no"}, "finish_reason": "content_filter"}]}`))
	f.Add(200, []byte(`{"choices": [{"message": {"content": "<think>\n"}, "finish_reason": "length"}], "usage": {"prompt_tokens": -1}}`))
	f.Add(200, []byte(`{"choices": []}`))
	f.Add(429, []byte(`{"error": {"message": "slower", "code": "insufficient_quota"}}`))
	f.Add(400, []byte(`<html>`))
	var status int
	var body []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(body)
	}))
	f.Cleanup(server.Close)
	e, err := NewEndpoint(EndpointOptions{URL: server.URL + "/v1", Model: "m", Timeout: 5 * time.Second, LogProbs: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s int, b []byte) {
		if status, body = s, b; s < 200 || s > 599 {
			return
		}
		c, err := e.try(context.Background(), openai.ChatCompletionNewParams{Model: "m"}, GenerateOptions{MaxLength: 20})
		if c.Usage.InputTokens < 0 || c.Usage.OutputTokens < 0 || c.Usage.Requests != 1 {
			t.Errorf("%+v", c.Usage)
		}
		if err != nil {
			return
		}
		if !utf8.ValidString(c.Text) || strings.ContainsAny(c.Text, "\r\n") {
			t.Errorf("caption %q", c.Text)
		}
		if _, err := json.Marshal(c); err != nil {
			t.Error(err)
		}
	})
}
