package captioner

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// question is all that decides what an endpoint is asked of a picture, but for
// the caption's number. An answer to it is good for every set with that picture.
type question struct {
	URL         string  `json:"url"`
	Model       string  `json:"model"`
	Prompt      string  `json:"prompt"`
	ImageSize   int     `json:"image_size"`
	Temperature float64 `json:"temperature"`
	TopP        float64 `json:"top_p"`
	MaxLength   int     `json:"max_length"`
	LogProbs    bool    `json:"logprobs"`
	Seed        int64   `json:"seed"`
}

func (e *Endpoint) question(o GenerateOptions) question {
	q := question{
		URL: e.o.URL, Model: e.o.Model, Prompt: instruction(o), ImageSize: e.o.ImageSize, Temperature: o.Temperature, TopP: 1,
		MaxLength: o.MaxLength, LogProbs: e.o.LogProbs, Seed: o.Seed,
	}
	if o.TopP > 0 && o.Temperature > 0 {
		q.TopP = o.TopP
	}
	return q
}

// wanted is one caption of a picture.
type wanted struct {
	image  [sha256.Size]byte // of the file
	sample int               // its number among the picture's captions
}

// answer is a line of the file of answers. One without a text is there for what
// it cost.
type answer struct {
	Image   string   `json:"image"`  // SHA-256 of the file, in hexadecimal digits
	Sample  int      `json:"sample"` // which of the image's captions
	Text    string   `json:"text,omitempty"`
	LogProb *float64 `json:"log_prob,omitempty"`
	Refusal string   `json:"refusal,omitempty"`
	Usage   Usage    `json:"usage,omitzero"`
}

// answers is a file of what a question was answered: the question, then a line
// an answer, on disk as soon as it's there. Texts are what was paid for, and
// aren't asked for again; a refusal or silence may be the server's fault, and is.
type answers struct {
	question question
	path     string // "" keeps none

	mu    sync.Mutex
	known map[wanted]Caption
}

// kept gives the answers to o's question, from the file the first time; what
// they cost is then the meter's.
func (e *Endpoint) kept(o GenerateOptions) (*answers, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	q := e.question(o)
	if e.answers != nil && e.answers.question == q {
		return e.answers, nil
	}
	a := &answers{question: q, known: map[wanted]Caption{}}
	if e.o.Answers != "" {
		text, err := json.Marshal(q)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		a.path = filepath.Join(e.o.Answers, "answers-"+hex.EncodeToString(sum[:8])+".jsonl")
		spent, err := a.read()
		if err != nil {
			return nil, fmt.Errorf("answers of earlier runs: %w", err)
		}
		e.meter.begin(spent)
	}
	e.answers = a
	return a, nil
}

// read takes in the file, and cuts off a torn last line, which a kill leaves.
func (a *answers) read() (spent Usage, err error) {
	f, err := os.OpenFile(a.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return spent, nil
	}
	if err != nil {
		return spent, err
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	size := int64(0)
	for line := 1; ; line++ {
		text, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(text) > 0 {
				err = f.Truncate(size)
			} else {
				err = nil
			}
			return spent, err
		}
		if err == nil {
			var u Usage
			u, err = a.parse(line, text)
			spent = spent.Add(u)
		}
		if err != nil {
			return spent, fmt.Errorf("%s, line %d: %w; remove the file to ask anew", a.path, line, err)
		}
		size += int64(len(text))
	}
}

func (a *answers) parse(line int, text []byte) (Usage, error) {
	if line == 1 {
		var q question
		if err := json.Unmarshal(text, &q); err != nil {
			return Usage{}, err
		}
		if q != a.question {
			return Usage{}, errors.New("it has another question than its name says")
		}
		return Usage{}, nil
	}
	var got answer
	if err := json.Unmarshal(text, &got); err != nil {
		return Usage{}, err
	}
	sum, err := hex.DecodeString(got.Image)
	if err != nil || len(sum) != sha256.Size {
		return Usage{}, fmt.Errorf("field image is %q, no SHA-256", got.Image)
	}
	if got.Text != "" {
		c := Caption{Text: got.Text, NoLogProb: got.LogProb == nil, Usage: got.Usage}
		if got.LogProb != nil {
			c.LogProb = *got.LogProb
		}
		a.known[wanted{[sha256.Size]byte(sum), got.Sample}] = c
	}
	return got.Usage, nil
}

func (a *answers) find(w wanted) (Caption, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, ok := a.known[w]
	return c, ok
}

// open gives the file to add to; nil where none is kept.
func (a *answers) open() (*os.File, error) {
	if a.path == "" {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(a.path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Size() == 0 {
		err = writeLine(f, a.question)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// add keeps a caption, or what was spent in vain.
func (a *answers) add(f *os.File, w wanted, c Caption) error {
	if f == nil || c.Usage.Requests == 0 {
		return nil
	}
	line := answer{Image: hex.EncodeToString(w.image[:]), Sample: w.sample, Text: c.Text, Refusal: c.Refusal, Usage: c.Usage}
	if c.Text != "" && !c.NoLogProb {
		line.LogProb = &c.LogProb
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.Text != "" {
		a.known[w] = c
	}
	return writeLine(f, line)
}

// writeLine adds a line in one piece.
func writeLine(f *os.File, v any) error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return err
	}
	_, err := f.Write(b.Bytes())
	return err
}

// missing counts, of n captions of each image, those that aren't there. It reads
// the images, if there are answers at all.
func (a *answers) missing(ctx context.Context, images int, file func(i int) ([]byte, error), n int) (int, error) {
	if len(a.known) == 0 {
		return images * n, nil
	}
	var missing atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range images {
		group.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			data, err := file(i)
			w := wanted{image: sha256.Sum256(data)}
			for w.sample = range n {
				if _, ok := a.find(w); !ok || err != nil { // one that can't be read is named when its turn comes
					missing.Add(1)
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return int(missing.Load()), err
}
