package clip

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"arf/checkpoint"
	"arf/imaging"
	"arf/nn"
	"arf/text"
	"arf/torch"

	"github.com/google/renameio/v2"
)

// Files of a model folder.
const (
	hfConfigFile       = "config.json"
	hfWeightsFile      = "model.safetensors"
	preprocessorFile   = "preprocessor_config.json"
	openclipConfigFile = "open_clip_config.json"
	openclipWeights    = "open_clip_model.safetensors"
)

// Load reads a model folder in Hugging Face's layout (config.json,
// model.safetensors) or open_clip's (open_clip_config.json,
// open_clip_model.safetensors), with the tokenizer's files, onto device d.
// Weights are converted to float32. Errors name file and field.
func Load(dir string, d torch.Device) (m *Model, err error) {
	defer torch.Catch(&err)
	if err := torch.Load(); err != nil {
		return nil, err
	}
	var config Config
	var preprocess imaging.Preprocess
	weightsFile := hfWeightsFile
	if data, err := os.ReadFile(filepath.Join(dir, openclipConfigFile)); err == nil {
		weightsFile = openclipWeights
		if config, preprocess, err = parseOpenCLIPConfig(data); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, openclipConfigFile), err)
		}
	} else if data, err := os.ReadFile(filepath.Join(dir, hfConfigFile)); err == nil {
		if config, err = parseHFConfig(data); err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, hfConfigFile), err)
		}
		if preprocess, err = readPreprocessor(filepath.Join(dir, preprocessorFile), config.Vision.ImageSize); err != nil {
			return nil, err
		}
	} else if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("model %s: there is neither %s (Hugging Face) nor %s (open_clip) in it; give the folder of a CLIP model", dir, hfConfigFile, openclipConfigFile)
	} else {
		return nil, err
	}
	if m, err = New(config); err != nil {
		return nil, fmt.Errorf("model %s: %w", dir, err)
	}
	m.Preprocess = preprocess
	if m.Tokenizer, err = text.Load(dir, config.Text.ContextLength); err != nil {
		return nil, fmt.Errorf("model %s: %w", dir, err)
	}
	if got := m.Tokenizer.VocabSize(); got > config.Text.VocabSize {
		return nil, fmt.Errorf("model %s: its tokenizer has %d tokens, its embeddings %d; the files belong to different models", dir, got, config.Text.VocabSize)
	}
	path := filepath.Join(dir, weightsFile)
	tensors, _, err := checkpoint.ReadSafetensors(path)
	if err != nil {
		return nil, err
	}
	if weightsFile == openclipWeights {
		if tensors, err = fromOpenCLIP(tensors); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	// Old transformers saved the position numbers with the weights.
	delete(tensors, "text_model.embeddings.position_ids")
	delete(tensors, "vision_model.embeddings.position_ids")
	if err := nn.Import(m, tensors); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	m.To(d)
	return m, nil
}

// Save writes a model folder that Load and the Python libraries read: Hugging
// Face's layout, or open_clip's for a ModifiedResNet. dtype is Float32, or
// Float16 or BFloat16 to halve the file. metadata goes into the weights file.
func (m *Model) Save(dir string, dtype torch.DType, metadata map[string]string) (err error) {
	defer torch.Catch(&err)
	tensors := nn.Export(m)
	for name, t := range tensors {
		tensors[name] = t.Cast(dtype)
	}
	meta := map[string]string{"format": "pt"} // transformers refuses files without it
	for k, v := range metadata {
		meta[k] = v
	}
	var configFile, weightsFile string
	var config []byte
	if m.Config.Vision.IsResNet() {
		configFile, weightsFile = openclipConfigFile, openclipWeights
		if config, err = m.Config.openclip(m.Preprocess); err != nil {
			return err
		}
		if tensors, err = toOpenCLIP(tensors); err != nil {
			return err
		}
	} else {
		configFile, weightsFile = hfConfigFile, hfWeightsFile
		if config, err = m.Config.hf(int(m.Tokenizer.BOS()), dtype.String()); err != nil {
			return err
		}
		if err := writePreprocessor(filepath.Join(dir, preprocessorFile), m.Preprocess); err != nil {
			return err
		}
	}
	// The config goes last: a folder with one is whole.
	if err := checkpoint.WriteSafetensors(filepath.Join(dir, weightsFile), tensors, meta); err != nil {
		return err
	}
	if err := m.Tokenizer.Save(dir); err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(dir, configFile), append(config, '\n'), 0o644)
}

// Hash identifies a model's folder: the SHA-256 over its config, weights and
// preprocessing and the tokenizer's files.
func Hash(dir string) (string, error) {
	return checkpoint.HashFiles(dir, append([]string{hfConfigFile, hfWeightsFile, preprocessorFile, openclipConfigFile, openclipWeights}, text.Files()...)...)
}
