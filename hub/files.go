package hub

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"arf/checkpoint"
)

const indexSuffix = ".index.json"

// layout is how a library keeps a model: the config, and the weights, the best
// form first. Safetensors come before pickles.
type layout struct {
	config      string
	safetensors []string
	pickles     []string
}

// Layouts in the order in which clip.Load looks for them, and with its names.
// Weights of Hugging Face's names are open_clip's where there is no config.json.
var (
	openclip = layout{
		config:      "open_clip_config.json",
		safetensors: []string{"open_clip_model.safetensors", "open_clip_model.safetensors.index.json", "open_clip_pytorch_model.safetensors"},
		pickles:     []string{"open_clip_pytorch_model.bin", "open_clip_pytorch_model.bin.index.json", "open_clip_pytorch_model.pth"},
	}
	huggingFace = layout{
		config:      "config.json",
		safetensors: []string{"model.safetensors", "model.safetensors.index.json"},
		pickles:     []string{"pytorch_model.bin", "pytorch_model.bin.index.json"},
	}
	layouts = []layout{openclip, huggingFace}
)

// of gives the layouts that a repository with these files may have.
func of(names []string) []layout {
	if slices.Contains(names, huggingFace.config) {
		return layouts
	}
	either := openclip
	either.safetensors = slices.Concat(openclip.safetensors, huggingFace.safetensors)
	either.pickles = slices.Concat(openclip.pickles, huggingFace.pickles)
	return []layout{either}
}

// small are the files beside the weights that a model may need: the model card,
// which says the licence, image preprocessing, and tokenizers of every kind.
var small = []string{
	"README.md",
	"preprocessor_config.json", "processor_config.json",
	"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
	"vocab.json", "merges.txt", "vocab.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model",
}

// choose picks from the names of a repository those of the files that a CLIP
// needs, small ones first. Shards come with their index, later.
func choose(names []string) ([]string, error) {
	var files []string
	for _, name := range small {
		if slices.Contains(names, name) {
			files = append(files, name)
		}
	}
	for _, kind := range []func(layout) []string{
		func(l layout) []string { return l.safetensors },
		func(l layout) []string { return l.pickles },
	} {
		for _, l := range of(names) {
			if !slices.Contains(names, l.config) {
				continue
			}
			for _, weights := range kind(l) {
				if slices.Contains(names, weights) {
					return append(files, l.config, weights), nil
				}
			}
		}
	}
	var wanted []string
	for _, l := range layouts {
		wanted = append(wanted, fmt.Sprintf("%s with %s", l.config, strings.Join(slices.Concat(l.safetensors, l.pickles), " or ")))
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
		if strings.HasSuffix(name, indexSuffix) {
			if _, err := readShards(filepath.Join(dir, name), names); err != nil {
				return err
			}
		}
	}
	return nil
}
