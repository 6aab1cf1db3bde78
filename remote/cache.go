package remote

import (
	"cmp"
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
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"arf/internal/atomicfile"

	"github.com/dustin/go-humanize"
	"github.com/gofrs/flock"
)

// Cache keeps whole files on disk, the ones used last. Several programs may
// share it.
type Cache struct {
	Dir   string
	Limit int64 // bytes; the file in use may exceed it by itself for a moment
	Tries Tries
}

// defaultGB bounds the cache, unless $ARF_CACHE_GB says otherwise.
const defaultGB = 50

// DefaultCache is in $ARF_CACHE, or arf/ in the user's cache folder, and holds
// $ARF_CACHE_GB gigabytes, or 50.
func DefaultCache() (*Cache, error) {
	dir := os.Getenv("ARF_CACHE")
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no place for a cache: %w; give a folder in ARF_CACHE", err)
		}
		dir = filepath.Join(base, "arf")
	}
	gb := float64(defaultGB)
	if text := os.Getenv("ARF_CACHE_GB"); text != "" {
		var err error
		if gb, err = strconv.ParseFloat(text, 64); err != nil || !(gb > 0 && gb < 1e9) {
			return nil, fmt.Errorf("ARF_CACHE_GB is %q; give the gigabytes that the cache may take, such as 50", text)
		}
	}
	return &Cache{Dir: filepath.Join(dir, "remote"), Limit: int64(gb * 1e9)}, nil
}

// File is a file of a server, as it was when it was opened.
type File struct {
	URL   string
	cache *Cache
	store store
	at    fileStat
	ctx   context.Context
	dir   string // in the cache

	reads   atomic.Int32
	touched atomic.Int64 // when its use was noted, in seconds
}

// Open asks for a file's size and version. The file's reads end with ctx.
func (c *Cache) Open(ctx context.Context, name string) (*File, error) {
	s, err := openStore(ctx, name)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(name))
	f := &File{URL: name, cache: c, store: s, ctx: ctx, dir: filepath.Join(c.Dir, hex.EncodeToString(sum[:10]))}
	err = c.Tries.do(ctx, "open "+Redacted(name), func(ctx context.Context) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, c.Tries.idle())
		defer cancel()
		f.at, err = s.stat(ctx)
		return false, err
	})
	if err != nil {
		return nil, err
	}
	return f, f.begin()
}

// begin makes the file's folder, and empties it of another version.
func (f *File) begin() error {
	type about struct {
		URL string
		At  fileStat
	}
	now, path := about{Redacted(f.URL), f.at}, filepath.Join(f.dir, "about.json")
	now.At.Modified = time.Time{} // Version says it
	var was about
	if data, err := os.ReadFile(path); err == nil && json.Unmarshal(data, &was) == nil && was == now {
		return nil
	}
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return fmt.Errorf("make the cache of %s: %w; ARF_CACHE names another folder for it", Redacted(f.URL), err)
	}
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if data, err := os.ReadFile(path); err == nil && json.Unmarshal(data, &was) == nil && was == now {
		return nil
	}
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != lockName {
			if err := os.RemoveAll(filepath.Join(f.dir, e.Name())); err != nil {
				return err
			}
		}
	}
	data, err := json.Marshal(now)
	if err != nil {
		return err
	}
	return atomicfile.Write(path, data, 0o644)
}

// Size is the file's, in bytes.
func (f *File) Size() int64 { return f.at.Size }

// Version changes with the content, as far as the server tells: ETag or time, and size.
func (f *File) Version() string { return fmt.Sprintf("%s %d", f.at.Version, f.at.Size) }

// Beside is the path of a small file in the cache that goes with the content,
// such as an index of it. It stays when the file itself is dropped.
func (f *File) Beside(name string) string { return filepath.Join(f.dir, name) }

// Reads of parts after which the whole file is fetched: so many parts of one file
// will not stay the last ones.
const partsRead = 32

// ReadAt reads a part: of the file in the cache if it is there, else from the
// server. Of a file that is read often all is fetched. Errors are of a part
// beyond the file's end, of the context, or ErrUnavailable: a refusing server or
// a full disk mustn't pass for a broken file.
func (f *File) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 || offset+int64(len(p)) > f.at.Size {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := f.readAt(p, offset)
	if err != nil && f.ctx.Err() == nil && !errors.Is(err, ErrUnavailable) {
		err = unavailable{err}
	}
	return n, err
}

