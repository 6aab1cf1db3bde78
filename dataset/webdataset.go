package dataset

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"arf/remote"
)

// webDataset is samples in tars: <key>.<image>, <key>.txt, <key>.json,
// <key>.cls.
type webDataset struct {
	shards    []*shard
	samples   []tarSample
	classes   []string
	label     map[string]int // of classes whose name is unique
	templates []string
	lines     bool // each line of a text is a caption
	problems  Problems
}

// shardsOpen is how many tars are kept open; with more of them each is opened
// for each read.
const shardsOpen = 256

type shard struct {
	path   string
	keep   bool
	mu     sync.Mutex
	file   *os.File
	remote *remote.File // nil for one on disk
}

func openWebDataset(ctx context.Context, source Source) (Dataset, error) {
	d := &webDataset{classes: source.Classes}
	if remote.IsURL(source.Path) {
		if source.Split != "" {
			return nil, fmt.Errorf("split %q: tars of a server have no splits; give the split's own tars", source.Split)
		}
		urls, err := remoteTars(ctx, source.Path)
		if err != nil {
			return nil, err
		}
		d.label = uniqueLabels(d.classes)
		return d, d.scanRemote(ctx, urls, source.cache)
	}
	paths, ok, err := d.benchmark(source)
	if err == nil && !ok {
		if source.Split != "" {
			return nil, fmt.Errorf("split %q: it has no splits (folders with a %s, as clip_benchmark has them); give the split's own path", source.Split, shardCount)
		}
		paths, err = tarPaths(source.Path)
	}
	if err != nil {
		return nil, err
	}
	d.label = uniqueLabels(d.classes)
	for i, path := range paths {
		samples, err := d.scan(path, int32(i))
		if err != nil {
			return nil, err
		}
		d.samples = append(d.samples, samples...)
		d.shards = append(d.shards, &shard{path: path, keep: len(paths) <= shardsOpen})
	}
	return d, nil
}

func (d *webDataset) scan(path string, number int32) ([]tarSample, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a folder: expected a tar", path)
	}
	var magic [2]byte
	if n, _ := f.ReadAt(magic[:], 0); n == 2 && magic == [2]byte{0x1f, 0x8b} {
		return nil, fmt.Errorf("%s is compressed; samples are read from anywhere in a tar, so unpack it first (gunzip)", path)
	}
	return indexTar(f, info.Size(), path, number, &d.problems), nil
}

// tarPaths writes out a file, folder, glob or brace range.
func tarPaths(pattern string) ([]string, error) {
	if info, err := os.Stat(pattern); err == nil {
		if !info.IsDir() {
			return []string{pattern}, nil
		}
		tars, err := filepath.Glob(filepath.Join(globQuote(pattern), "*.tar"))
		if err != nil {
			return nil, err
		}
		if len(tars) == 0 {
			return nil, errors.New("the folder has no .tar files")
		}
		return tars, nil
	}
	return shardPaths(pattern)
}

