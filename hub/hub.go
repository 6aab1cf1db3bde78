// Package hub finds models: folders on this machine, or models of the Hugging
// Face hub, which it fetches into the cache that Python's huggingface_hub shares.
//
// It speaks the hub's protocol itself: github.com/gomlx/go-huggingface (v0.4.0)
// doesn't go on with an interrupted download, takes one that broke off for
// complete, names files otherwise than Python where the hub redirects, and knows
// neither HF_HOME nor HF_HUB_CACHE, HF_TOKEN, HF_HUB_OFFLINE.
package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"arf/checkpoint"
)

// Options of Resolve. The zero value takes everything from the environment, by
// the variables of Python's huggingface_hub.
type Options struct {
	// Cache is the folder of models; "" means HF_HUB_CACHE, else hub in
	// HF_HOME, else huggingface/hub in XDG_CACHE_HOME or ~/.cache.
	Cache string
	// Endpoint is the hub's address; "" means HF_ENDPOINT, else
	// https://huggingface.co.
	Endpoint string
	// Token gives access to private and gated models; "" means HF_TOKEN, else
	// the content of HF_TOKEN_PATH, else of token in HF_HOME.
	Token string
	// Offline takes models from the cache only, as does HF_HUB_OFFLINE=1.
	Offline bool
	// Progress, if any, is told how many of a file's bytes are there; total is
	// 0 where the hub doesn't say.
	Progress func(file string, done, total int64)
}

// prefix marks a hub's id where it could be a path; open_clip's too.
const prefix = "hf-hub:"

// id is organisation/name@revision; without organisation after the prefix only.
var id = regexp.MustCompile(`^(?:([A-Za-z0-9][\w.-]*)/)?([A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?$`)

// reference is a model of the hub.
type reference struct {
	repo     string // organisation/name
	revision string // branch, tag or commit
}

func (r reference) String() string { return r.repo + "@" + r.revision }

// Resolve gives the path of a model. ref is
//   - a file or folder on this machine: returned as it is;
//   - a model of the hub, org/name or hf-hub:org/name, with @revision (branch,
//     tag or commit) where it isn't main: the files that a CLIP needs are fetched
//     into the cache, and the folder of its snapshot is returned. What is there
//     isn't fetched again, and interrupted downloads go on.
//
// Where the hub can't be reached, a model that the cache has is taken from
// there. Errors say what to do.
func Resolve(ctx context.Context, ref string, o Options) (string, error) {
	return resolve(ctx, ref, o, time.Second)
}

// resolve waits for pause before a request's second try, twice as long before
// each next.
func resolve(ctx context.Context, ref string, o Options, pause time.Duration) (string, error) {
	forced := strings.HasPrefix(ref, prefix)
	if !forced {
		if _, err := os.Stat(ref); err == nil {
			return ref, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	r, ok := parse(ref)
	if !ok {
		if forced {
			return "", fmt.Errorf("model %q: not the id of a model; give hf-hub:organisation/name, with @revision if it isn't main", ref)
		}
		return "", fmt.Errorf("model %q: there is no such file or folder, and it isn't the id of a model on the hub either (organisation/name)", ref)
	}
	c, err := newClient(o, pause)
	if err != nil {
		return "", err
	}
	dir, err := c.snapshot(ctx, r)
	if err != nil {
		if errors.Is(err, errUnreachable) {
			err = fmt.Errorf("%w; check the network, proxies and HF_ENDPOINT, or give the folder of a model", err)
		}
		if forced {
			return "", fmt.Errorf("model %s: %w", ref, err)
		}
		return "", fmt.Errorf("model %s: there is no such file or folder here, and from the hub: %w", ref, err)
	}
	return dir, nil
}

func parse(ref string) (reference, bool) {
	name, forced := strings.CutPrefix(ref, prefix)
	m := id.FindStringSubmatch(name)
	if m == nil || m[1] == "" && !forced || len(name) > 200 {
		return reference{}, false
	}
	for _, part := range m[1:] {
		if strings.Contains(part, "..") || strings.Contains(part, "--") || strings.HasSuffix(part, ".") {
			return reference{}, false
		}
	}
	r := reference{repo: m[2], revision: "main"}
	if m[1] != "" {
		r.repo = m[1] + "/" + m[2]
	}
	if m[3] != "" {
		if !filepath.IsLocal(m[3]) {
			return reference{}, false
		}
		r.revision = m[3]
	}
	return r, true
}

// snapshot gives the folder of r, fetched if need be.
func (c *client) snapshot(ctx context.Context, r reference) (string, error) {
	cached, cacheErr := c.cached(r)
	if c.offline {
		if cacheErr != nil {
			return "", fmt.Errorf("the hub may not be asked (HF_HUB_OFFLINE), and %w; unset HF_HUB_OFFLINE, or fetch it where there is a network and copy the cache", cacheErr)
		}
		return cached, nil
	}
	if cacheErr == nil && commit.MatchString(r.revision) {
		return cached, nil // a commit never changes
	}
	info, err := c.info(ctx, r)
	if err != nil {
		if errors.Is(err, errUnreachable) && cacheErr == nil {
			slog.Warn("the hub can't be reached; the model is taken from the cache", "model", r.repo, "error", err)
			return cached, nil
		}
		return "", err
	}
	files, err := choose(info.names())
	if err != nil {
		return "", err
	}
	dir := filepath.Join(c.repoDir(r), "snapshots", info.Commit)
	for i := 0; i < len(files); i++ {
		if err := c.file(ctx, r, info.Commit, files[i]); err != nil {
			return "", fmt.Errorf("%s: %w", files[i], err)
		}
		if checkpoint.IsIndex(files[i]) {
			shards, err := readShards(filepath.Join(dir, files[i]), info.names())
			if err != nil {
				return "", fmt.Errorf("%s: %w", files[i], err)
			}
			files = append(files, shards...)
		}
	}
	// Last, so that a model that is there in part isn't taken for whole.
	if err := c.remember(r, info.Commit); err != nil {
		return "", err
	}
	return dir, nil
}
