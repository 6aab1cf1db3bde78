package dataset

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"arf/internal/atomicfile"
	"arf/remote"

	"golang.org/x/sync/errgroup"
)

// fetchesAtOnce is how many tars are fetched side by side.
const fetchesAtOnce = 4

// Gone tells errors of samples that aren't broken, but can't be had now: of a
// server that doesn't answer, or of reading that was ended. Who skips broken
// samples must stop at these.
func Gone(err error) bool {
	return errors.Is(err, remote.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// remoteTars writes out a URL with {…}, or lists a bucket's by * or folder.
func remoteTars(ctx context.Context, pattern string) ([]string, error) {
	expanded, err := expand(pattern)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range expanded {
		path, _, _ := strings.Cut(e, "?") // a signature follows
		if !strings.ContainsAny(path, "*[") && !strings.HasSuffix(path, "/") {
			all = append(all, e)
			continue
		}
		found, err := remote.List(ctx, e, remote.Tries{})
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// scanRemote opens tars of servers. What is in them is kept in the cache; a tar
// whose content isn't known is fetched.
func (d *webDataset) scanRemote(ctx context.Context, urls []string, cache *remote.Cache) error {
	if cache == nil {
		var err error
		if cache, err = remote.DefaultCache(); err != nil {
			return err
		}
	}
	type scanned struct {
		shard    *shard
		samples  []tarSample
		problems Problems
	}
	all := make([]scanned, len(urls))
	var done atomic.Int32
	begun := time.Now()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(fetchesAtOnce)
	for i, url := range urls {
		group.Go(func() error {
			if groupCtx.Err() != nil {
				return context.Cause(groupCtx)
			}
			file, err := cache.Open(ctx, url) // later reads end with ctx
			if err != nil {
				return err
			}
			s := &all[i]
			s.shard = &shard{path: remote.Redacted(url), remote: file}
			s.samples, err = remoteIndex(file, int32(i), &s.problems)
			if n := int(done.Add(1)); n*10/len(urls) > (n-1)*10/len(urls) && time.Since(begun) > 10*time.Second && err == nil {
				slog.Info("listed tars of a server", "done", n, "of", len(urls), "last", s.shard.path)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, s := range all {
		d.shards = append(d.shards, s.shard)
		d.samples = append(d.samples, s.samples...)
		d.problems.Join(s.problems)
	}
	return nil
}

// tarIndex is a tar's index in the cache.
type tarIndex struct {
	Version  string
	Samples  []indexedSample
	Problems Problems
}

type indexedSample struct {
	Key   string
	Parts [4][2]int64 // offset and size of image, text, info and class
}

const tarIndexName = "tar.index"

// remoteIndex gives the samples of a tar, by its index in the cache or by
// reading it.
func remoteIndex(f *remote.File, number int32, problems *Problems) ([]tarSample, error) {
	path := f.Beside(tarIndexName)
	var index tarIndex
	data, err := os.ReadFile(path)
	if err == nil {
		err = gob.NewDecoder(bytes.NewReader(data)).Decode(&index)
	}
	if err == nil && index.Version == f.Version() {
		*problems = index.Problems
		return index.tarSamples(number), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		slog.Debug("a tar is read anew, as its index can't be", "error", err)
	}
	if err := f.Fetch(); err != nil {
		return nil, err
	}
	local, err := f.Local()
	if err != nil {
		return nil, err
	}
	defer local.Close()
	samples := indexTar(local, f.Size(), remote.Redacted(f.URL), number, problems)
	index = tarIndex{Version: f.Version(), Problems: *problems}
	for _, s := range samples {
		one := indexedSample{Key: s.key}
		for i, p := range []part{s.image, s.text, s.info, s.class} {
			one.Parts[i] = [2]int64{p.offset, p.size}
		}
		index.Samples = append(index.Samples, one)
	}
	var out bytes.Buffer
	if err := gob.NewEncoder(&out).Encode(index); err != nil {
		return nil, err
	}
	if err := atomicfile.Write(path, out.Bytes(), 0o644); err != nil {
		return nil, fmt.Errorf("write the index of %s: %w", remote.Redacted(f.URL), err)
	}
	return samples, nil
}

func (x *tarIndex) tarSamples(number int32) []tarSample {
	samples := make([]tarSample, len(x.Samples))
	for i, s := range x.Samples {
		at := func(k int) part { return part{s.Parts[k][0], s.Parts[k][1]} }
		samples[i] = tarSample{key: s.Key, shard: number, image: at(0), text: at(1), info: at(2), class: at(3)}
	}
	return samples
}

// RemoteVersion identifies the content of a dataset that lies on servers, by what
// they say of its files: reading all of it would take hours. It is "" for a
// dataset of which any part is on disk.
func RemoteVersion(d Dataset) string {
	switch d := d.(type) {
	case *webDataset:
		var b strings.Builder
		for _, s := range d.shards {
			if s.remote == nil {
				return ""
			}
			fmt.Fprintf(&b, "%s %s\n", remote.Redacted(s.remote.URL), s.remote.Version())
		}
		return b.String()
	case subset:
		if inner := RemoteVersion(d.Dataset); inner != "" {
			return fmt.Sprintf("%s%v", inner, d.numbers)
		}
	case keyed:
		if inner := RemoteVersion(d.Dataset); inner != "" {
			return d.prefix + inner
		}
	}
	return ""
}