// shardPaths writes out a file, glob or brace range.
func shardPaths(pattern string) ([]string, error) {
	expanded, err := expand(pattern)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range expanded {
		if !strings.ContainsAny(e, "*?[") {
			if _, err := os.Stat(e); err != nil {
				if len(expanded) > 1 && errors.Is(err, fs.ErrNotExist) {
					err = fmt.Errorf("%w; correct the range %s to the files that there are, or take all of them by %s", err, pattern, starred(pattern))
				}
				return nil, err
			}
			paths = append(paths, e)
			continue
		}
		matches, err := filepath.Glob(e)
		if err != nil {
			return nil, err
		}
		if len(matches) == 0 {
			return nil, &fs.PathError{Op: "open", Path: e, Err: fs.ErrNotExist}
		}
		paths = append(paths, matches...)
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// starred puts a * for each {…}.
func starred(pattern string) string {
	for {
		before, rest, found := strings.Cut(pattern, "{")
		_, after, closed := strings.Cut(rest, "}")
		if !found || !closed {
			return pattern
		}
		pattern = before + "*" + after
	}
}

func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// read gives the parts' contents; nil for parts that aren't there. Parts that
// lie close together are one read.
func (s *shard) read(parts ...part) ([][]byte, error) {
	const gap = 16 << 10
	first, last, total := int64(1<<62), int64(0), int64(0)
	for _, p := range parts {
		if p.size < 0 {
			continue
		}
		first, last = min(first, p.offset), max(last, p.offset+p.size)
		total += p.size
	}
	out := make([][]byte, len(parts))
	if last == 0 {
		return out, nil
	}
	f, done, err := s.open()
	if err != nil {
		return nil, err
	}
	defer done()
	var all []byte
	if last-first <= total+gap {
		all = make([]byte, last-first)
		if _, err := f.ReadAt(all, first); err != nil {
			return nil, fmt.Errorf("read %s at %d: %w", s.path, first, err)
		}
	}
	for i, p := range parts {
		switch {
		case p.size < 0:
		case all != nil:
			at := p.offset - first
			out[i] = all[at : at+p.size : at+p.size]
		default:
			out[i] = make([]byte, p.size)
			if _, err := f.ReadAt(out[i], p.offset); err != nil {
				return nil, fmt.Errorf("read %s at %d: %w", s.path, p.offset, err)
			}
		}
	}
	return out, nil
}

func (s *shard) open() (f io.ReaderAt, done func(), err error) {
	if s.remote != nil {
		return s.remote, func() {}, nil
	}
	if !s.keep {
		f, err := os.Open(s.path)
		return f, func() { f.Close() }, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		if s.file, err = os.Open(s.path); err != nil {
			return nil, nil, err
		}
	}
	return s.file, func() {}, nil
}

func (d *webDataset) Len() int           { return len(d.samples) }
func (d *webDataset) Classes() []string  { return d.classes }
func (d *webDataset) Problems() Problems { return d.problems }

// Templates are clip_benchmark's.
func (d *webDataset) Templates() []string { return d.templates }

func (d *webDataset) Sample(i int) (Sample, error)   { return d.get(i, true) }
func (d *webDataset) describe(i int) (Sample, error) { return d.get(i, false) }

func (d *webDataset) get(i int, withImage bool) (Sample, error) {
	t := &d.samples[i]
	image := part{size: -1}
	if withImage {
		image = t.image
	}
	shard := d.shards[t.shard]
	contents, err := shard.read(image, t.text, t.info, t.class)
	if err != nil {
		return Sample{Key: t.key, Label: -1}, err
	}
	s := Sample{Key: t.key, Image: contents[0], Label: -1}
	if err := s.fill(contents[1], contents[2], contents[3]); err != nil {
		return s, fmt.Errorf("%s: %s: %w", shard.path, t.key, err)
	}
	if d.lines {
		s.Texts = captionLines(s.Text)
		if len(s.Texts) > 0 {
			s.Text = s.Texts[0]
		}
	}
	if err := s.classify(d.classes, d.label); err != nil {
		return s, fmt.Errorf("%s: %s: %w", shard.path, t.key, err)
	}
	return s, nil
}

// uniqueLabels gives the labels of the classes whose name isn't another's too.
func uniqueLabels(classes []string) map[string]int {
	label := make(map[string]int, len(classes))
	for i, c := range classes {
		if _, twice := label[c]; twice {
			label[c] = -1
			continue
		}
		label[c] = i
	}
	return label
}

// classify completes label or class name by the known classes, and checks that
// they agree.
func (s *Sample) classify(classes []string, label map[string]int) error {
	if len(classes) == 0 {
		return nil
	}
	switch {
	case s.Label >= len(classes):
		return fmt.Errorf("label %d, but there are %d classes; %w", s.Label, len(classes), ErrLabel)
	case s.Label >= 0 && s.Class == "":
		s.Class = classes[s.Label]
	case s.Label >= 0 && s.Class != classes[s.Label]:
		return fmt.Errorf("its class is %q and its label %d, which is %q; %w", s.Class, s.Label, classes[s.Label], ErrLabel)
	case s.Class != "" && s.Label < 0:
		n, ok := label[s.Class]
		if !ok || n < 0 {
			return fmt.Errorf("class %q isn't among the %d classes; %w", s.Class, len(classes), ErrLabel)
		}
		s.Label = n
	}
	return nil
}

// fill takes the text, JSON and class of a sample.
func (s *Sample) fill(text, info, class []byte) error {
	if class != nil {
		n, err := strconv.Atoi(strings.TrimSpace(string(class)))
		if err != nil || n < 0 {
			return fmt.Errorf("cls: %q isn't a class number", clip(class))
		}
		s.Label = n
	}
	if !utf8.Valid(text) {
		return errors.New("txt: not UTF-8")
	}
	s.Text = strings.TrimSpace(string(text))
	if info != nil {
		var fields map[string]any
		if err := json.Unmarshal(info, &fields); err != nil {
			return fmt.Errorf("json: %w", err)
		}
		s.fromJSON(fields)
	}
	switch {
	case s.Text == "" && len(s.Texts) > 0:
		s.Text = s.Texts[0]
	case s.Text != "" && len(s.Texts) == 0:
		s.Texts = []string{s.Text}
	case s.Text != "" && s.Texts[0] != s.Text:
		rest := slices.DeleteFunc(s.Texts, func(t string) bool { return t == s.Text })
		s.Texts = append([]string{s.Text}, rest...)
	}
	return nil
}

func (s *Sample) fromJSON(fields map[string]any) {
	for name, value := range fields {
		switch v := value.(type) {
		case []any:
			if name != "texts" {
				continue
			}
			for _, t := range v {
				if t, ok := t.(string); ok && strings.TrimSpace(t) != "" {
					s.Texts = append(s.Texts, strings.TrimSpace(t))
				}
			}
			continue
		case string:
			switch name {
			case "caption", "text":
				// img2dataset writes the caption here too.
				if s.Text == "" {
					s.Text = strings.TrimSpace(v)
				}
				continue
			case "class":
				s.Class = v
				continue
			}
			s.meta(name, v)
		case float64:
			if name == "label" && s.Label < 0 && v >= 0 && v == float64(int(v)) {
				s.Label = int(v)
				continue
			}
			s.meta(name, strconv.FormatFloat(v, 'g', -1, 64))
		case bool:
			s.meta(name, strconv.FormatBool(v))
		}
	}
}

func (s *Sample) meta(name, value string) {
	if s.Meta == nil {
		s.Meta = map[string]string{}
	}
	s.Meta[name] = value
}

func clip(b []byte) string { return string(b[:min(len(b), 40)]) }
