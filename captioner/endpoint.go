package captioner

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"arf/imaging"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
)

// EndpointOptions say where an [Endpoint] is and how much may be asked of it.
// URL and Model are needed.
type EndpointOptions struct {
	URL       string // of the API, such as http://localhost:8000/v1
	Model     string // as the server calls it
	KeyEnv    string // environment variable with the API key; "" or one that isn't set: no key is sent
	ImageSize int    // larger images are shrunk to so many pixels on their longer side; 0 is 512
	// Concurrency is how many requests are under way at a time; 0 is 4.
	Concurrency int
	// RequestsPerMinute is the most that are begun; 0 is no limit.
	RequestsPerMinute float64
	// Retries of a request after a time-out, a lost connection, a status that
	// asks to come again (408, 409, 425, 429, 5xx), or an answer that isn't one.
	Retries int
	Timeout time.Duration // of one try; 0 is two minutes
	// LogProbs asks for log-probabilities, which some servers refuse.
	LogProbs bool
	Prices   Prices
	// MaxRequests and MaxCost end the work with ErrCap before they're passed,
	// tries and earlier runs with the same question counted; 0 is no cap.
	MaxRequests int
	MaxCost     float64
	// Answers is a folder with a file of the answers to each question, which is
	// all that decides what is asked of an image; what is there isn't asked for
	// again. "" keeps none, and counts no earlier runs.
	Answers string
}

// Prices of a million tokens, in any currency; 0 where it isn't known.
type Prices struct{ Input, Output float64 }

// cost of tokens.
func (p Prices) cost(u Usage) float64 {
	return (p.Input*float64(u.InputTokens) + p.Output*float64(u.OutputTokens)) / 1e6
}

// Usage is what captions cost.
type Usage struct {
	Requests     int `json:"requests,omitempty"` // tries that failed too
	InputTokens  int `json:"input_tokens,omitempty"`
	OutputTokens int `json:"output_tokens,omitempty"`
}

// Add adds up.
func (u Usage) Add(v Usage) Usage {
	return Usage{u.Requests + v.Requests, u.InputTokens + v.InputTokens, u.OutputTokens + v.OutputTokens}
}

// Metered is a Captioner whose use is counted and may be capped.
type Metered interface {
	Captioner
	// Plan tells what o.N captions of each image, file(i), will cost, those that
	// are there already left out. It's an error if they can't be had below the
	// cap. It's to be called before captions are made.
	Plan(ctx context.Context, images int, file func(i int) ([]byte, error), o GenerateOptions) (Estimate, error)
	// Spent is what was used, in earlier runs too.
	Spent() Usage
}

// Estimate is what captions will cost if nothing has to be asked twice.
type Estimate struct {
	Usage
	Cost float64 // 0 without prices
	// Measured tells that tokens are those of earlier requests, not a guess.
	Measured bool
	Reused   int // captions that were had before, and cost nothing
}

// Caps and refusals that end the work; it goes on from there when they're mended.
var (
	ErrCap     = errors.New("the cap is reached")
	ErrRefused = errors.New("the server refuses")
)

// Endpoint captions by a vision-language model behind an OpenAI-compatible API
// (vLLM, llama.cpp, Ollama, clouds): a chat completion a caption, with the image
// as a JPEG. It's safe for concurrent use.
type Endpoint struct {
	o       EndpointOptions
	client  openai.ChatCompletionService
	limiter *rate.Limiter
	pause   time.Duration // before the first retry

	meter    meter
	answered atomic.Bool   // any image
	refused  atomic.Int64  // images in a row
	warned   *rate.Limiter // each worker has the same to say

	mu      sync.Mutex
	answers *answers // to the last question
}

// DefaultInstruction is asked where GenerateOptions has no prompt.
const DefaultInstruction = "Describe this image in one short sentence."

