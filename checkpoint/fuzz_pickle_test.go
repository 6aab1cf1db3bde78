package checkpoint

import (
	"archive/zip"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// checkWhole fails if tensors aren't as long as their shapes say, or are more
// than a file of size bytes may ask for.
func checkWhole(t *testing.T, tensors Tensors, size int) {
	total := 0
	for name, tensor := range tensors {
		want := tensor.DType.Size()
		for _, n := range tensor.Shape {
			want *= n
		}
		if len(tensor.Data) != want {
			t.Fatalf("%s: %d bytes for %v of %v", name, len(tensor.Data), tensor.Shape, tensor.DType)
		}
	}
	seen := map[*byte]bool{}
	for _, tensor := range tensors {
		if n := len(tensor.Data); n > 0 && !seen[&tensor.Data[0]] {
			seen[&tensor.Data[0]] = true
			total += n
		}
	}
	if total > 4*size+1<<20 {
		t.Fatalf("%d bytes of tensors from a file of %d", total, size)
	}
}

func goldenBytes(f *testing.F, pattern string) map[string][]byte {
	f.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(paths) == 0 {
		f.Fatal(err, paths)
	}
	out := map[string][]byte{}
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		out[path] = data
	}
	return out
}

// FuzzPickle: any pickle beside two small storages gives an error or tensors.
func FuzzPickle(f *testing.F) {
	for path, data := range goldenBytes(f, "*.pt") {
		if strings.Contains(path, "legacy") {
			continue
		}
		z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			f.Fatal(err)
		}
		for _, entry := range z.File {
			if !strings.HasSuffix(entry.Name, "/data.pkl") {
				continue
			}
			r, err := entry.Open()
			if err != nil {
				f.Fatal(err)
			}
			pickle, err := io.ReadAll(r)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(pickle)
		}
	}
	storages := strings.Repeat("\x00\x00\x80\x3f", 64)
	locate := func(s *storage) (section, error) {
		return section{at: 0, size: int64(len(storages))}, nil
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := unpickle(data)
		if err != nil {
			return
		}
		if p.length <= 0 || p.length > len(data) {
			t.Fatalf("a pickle of %d bytes in %d", p.length, len(data))
		}
		refs, err := weights(p.root, nil)
		if err != nil {
			return
		}
		tensors, err := readTensors(refs, newTensorReader(strings.NewReader(storages), int64(len(storages)), locate))
		if err == nil {
			checkWhole(t, tensors, len(storages))
		}
	})
}

// FuzzArchive: any bytes give an error or tensors.
func FuzzArchive(f *testing.F) {
	for path, data := range goldenBytes(f, "*.pt") {
		if !strings.Contains(path, "legacy") {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if tensors, err := readBytes(data); err == nil {
			checkWhole(t, tensors, len(data))
		}
	})
}

// FuzzLegacy: the same for files of PyTorch before 1.6.
func FuzzLegacy(f *testing.F) {
	for _, data := range goldenBytes(f, "*_legacy.pt") {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if tensors, err := readLegacy(bytes.NewReader(data), int64(len(data))); err == nil {
			checkWhole(t, tensors, len(data))
		}
	})
}

// FuzzIndex: the shards of any index are files of its folder.
func FuzzIndex(f *testing.F) {
	for _, data := range goldenBytes(f, "*.index.json") {
		f.Add(data)
	}
	f.Add([]byte(`{"weight_map": {"x": "../a"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		index, err := parseIndex(data)
		if err != nil {
			return
		}
		for _, shard := range index.shards() {
			if filepath.Join("folder", shard) != "folder"+string(filepath.Separator)+shard || filepath.Base(shard) != shard {
				t.Fatalf("shard %q", shard)
			}
		}
	})
}
