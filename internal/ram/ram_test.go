package ram

import (
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestAvailable(t *testing.T) {
	const gib = 1 << 30
	meminfo := map[string]string{"proc/meminfo": "MemTotal: 99999999 kB\nMemAvailable:    8388608 kB\n"}
	with := func(files map[string]string) map[string]string {
		maps.Copy(files, meminfo)
		return files
	}
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"nothing known": {nil, 0},
		"no group":      {meminfo, 8 * gib},
		"no limit":      {with(map[string]string{"cgroup/memory.max": "max\n", "cgroup/memory.current": "5\n"}), 8 * gib},
		"a container":   {with(map[string]string{"cgroup/memory.max": "4294967296\n", "cgroup/memory.current": "1073741824\n"}), 3 * gib},
		// After reading many files the group is full of them.
		"files": {with(map[string]string{
			"cgroup/memory.max": "4294967296\n", "cgroup/memory.current": "4294967296\n",
			"cgroup/memory.stat": "anon 1073741824\nfile 3221225472\ninactive_file 2147483648\nactive_file 1073741824\n",
		}), 3 * gib},
		"full":                 {with(map[string]string{"cgroup/memory.max": "4294967296\n", "cgroup/memory.current": "4294967296\n"}), 1},
		"the machine has less": {with(map[string]string{"cgroup/memory.max": "42949672960\n"}), 8 * gib},
		"a group of a group": {with(map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "cgroup/a/memory.max": "2147483648\n", "cgroup/a/b/memory.max": "3221225472\n",
		}), 2 * gib},
		"outside": {with(map[string]string{"proc/self/cgroup": "0::/../../a\n", "cgroup/memory.max": "2147483648\n"}), 2 * gib},
	} {
		dir := t.TempDir()
		for file, content := range c.files {
			path := filepath.Join(dir, file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := available(filepath.Join(dir, "proc"), filepath.Join(dir, "cgroup")); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if n := Available(); runtime.GOOS == "linux" && n <= 0 {
		t.Errorf("%d bytes here", n)
	}
}