// NewEndpoint checks the options; nothing is sent.
func NewEndpoint(o EndpointOptions) (*Endpoint, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("captioner endpoint: url %q: want the base of an OpenAI-compatible API, such as http://localhost:8000/v1", o.URL)
	case u.User != nil: // the address is in every record
		return nil, fmt.Errorf("captioner endpoint: url %q has a name or password; give the key by api_key_env", u.Redacted())
	case o.Model == "":
		return nil, errors.New("captioner endpoint: model is missing; give the server's name for it")
	case o.ImageSize < 0 || o.Concurrency < 0 || o.RequestsPerMinute < 0 || o.Retries < 0 || o.Timeout < 0 || o.MaxRequests < 0 || o.MaxCost < 0 || o.Prices.Input < 0 || o.Prices.Output < 0:
		return nil, errors.New("captioner endpoint: sizes, limits, times and prices can't be negative")
	case o.MaxCost > 0 && o.Prices == Prices{}:
		return nil, errors.New("captioner endpoint: a cap on the cost needs the prices of tokens")
	}
	if o.ImageSize == 0 {
		o.ImageSize = 512
	}
	if o.Concurrency == 0 {
		o.Concurrency = 4
	}
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Minute
	}
	e := &Endpoint{o: o, pause: time.Second, warned: rate.NewLimiter(rate.Every(longPause), 1), limiter: rate.NewLimiter(rate.Inf, 1), meter: meter{prices: o.Prices, maxRequests: o.MaxRequests, maxCost: o.MaxCost}}
	if o.RequestsPerMinute > 0 {
		e.limiter = rate.NewLimiter(rate.Limit(o.RequestsPerMinute/60), 1)
	}
	// Not openai.NewClient, which would send OPENAI_API_KEY anywhere.
	options := []option.RequestOption{
		option.WithBaseURL(o.URL), option.WithMaxRetries(0), option.WithRequestTimeout(o.Timeout),
		option.WithMiddleware(func(r *http.Request, next option.MiddlewareNext) (*http.Response, error) {
			res, err := next(r)
			if err == nil {
				res.Body = http.MaxBytesReader(nil, res.Body, maxAnswer)
				if res.Header.Get("Content-Type") == "" { // small servers leave it out
					res.Header.Set("Content-Type", "application/json")
				}
			}
			return res, err
		}),
	}
	if key := os.Getenv(o.KeyEnv); o.KeyEnv != "" && key != "" {
		options = append(options, option.WithAPIKey(key))
	}
	e.client = openai.NewChatCompletionService(options...)
	return e, nil
}

// maxAnswer bounds what a server can make us hold, in bytes.
const maxAnswer = 4 << 20

// Name is what records call it.
func (e *Endpoint) Name() string { return e.o.Model + " at " + e.o.URL }

// Preprocess is zero: the endpoint wants Images.File.
func (e *Endpoint) Preprocess() imaging.Preprocess { return imaging.Preprocess{} }

// Plan is Metered's. Tokens are guessed until earlier requests tell.
func (e *Endpoint) Plan(ctx context.Context, images int, file func(i int) ([]byte, error), o GenerateOptions) (Estimate, error) {
	kept, err := e.kept(o)
	if err != nil {
		return Estimate{}, err
	}
	all := images * max(o.N, 1)
	captions, err := kept.missing(ctx, images, file, max(o.N, 1))
	if err != nil {
		return Estimate{}, err
	}
	return e.estimate(captions, all-captions, o)
}

