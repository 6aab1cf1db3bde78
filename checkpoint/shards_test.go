package checkpoint

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"arf/torch"
)

func number(v byte) Tensor { return Tensor{DType: torch.Uint8, Shape: []int{1}, Data: []byte{v}} }

// writeAll puts files into a new folder: bytes, or tensors as safetensors.
func writeAll(t *testing.T, files map[string]any) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		var err error
		switch c := content.(type) {
		case string:
			err = os.WriteFile(path, []byte(c), 0o644)
		case Tensors:
			err = WriteSafetensors(path, c, map[string]string{"format": "pt"})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadShards(t *testing.T) {
	dir := writeAll(t, map[string]any{
		"a.safetensors":                Tensors{"x": number(1), "y": number(2)},
		"b.safetensors":                Tensors{"z": number(3)},
		"model.safetensors.index.json": `{"metadata": {"total_size": 3}, "weight_map": {"x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors"}}`,
	})
	path := filepath.Join(dir, "model.safetensors.index.json")
	tensors, metadata, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Tensors{"x": number(1), "y": number(2), "z": number(3)}); !reflect.DeepEqual(tensors, want) {
		t.Errorf("got %v", tensors)
	}
	if want := map[string]string{"format": "pt", "total_size": "3"}; !reflect.DeepEqual(metadata, want) {
		t.Errorf("got metadata %v", metadata)
	}
	if shards, err := Shards(path); err != nil || !reflect.DeepEqual(shards, []string{"a.safetensors", "b.safetensors"}) {
		t.Errorf("shards %v, %v", shards, err)
	}
}

func TestReadShardsRefuses(t *testing.T) {
	one := Tensors{"x": number(1)}
	for name, c := range map[string]struct {
		files map[string]any
		index string
		want  string
	}{
		"missing shard":    {nil, `{"weight_map": {"x": "a.safetensors"}}`, "shard a.safetensors is missing"},
		"missing tensor":   {map[string]any{"a.safetensors": one}, `{"weight_map": {"x": "a.safetensors", "y": "a.safetensors"}}`, "tensor y is not in a.safetensors"},
		"unlisted tensor":  {map[string]any{"a.safetensors": Tensors{"x": number(1), "y": number(2)}}, `{"weight_map": {"x": "a.safetensors"}}`, "tensor y is not in the index"},
		"elsewhere":        {map[string]any{"a.safetensors": one, "b.safetensors": one}, `{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}`, "tensor x is in a.safetensors by the index"},
		"parent":           {nil, `{"weight_map": {"x": "../a.safetensors"}}`, "in the folder of the index"},
		"absolute":         {nil, `{"weight_map": {"x": "/etc/passwd"}}`, "in the folder of the index"},
		"subfolder":        {nil, `{"weight_map": {"x": "sub/a.safetensors"}}`, "in the folder of the index"},
		"backslash":        {nil, `{"weight_map": {"x": "..\\a.safetensors"}}`, "in the folder of the index"},
		"empty name":       {nil, `{"weight_map": {"x": ""}}`, "in the folder of the index"},
		"index of indexes": {nil, `{"weight_map": {"x": "i.index.json"}}`, "which is an index"},
		"empty":            {nil, `{}`, "weight_map is missing or empty"},
		"not JSON":         {nil, `weights`, "not an index of shards"},
		"wrong type":       {nil, `{"weight_map": ["x"]}`, "not an index of shards"},
		"LFS pointer":      {map[string]any{"a.safetensors": "version https://git-lfs.github.com/spec/v1\n"}, `{"weight_map": {"x": "a.safetensors"}}`, "git lfs pull"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeAll(t, c.files)
			path := filepath.Join(dir, "i.index.json")
			if err := os.WriteFile(path, []byte(c.index), 0o644); err != nil {
				t.Fatal(err)
			}
			if _, _, err := Read(path); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v, want an error about %q", err, c.want)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	dir := writeAll(t, map[string]any{"empty": "", "page": "<!doctype html>", "short": "abc"})
	for file, want := range map[string]string{"empty": "is empty", "page": "web page", "short": "header too small", "absent": "no such file"} {
		if _, _, err := Read(filepath.Join(dir, file)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: got %v, want an error about %q", file, err, want)
		}
	}
}
