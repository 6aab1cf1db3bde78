package captioner

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
)

// refusals of images in a row that are the server's word on all: before any was
// taken, that the model sees no images, say; later, that another model is loaded.
const (
	refusalsAtFirst = 8
	refusalsInARow  = 64
)

// longPause is one that people should know of.
const longPause = 10 * time.Second

// asked is an image whose captions are being had, several at a time.
type asked struct {
	endpoint *Endpoint
	kept     *answers
	file     *os.File // of answers
	key      string
	read     func() ([]byte, error) // also sets sum
	picture  func() ([]byte, error)
	sum      [sha256.Size]byte
	captions []Caption
	fresh    []bool // captions that weren't there
	done     atomic.Int64
}

// caption has one caption, and judges all when it's the last.
func (a *asked) caption(ctx context.Context, s int, o GenerateOptions) error {
	if _, err := a.read(); err != nil {
		return err
	}
	want := wanted{image: a.sum, sample: s}
	if known, ok := a.kept.find(want); ok {
		a.captions[s] = known
	} else {
		jpeg, err := a.picture()
		if err != nil {
			return err
		}
		a.fresh[s] = true
		a.captions[s], err = a.endpoint.ask(ctx, jpeg, noise(o.Seed, a.key, s).Int64N(1<<31), o)
		if failed := a.kept.add(a.file, want, a.captions[s]); failed != nil && err == nil {
			err = fmt.Errorf("keep the answer: %w", failed)
		}
		if err != nil {
			return err
		}
	}
	if a.done.Add(1) < int64(len(a.captions)) {
		return nil
	}
	var fresh []Caption
	for s, c := range a.captions {
		if a.fresh[s] {
			fresh = append(fresh, c)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	return a.endpoint.judge(fresh)
}

// ask gets one caption, in as many tries as are allowed.
func (e *Endpoint) ask(ctx context.Context, picture []byte, seed int64, o GenerateOptions) (Caption, error) {
	p := openai.ChatCompletionNewParams{
		Model: e.o.Model,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
			openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(picture)}),
			openai.TextContentPart(instruction(o)),
		})},
		Temperature: param.NewOpt(o.Temperature), Seed: param.NewOpt(seed),
	}
	if o.TopP > 0 && o.TopP < 1 && o.Temperature > 0 {
		p.TopP = param.NewOpt(o.TopP)
	}
	if o.MaxLength > 0 {
		p.MaxTokens = param.NewOpt(int64(o.MaxLength))
	}
	if e.o.LogProbs {
		p.Logprobs = param.NewOpt(true)
	}
	wait := backoff.NewExponentialBackOff() // with jitter
	wait.InitialInterval, wait.Multiplier = e.pause, 2
	var used Usage
	caption, err := backoff.Retry(ctx, func() (Caption, error) {
		c, err := e.try(ctx, p, o)
		used = used.Add(c.Usage)
		return c, err
	}, backoff.WithBackOff(wait), backoff.WithMaxTries(uint(e.o.Retries)+1), backoff.WithMaxElapsedTime(0), backoff.WithNotify(func(err error, pause time.Duration) {
		if pause >= longPause && e.warned.Allow() {
			slog.Warn("the captioner's endpoint has to be asked again", "in", pause.Round(time.Second), "error", err)
		}
	}))
	caption.Usage = used
	if permanent := (*backoff.PermanentError)(nil); errors.As(err, &permanent) { // of the last try
		err = permanent.Err
	}
	if refusal := (*refusal)(nil); errors.As(err, &refusal) {
		return Caption{Usage: used, NoLogProb: true, Refusal: refusal.message}, nil
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, ErrCap) && !errors.Is(err, ErrRefused) {
		err = fmt.Errorf("after %d tries: %w; captions so far are kept, and the same command goes on when the server is well", used.Requests, err)
	}
	return caption, err
}

// judge takes an image's new captions when all are there. Its error ends the work.
func (e *Endpoint) judge(captions []Caption) error {
	for _, c := range captions {
		if c.Text != "" {
			e.answered.Store(true)
			e.refused.Store(0)
			return nil
		}
	}
	why := cmp.Or(captions[0].Refusal, "its answers are empty; does the model see images, and does the prompt ask for text?")
	switch n := e.refused.Add(1); {
	case n >= refusalsAtFirst && !e.answered.Load():
		return fmt.Errorf("%w the first %d images: %s", ErrRefused, n, why)
	case n >= refusalsInARow:
		return fmt.Errorf("%w %d images in a row: %s; if it's about these images, leave them out of the data", ErrRefused, n, why)
	}
	return nil
}

// refusal is a server's no to one image.
type refusal struct{ message string }

func (r *refusal) Error() string { return r.message }