// estimate is that of captions to come.
func (e *Endpoint) estimate(captions, reused int, o GenerateOptions) (Estimate, error) {
	spent, one := e.Spent(), e.guess(o)
	estimate := Estimate{Usage: Usage{Requests: captions, InputTokens: captions * one.InputTokens, OutputTokens: captions * one.OutputTokens}, Reused: reused}
	if n := spent.Requests; n > 0 && spent.InputTokens > 0 {
		share := float64(captions) / float64(n)
		estimate.Measured = true
		estimate.InputTokens = int(math.Ceil(share * float64(spent.InputTokens)))
		estimate.OutputTokens = int(math.Ceil(share * float64(spent.OutputTokens)))
	}
	estimate.Cost = e.o.Prices.cost(estimate.Usage)
	all := spent.Add(estimate.Usage)
	switch {
	case captions == 0:
	case e.o.MaxRequests > 0 && all.Requests > e.o.MaxRequests:
		return estimate, fmt.Errorf("%w before it's begun: %d requests are needed and %d were made, max_requests is %d; raise it, or caption fewer images", ErrCap, captions, spent.Requests, e.o.MaxRequests)
	case e.o.MaxCost > 0 && e.o.Prices.cost(all) > e.o.MaxCost:
		return estimate, fmt.Errorf("%w before it's begun: about %.2f is needed and %.2f was spent, max_cost is %.2f; raise it, or caption fewer images", ErrCap, estimate.Cost, e.o.Prices.cost(spent), e.o.MaxCost)
	}
	return estimate, nil
}

// Spent is Metered's.
func (e *Endpoint) Spent() Usage {
	e.meter.mu.Lock()
	defer e.meter.mu.Unlock()
	return e.meter.used
}

// guess is the usage of one request: 28×28 pixels a token, as Qwen2-VL has them,
// and four characters of text; other models differ.
func (e *Endpoint) guess(o GenerateOptions) Usage {
	side := (e.o.ImageSize + 27) / 28
	return Usage{Requests: 1, InputTokens: side*side + len(instruction(o))/4 + 16, OutputTokens: o.MaxLength}
}

func instruction(o GenerateOptions) string {
	if o.Prompt != "" {
		return o.Prompt
	}
	return DefaultInstruction
}

// Caption gives o.N captions of each image, o.Prompt being the instruction; it
// asks for those that it hasn't in Answers, which are there before it returns,
// also with an error. An image that the server refuses has empty captions with a
// Refusal; any other failure ends it.
func (e *Endpoint) Caption(ctx context.Context, images Images, o GenerateOptions) (_ [][]Caption, err error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("caption: %w", err)
	}
	if o.Beams > 1 {
		return nil, errors.New("caption: an endpoint has no beam search; set beams to 1")
	}
	if images.File == nil {
		return nil, errors.New("caption: an endpoint needs the images' files")
	}
	o.N = max(o.N, 1)
	kept, err := e.kept(o)
	if err != nil {
		return nil, fmt.Errorf("caption: %w", err)
	}
	file, err := kept.open()
	if err != nil {
		return nil, fmt.Errorf("caption: keep answers: %w", err)
	}
	if file != nil {
		defer func() {
			if failed := cmp.Or(file.Sync(), file.Close()); failed != nil && err == nil {
				err = fmt.Errorf("caption: keep answers: %w", failed)
			}
		}()
	}
	out := make([][]Caption, len(images.Keys))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(e.o.Concurrency)
	for i, key := range images.Keys {
		out[i] = make([]Caption, o.N)
		image := &asked{endpoint: e, kept: kept, file: file, key: key, captions: out[i], fresh: make([]bool, o.N)}
		image.read = sync.OnceValues(func() ([]byte, error) {
			data, err := images.File(i)
			image.sum = sha256.Sum256(data)
			return data, err
		})
		image.picture = sync.OnceValues(func() ([]byte, error) {
			data, err := image.read()
			if err != nil {
				return nil, err
			}
			return shrink(data, e.o.ImageSize)
		})
		for s := range o.N {
			group.Go(func() error {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if err := image.caption(ctx, s, o); err != nil {
					return fmt.Errorf("%s: %w", key, err)
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("caption by %s: %w", e.Name(), err)
	}
	return out, nil
}

// tidyAnswer takes off what chat models put around a caption. Of reasoning that
// was cut off nothing is left.
func tidyAnswer(s string) string {
	if _, after, ok := strings.Cut(s, "</think>"); ok {
		s = after
	} else if strings.HasPrefix(strings.TrimSpace(s), "<think>") {
		return ""
	}
	return strings.Trim(strings.TrimSpace(s), "\"“”'` \n")
}
