// Package ram says how much of the machine's memory this process may still
// take.
package ram

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// Available is in bytes: what the machine has, and what is left to the control
// groups (version 2) that the process is in, where they have a limit. 0 where
// nothing says it. Files that the system keeps in memory count as available.
func Available() int64 { return available("/proc", "/sys/fs/cgroup") }

func available(proc, groups string) int64 {
	least := field(filepath.Join(proc, "meminfo"), "MemAvailable:") << 10
	// A container sees its own group at the top; elsewhere /proc says which it is.
	group := groups
	if data, err := os.ReadFile(filepath.Join(proc, "self", "cgroup")); err == nil {
		for line := range bytes.Lines(data) {
			if path, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("0::")); ok {
				group = filepath.Join(groups, filepath.Clean("/"+string(path)))
			}
		}
	}
	for ; ; group = filepath.Dir(group) {
		if most := number(filepath.Join(group, "memory.max")); most > 0 {
			stat := filepath.Join(group, "memory.stat")
			used := number(filepath.Join(group, "memory.current")) - field(stat, "inactive_file") - field(stat, "active_file")
			if left := max(most-max(used, 0), 1); least == 0 || left < least {
				least = left
			}
		}
		if group == groups || len(group) <= len(groups) {
			return least
		}
	}
}

// number is 0 where a file has none, such as "max".
func number(path string) int64 {
	data, _ := os.ReadFile(path)
	n, _ := strconv.ParseInt(string(bytes.TrimSpace(data)), 10, 64)
	return n
}

// field is the number that follows a name in a file of lines.
func field(path, name string) int64 {
	data, _ := os.ReadFile(path)
	for line := range bytes.Lines(data) {
		if fields := bytes.Fields(line); len(fields) > 1 && string(fields[0]) == name {
			n, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			return n
		}
	}
	return 0
}