func (f *File) readAt(p []byte, offset int64) (int, error) {
	if n, ok, err := f.readLocal(p, offset); ok {
		return n, err
	}
	if !f.at.Ranges || f.reads.Add(1) > partsRead && f.at.Size <= f.cache.Limit {
		if err := f.Fetch(); err != nil {
			return 0, err
		}
		f.reads.Store(0)
		if n, ok, err := f.readLocal(p, offset); ok || !f.at.Ranges {
			return n, err
		}
	}
	err := f.cache.Tries.do(f.ctx, "read "+Redacted(f.URL), func(ctx context.Context) (bool, error) {
		return false, f.cache.Tries.read(ctx, f.store, f.at, offset, int64(len(p)), func(r io.Reader) error {
			_, err := io.ReadFull(r, p)
			return err
		})
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

const wholeName, partName, lockName = "file", "part", "lock"

// lock waits until no other program or goroutine changes the file's folder.
func (f *File) lock() (unlock func(), err error) {
	lock := flock.New(filepath.Join(f.dir, lockName))
	if free, err := lock.TryLockContext(f.ctx, 50*time.Millisecond); err != nil || !free {
		return nil, fmt.Errorf("wait for another program that fetches %s: %w", Redacted(f.URL), err)
	}
	return func() { _ = lock.Unlock() }, nil
}

// Local opens the whole file in the cache, fs.ErrNotExist if it isn't there. It
// stays readable while it is open, even if it is dropped meanwhile.
func (f *File) Local() (*os.File, error) {
	path := filepath.Join(f.dir, wholeName)
	local, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err := local.Stat(); err != nil || info.Size() != f.at.Size {
		local.Close()
		return nil, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
	}
	// The times tell which files to drop first.
	if now := time.Now(); f.touched.Swap(now.Unix()) < now.Unix()-10 {
		_ = os.Chtimes(path, now, now)
	}
	return local, nil
}

// readLocal reads from the cache; ok is false if the file isn't there. It isn't
// kept open, so that what is dropped is gone.
func (f *File) readLocal(p []byte, offset int64) (n int, ok bool, err error) {
	local, err := f.Local()
	if err != nil {
		return 0, false, fmt.Errorf("%s left the cache while it was read; give the cache more room (ARF_CACHE_GB)", Redacted(f.URL))
	}
	defer local.Close()
	n, err = local.ReadAt(p, offset)
	return n, true, err
}

// here tells whether the whole file is in the cache.
func (f *File) here() bool {
	local, err := f.Local()
	if err == nil {
		local.Close()
	}
	return err == nil
}

// Fetch brings the whole file into the cache, where it isn't. A fetch that was
// interrupted goes on where it was, if the server sends parts.
func (f *File) Fetch() error {
	if f.here() {
		return nil
	}
	what := "fetch " + Redacted(f.URL)
	if f.at.Size > f.cache.Limit {
		return fmt.Errorf("%s: it has %s, more than the cache may take (%s); raise ARF_CACHE_GB", what, humanize.Bytes(uint64(f.at.Size)), humanize.Bytes(uint64(f.cache.Limit)))
	}
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if f.here() {
		return nil
	}
	if err := f.cache.makeRoom(f.at.Size, f.dir); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	path := filepath.Join(f.dir, partName)
	part, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer part.Close()
	err = f.cache.Tries.do(f.ctx, what, func(ctx context.Context) (bool, error) {
		from, err := part.Seek(0, io.SeekEnd)
		if err != nil {
			return false, permanent{err}
		}
		if !f.at.Ranges || from > f.at.Size {
			if err := errors.Join(part.Truncate(0), second(part.Seek(0, io.SeekStart))); err != nil {
				return false, permanent{err}
			}
			from = 0
		}
		if from == f.at.Size {
			return false, nil
		}
		var got int64
		err = f.cache.Tries.read(ctx, f.store, f.at, from, -1, func(r io.Reader) error {
			out := &onDisk{File: part}
			var err error
			got, err = io.Copy(out, r)
			if out.err != nil {
				return permanent{fmt.Errorf("%w; ARF_CACHE names another folder for the cache", out.err)}
			}
			if err == nil && from+got != f.at.Size {
				err = fmt.Errorf("the connection ended after %d bytes of %d", from+got, f.at.Size)
			}
			return err
		})
		return got > 0 && f.at.Ranges, err
	})
	if errors.Is(err, errChanged) {
		os.Remove(path)
	}
	if err != nil {
		return err
	}
	if err := part.Sync(); err != nil {
		// What the system couldn't write it may have dropped: nothing to go on from.
		os.Remove(path)
		return fmt.Errorf("%s: %w; ARF_CACHE names another folder for the cache", what, err)
	}
	if err := os.Rename(path, filepath.Join(f.dir, wholeName)); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func second[T any](_ T, err error) error { return err }

// onDisk tells errors of the disk from those of the server.
type onDisk struct {
	*os.File
	err error
}

func (d *onDisk) Write(p []byte) (int, error) {
	n, err := d.File.Write(p)
	if err != nil {
		d.err = err
	}
	return n, err
}

// ReadFrom hides os.File's, which would mix up the two kinds of errors.
func (d *onDisk) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{d}, r)
}

// makeRoom drops the files used longest ago until size more bytes fit.
func (c *Cache) makeRoom(size int64, keep string) error {
	type kept struct {
		path string
		size int64
		used time.Time
	}
	var files []kept
	total := size
	for _, name := range []string{wholeName, partName} {
		names, err := fs.Glob(os.DirFS(c.Dir), "*/"+name)
		if err != nil {
			return err
		}
		for _, n := range names {
			path := filepath.Join(c.Dir, n)
			info, err := os.Stat(path)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			if filepath.Dir(path) == keep {
				continue
			}
			total += info.Size()
			// A part may be in the making.
			if name == wholeName || time.Since(info.ModTime()) > 24*time.Hour {
				files = append(files, kept{path, info.Size(), info.ModTime()})
			}
		}
	}
	slices.SortFunc(files, func(a, b kept) int { return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.path, b.path)) })
	for _, f := range files {
		if total <= c.Limit {
			break
		}
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		total -= f.size
	}
	return nil
}
