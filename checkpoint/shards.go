package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// indexSuffix ends the name of Hugging Face's list of shards, such as
// model.safetensors.index.json.
const indexSuffix = ".index.json"

// maxIndexBytes is far above the index of the largest models.
const maxIndexBytes = 64 << 20

// shardIndex says which file beside it holds which tensor.
type shardIndex struct {
	Metadata  map[string]any    `json:"metadata"`
	WeightMap map[string]string `json:"weight_map"`
}

// readShards reads all the tensors that an index lists. The shards have to hold
// exactly these, each where the index says.
func readShards(path string) (Tensors, map[string]string, error) {
	index, err := readIndex(path)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	tensors := Tensors{}
	metadata := map[string]string{}
	for _, shard := range index.shards() {
		file := filepath.Join(filepath.Dir(path), shard)
		part, more, err := readFile(file)
		if errors.Is(err, os.ErrNotExist) {
			return nil, nil, fmt.Errorf("%s: its shard %s is missing; all shards have to be in the folder of the index", path, shard)
		}
		if err != nil {
			return nil, nil, err
		}
		for name, t := range part {
			if want, ok := index.WeightMap[name]; !ok {
				return nil, nil, fmt.Errorf("%s: tensor %s is not in the index %s; the files belong to different models", file, name, filepath.Base(path))
			} else if want != shard {
				return nil, nil, fmt.Errorf("%s: tensor %s is in %s by the index %s; the files belong to different models", file, name, want, filepath.Base(path))
			}
			tensors[name] = t
		}
		maps.Copy(metadata, more)
	}
	for name, shard := range index.WeightMap {
		if _, ok := tensors[name]; !ok {
			return nil, nil, fmt.Errorf("%s: tensor %s is not in %s; the files belong to different models", path, name, shard)
		}
	}
	for key, value := range index.Metadata {
		metadata[key] = fmt.Sprint(value)
	}
	return tensors, metadata, nil
}

// Shards lists the files that the index at path names, in order, without
// folders.
func Shards(path string) ([]string, error) {
	index, err := readIndex(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return index.shards(), nil
}

func (x shardIndex) shards() []string {
	return slices.Compact(slices.Sorted(maps.Values(x.WeightMap)))
}

func readIndex(path string) (shardIndex, error) {
	file, err := os.Open(path)
	if err != nil {
		return shardIndex{}, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxIndexBytes+1))
	if err != nil {
		return shardIndex{}, err
	}
	if len(data) > maxIndexBytes {
		return shardIndex{}, fmt.Errorf("an index of over %d bytes; it is damaged", maxIndexBytes)
	}
	return parseIndex(data)
}

func parseIndex(data []byte) (shardIndex, error) {
	var index shardIndex
	if err := json.Unmarshal(data, &index); err != nil {
		return shardIndex{}, fmt.Errorf("not an index of shards: %w", err)
	}
	if len(index.WeightMap) == 0 {
		return shardIndex{}, errors.New("not an index of shards: its weight_map is missing or empty")
	}
	for name, shard := range index.WeightMap {
		switch {
		case shard == "" || shard == "." || !filepath.IsLocal(shard) || strings.ContainsAny(shard, `/\`):
			return shardIndex{}, fmt.Errorf("weight_map: tensor %s is in %q; a shard has to be a file in the folder of the index", name, shard)
		case IsIndex(shard):
			return shardIndex{}, fmt.Errorf("weight_map: tensor %s is in %q, which is an index", name, shard)
		}
	}
	return index, nil
}
