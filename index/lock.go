package index

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"
)

// lock waits until no other program writes features to dir: runs share them, and
// two of different inputs would be mixed. The lock lies beside the folder, which
// holds features only.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	whole, err := filepath.Abs(dir)
	if err != nil {
		return func() {}, err
	}
	path := whole + ".lock"
	l := flock.New(path)
	free, err := l.TryLock()
	if err == nil && !free {
		slog.Info("another arf computes features in this folder, and is waited for", "folder", dir)
		free, err = l.TryLockContext(ctx, 200*time.Millisecond)
	}
	if err == nil && !free {
		err = context.Cause(ctx)
	}
	if err != nil {
		return func() {}, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = l.Unlock() }, nil
}
