package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"arf/internal/atomicfile"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

// The cache is laid out as huggingface_hub's:
//
//	models--<org>--<name>/refs/<revision>              a commit
//	models--<org>--<name>/snapshots/<commit>/<file> →  ../../blobs/<etag>
//	models--<org>--<name>/blobs/<etag>                 (<etag>.incomplete on its way)
//	.locks/models--<org>--<name>/<etag>.lock

var (
	commit = regexp.MustCompile(`^[0-9a-f]{40}$`)
	etag   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

func repoFolder(repo string) string { return "models--" + strings.ReplaceAll(repo, "/", "--") }

func (c *client) repoDir(r reference) string { return filepath.Join(c.cache, repoFolder(r.repo)) }

// cached gives the snapshot of r that is there as a whole.
func (c *client) cached(r reference) (string, error) {
	sha := r.revision
	if !commit.MatchString(sha) {
		data, err := os.ReadFile(filepath.Join(c.repoDir(r), "refs", filepath.FromSlash(r.revision)))
		if err != nil || !commit.MatchString(strings.TrimSpace(string(data))) {
			return "", fmt.Errorf("%s is not in the cache %s", r, c.cache)
		}
		sha = strings.TrimSpace(string(data))
	}
	dir := filepath.Join(c.repoDir(r), "snapshots", sha)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", fmt.Errorf("%s is not in the cache %s", r, c.cache)
	}
	var names []string
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(dir, e.Name())); err == nil { // its blob is there
			names = append(names, e.Name())
		}
	}
	if err := whole(dir, names); err != nil {
		return "", fmt.Errorf("%s is in the cache %s in part only (%w)", r, c.cache, err)
	}
	return dir, nil
}

// remember writes which commit a branch or tag is at.
func (c *client) remember(r reference, sha string) error {
	if r.revision == sha {
		return nil
	}
	path := filepath.Join(c.repoDir(r), "refs", filepath.FromSlash(r.revision))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return atomicfile.Write(path, []byte(sha), 0o644)
}

// file sees to it that a snapshot has a file, fetching its blob if need be.
func (c *client) file(ctx context.Context, r reference, sha, name string) error {
	link := filepath.Join(c.repoDir(r), "snapshots", sha, name)
	if _, err := os.Stat(link); err == nil {
		return nil
	}
	meta, err := c.metadata(ctx, r, sha, name)
	if err != nil {
		return err
	}
	blob := filepath.Join(c.repoDir(r), "blobs", meta.etag)
	if err := c.blob(ctx, r, name, blob, meta); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	target, err := filepath.Rel(filepath.Dir(link), blob)
	if err != nil {
		return err
	}
	if err := os.Symlink(target, link); err == nil {
		return nil
	} else if _, there := os.Stat(link); there == nil {
		return nil // another program was first
	}
	if err := renameio.Symlink(target, link); err != nil {
		return fmt.Errorf("link a file of the cache: %w", err)
	}
	return nil
}

// blob fetches a file's content unless it is there; only one program at a time.
func (c *client) blob(ctx context.Context, r reference, name, path string, meta metadata) error {
	lock := flock.New(filepath.Join(c.cache, ".locks", repoFolder(r.repo), meta.etag+".lock"))
	for _, dir := range []string{filepath.Dir(path), filepath.Dir(lock.Path())} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if _, err := lock.TryLockContext(ctx, 200*time.Millisecond); err != nil {
		return fmt.Errorf("wait for another download of the file: %w", err)
	}
	defer func() { _ = lock.Unlock() }()
	if _, err := os.Stat(path); err == nil {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return c.download(ctx, name, path, meta)
}
