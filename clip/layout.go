package clip

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"arf/checkpoint"
	"arf/text"
	"arf/torch"
)

// Layout is a way to lay a model out in files.
type Layout string

const (
	HuggingFace Layout = "hf"       // config.json, preprocessor_config.json, model.safetensors
	OpenCLIP    Layout = "openclip" // open_clip_config.json, open_clip_model.safetensors
	OpenAI      Layout = "openai"   // OpenAI's TorchScript archive; read only
)

// Source says where a model came from.
type Source struct {
	Path    string // what Load was given
	Layout  Layout
	Weights string // the file of the weights, or the index of its shards
	// DType is the weights' number type in the file; Float32 where they have
	// several, as OpenAI's archives.
	DType torch.DType
	// Guessed says what the files leave open and how it was decided, "" if nothing.
	Guessed string
}

// Files of a model folder.
const (
	hfConfigFile       = "config.json"
	hfWeightsFile      = "model.safetensors"
	preprocessorFile   = "preprocessor_config.json"
	processorFile      = "processor_config.json" // transformers 5 has preprocessing in it
	openclipConfigFile = "open_clip_config.json"
	openclipWeights    = "open_clip_model.safetensors"
	cardFile           = "README.md"
)

// files are the parts of a model on disk.
type files struct {
	layout  Layout // "" for a weights file without a config
	dir     string
	config  string // "" if there is none
	weights string
}

// find tells what is at path: a folder in Hugging Face's or open_clip's layout,
// or a file of weights. Folders on the hub often have both layouts; then
// open_clip's is taken if its weights are there.
func find(path string) (files, error) {
	info, err := os.Stat(path)
	if err != nil {
		return files{}, fmt.Errorf("model %s: %w", path, err)
	}
	if !info.IsDir() {
		return files{dir: filepath.Dir(path), weights: path}, nil
	}
	f := files{dir: path}
	var looked []string
	first := func(names []string) bool {
		looked = append(looked, names...)
		for _, name := range names {
			if f.weights = filepath.Join(path, name); isFile(f.weights) {
				return true
			}
		}
		return false
	}
	openclip, hf := filepath.Join(path, openclipConfigFile), filepath.Join(path, hfConfigFile)
	if isFile(openclip) {
		names := checkpoint.OpenCLIPNames
		if isFile(hf) {
			names = checkpoint.OpenCLIPOwnNames
		}
		if f.layout, f.config = OpenCLIP, openclip; first(names) {
			return f, nil
		}
	}
	if isFile(hf) {
		if f.layout, f.config = HuggingFace, hf; first(checkpoint.HuggingFaceNames) {
			return f, nil
		}
	}
	if f.config == "" {
		return files{}, fmt.Errorf("model %s: there is neither %s (Hugging Face) nor %s (open_clip) in it; give the folder of a CLIP model, or a checkpoint file of open_clip's or OpenAI's", path, hfConfigFile, openclipConfigFile)
	}
	return files{}, fmt.Errorf("model %s: %s is there, but no weights; looked for %s", path, filepath.Base(f.config), strings.Join(looked, ", "))
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// Hash identifies a model's files: the SHA-256 over its config, weights and
// preprocessing and the tokenizer's files.
func Hash(path string) (string, error) {
	dir := path
	names := append([]string{hfConfigFile, hfWeightsFile, preprocessorFile, openclipConfigFile, openclipWeights, processorFile}, text.Files()...)
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	f, err := find(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err == nil {
		dir = f.dir
		add(filepath.Base(f.weights))
		if checkpoint.IsIndex(f.weights) {
			shards, err := checkpoint.Shards(f.weights)
			if err != nil {
				return "", err
			}
			for _, shard := range shards {
				add(shard)
			}
		}
	}
	return checkpoint.HashFiles(dir, names...)
}