// try sends a request once. Errors that another try can't mend are permanent.
func (e *Endpoint) try(ctx context.Context, p openai.ChatCompletionNewParams, o GenerateOptions) (c Caption, err error) {
	if err := e.limiter.Wait(ctx); err != nil {
		return c, backoff.Permanent(err)
	}
	most, err := e.meter.reserve(e.guess(o))
	if err != nil {
		return c, backoff.Permanent(err)
	}
	c.Usage.Requests, c.NoLogProb = 1, true
	defer func() { e.meter.settle(most, c.Usage) }()
	var response *http.Response
	answer, err := e.client.New(ctx, p, option.WithResponseInto(&response))
	switch {
	case ctx.Err() != nil:
		return c, backoff.Permanent(ctx.Err())
	case response != nil && response.StatusCode >= 400:
		return c, e.status(response, err)
	case errors.Is(err, context.DeadlineExceeded):
		return c, fmt.Errorf("no answer within %s, the field timeout; raise it for a slow server", e.o.Timeout)
	case err != nil && response == nil:
		return c, fmt.Errorf("no connection to the server: %w", err)
	case err != nil:
		return c, fmt.Errorf("no answer that can be read: %w", err)
	case len(answer.Choices) == 0:
		return c, fmt.Errorf("an answer without choices: %.200s", answer.RawJSON())
	}
	choice := answer.Choices[0]
	c.Usage.InputTokens, c.Usage.OutputTokens = int(max(answer.Usage.PromptTokens, 0)), int(max(answer.Usage.CompletionTokens, 0))
	if c.Usage.InputTokens == 0 { // the server doesn't count
		c.Usage.InputTokens, c.Usage.OutputTokens = most.InputTokens, most.OutputTokens
	}
	if refused := choice.Message.Refusal; refused != "" || choice.FinishReason == "content_filter" {
		return c, backoff.Permanent(&refusal{strings.TrimSpace("content filter: " + refused)})
	}
	if c.Text = tidy(tidyAnswer(choice.Message.Content)); c.Text == "" && choice.FinishReason == "length" {
		return c, backoff.Permanent(&refusal{fmt.Sprintf("no caption within max_length (%d) tokens; raise it if the model reasons first, or have it not reason", o.MaxLength)})
	}
	if tokens := choice.Logprobs.Content; len(tokens) > 0 {
		c.NoLogProb = false
		for _, t := range tokens {
			c.LogProb += t.Logprob
		}
	}
	return c, nil
}

// status tells what a status of 400 or more means.
func (e *Endpoint) status(r *http.Response, err error) error {
	message := fmt.Sprintf("%s: %.300s", r.Status, message(err))
	var api *openai.Error
	quota := errors.As(err, &api) && api.Code == "insufficient_quota"
	switch code := r.StatusCode; {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		hint := "give the environment variable with its API key (api_key_env)"
		if e.o.KeyEnv != "" {
			hint = "is the API key in " + e.o.KeyEnv + " right?"
		}
		return backoff.Permanent(fmt.Errorf("%w: %s; %s", ErrRefused, message, hint))
	case code == http.StatusNotFound:
		return backoff.Permanent(fmt.Errorf("%w: %s; is %s the base of its API, and %q one of its models?", ErrRefused, message, e.o.URL, e.o.Model))
	case quota:
		return backoff.Permanent(fmt.Errorf("%w: %s", ErrRefused, message))
	case code == http.StatusRequestTimeout, code == http.StatusConflict, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		failed := errors.New(message)
		if d, ok := retryAfter(r.Header, time.Now()); ok {
			d += time.Duration(rand.Float64() * float64(e.pause)) // not all at once
			return fmt.Errorf("%w (%w)", failed, &backoff.RetryAfterError{Duration: d})
		}
		return failed
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnsupportedMediaType,
		code == http.StatusUnprocessableEntity, code == http.StatusUnavailableForLegalReasons:
		return backoff.Permanent(&refusal{message})
	}
	// Such as 402: no word on an image.
	return backoff.Permanent(fmt.Errorf("%w: %s", ErrRefused, message))
}

// message is the server's own, if it gave one.
func message(err error) string {
	if api := (*openai.Error)(nil); errors.As(err, &api) && api.Message != "" {
		return api.Message
	}
	if err == nil {
		return "no explanation"
	}
	return err.Error()
}

// longestWait bounds what a server can ask for.
const longestWait = 10 * time.Minute

// retryAfter reads how long the server wants us to wait: seconds or a date (RFC 9110, §10.2.3).
func retryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := h.Get("Retry-After")
	d := time.Duration(-1)
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds <= longestWait.Seconds() {
		d = time.Duration(seconds * float64(time.Second))
	} else if err == nil && seconds > 0 {
		d = longestWait
	} else if at, err := http.ParseTime(value); err == nil {
		d = max(at.Sub(now), 0)
	}
	return min(d, longestWait), d >= 0
}
