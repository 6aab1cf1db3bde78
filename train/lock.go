package train

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"arf/remote"

	"github.com/gofrs/flock"
)

const lockFile = ".lock"

// Lock makes this process the only one that works in a folder, which is made
// where it's missing, until unlock or the process' end. Where another one does,
// the error names it and ends with mend, which says what else could be done.
// A file system without locks is an error.
func Lock(dir, mend string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	path := filepath.Join(dir, lockFile)
	lock := flock.New(path)
	free, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if !free {
		return nil, fmt.Errorf("%s is in use by another arf%s; wait for it, or %s", dir, owner(path), mend)
	}
	host, _ := os.Hostname()
	// For messages only, so that a full disk doesn't matter here.
	_ = os.WriteFile(path, fmt.Appendf(nil, "process %d on %s since %s: %s\n", os.Getpid(), host, time.Now().Format(time.DateTime), remote.RedactedText(strings.Join(os.Args, " "))), 0o644)
	return func() { _ = lock.Unlock() }, nil
}

// owner is what the lock's holder wrote.
func owner(path string) string {
	const longest = 500
	data, err := os.ReadFile(path)
	line, _, _ := strings.Cut(string(data[:min(len(data), longest)]), "\n")
	if err != nil || line == "" {
		return ""
	}
	return " (" + strings.ToValidUTF8(line, "") + ")"
}
