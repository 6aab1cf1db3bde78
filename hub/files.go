package hub

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"arf/checkpoint"
)

// layout is how a library keeps a model: the config, and the names of weights.
type layout struct {
	config  string
	weights []string
}

// of gives the layouts that a repository with these files may have, in the order
// in which clip.Load looks for them.
func of(names []string) []layout {
	const openclip, huggingFace = "open_clip_config.json", "config.json"
	if slices.Contains(names, huggingFace) {
		return []layout{{openclip, checkpoint.OpenCLIPOwnNames}, {huggingFace, checkpoint.HuggingFaceNames}}
	}
	return []layout{{openclip, checkpoint.OpenCLIPNames}}
}

// small are the files beside the weights that a model may need: the model card,
// which says the licence, the classes and prompts of a finetuned model, image preprocessing, and tokenizers of every kind.
var small = []string{
	"README.md", "zeroshot.json",
	"preprocessor_config.json", "processor_config.json",
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model",
}

// choose picks from the names of a repository those of the files that a CLIP
// needs, small ones first. Safetensors come before pickles; shards come with
// their index, later.
func choose(names []string) ([]string, error) {
	var files []string
	for _, name := range small {
		if slices.Contains(names, name) {
			files = append(files, name)
		}
	}
	for _, safe := range []bool{true, false} {
		for _, l := range of(names) {
			for _, weights := range l.weights {
				if strings.Contains(weights, ".safetensors") == safe && slices.Contains(names, l.config) && slices.Contains(names, weights) {
					return append(files, l.config, weights), nil
				}
			}
		}
	}
	var wanted []string
	for _, l := range of([]string{"config.json"}) {
		wanted = append(wanted, fmt.Sprintf("%s with %s", l.config, strings.Join(l.weights, " or ")))
	}
	return nil, fmt.Errorf("it has no weights of a CLIP: want %s; fetch other files by hand and give their path", strings.Join(wanted, ", or "))
}

// readShards gives the shards of an index, all of which the repository must have.
func readShards(index string, names []string) ([]string, error) {
	shards, err := checkpoint.Shards(index)
	if err != nil {
		return nil, err
	}
	for _, shard := range shards {
		if !slices.Contains(names, shard) {
			return nil, fmt.Errorf("its shard %s is not in the repository", shard)
		}
	}
	return shards, nil
}

// whole tells whether a folder has a model in it, shards included.
func whole(dir string, names []string) error {
	files, err := choose(names)
	if err != nil {
		return err
	}
	for _, name := range files {
		if checkpoint.IsIndex(name) {
			if _, err := readShards(filepath.Join(dir, name), names); err != nil {
				return err
			}
		}
	}
	return nil
}
