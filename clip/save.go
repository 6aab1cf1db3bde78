package clip

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"arf/checkpoint"
	"arf/internal/atomicfile"
	"arf/nn"
	"arf/text"
	"arf/torch"
)

// SaveOptions say how a model is written.
type SaveOptions struct {
	// Layout is HuggingFace or OpenCLIP. "" takes Hugging Face's where it can
	// hold the model, else open_clip's.
	Layout Layout
	// DType of the weights: Float32 (0 too), Float16 or BFloat16. Halves round;
	// those that were read as such are written as they were.
	DType torch.DType
	// Metadata goes into the weights file.
	Metadata map[string]string
	// Card is written as README.md; nil writes none.
	Card *Card
}

// Save writes a model folder that Load and the Python libraries read, in the
// layout that SaveOptions' zero value means.
func (m *Model) Save(dir string, dtype torch.DType, metadata map[string]string) error {
	return m.SaveWith(dir, SaveOptions{DType: dtype, Metadata: metadata})
}

// SaveWith writes a model folder: config, weights, tokenizer and, in Hugging
// Face's layout, preprocessing. Each file appears whole or not at all and the
// config last, so a folder that has one is whole. Model files of another layout
// in dir are removed; other files stay.
func (m *Model) SaveWith(dir string, o SaveOptions) (err error) {
	defer torch.Catch(&err)
	o.DType = cmp.Or(o.DType, torch.Float32)
	switch o.DType {
	case torch.Float32, torch.Float16, torch.BFloat16:
	default:
		return fmt.Errorf("save %s: %v weights are not supported; supported are float32, float16 and bfloat16", dir, o.DType)
	}
	if o.Layout == "" {
		o.Layout = m.Config.layout()
	}
	tensors := nn.Export(m)
	for name, t := range tensors {
		tensors[name] = t.Cast(o.DType)
	}
	if err := tensors.CheckFinite(); err != nil {
		return fmt.Errorf("save %s as %v: %w", dir, o.DType, err)
	}
	var configFile, weightsFile string
	var config, preprocessor []byte
	switch o.Layout {
	case HuggingFace:
		configFile, weightsFile = hfConfigFile, hfWeightsFile
		if err := m.Config.checkHF(); err != nil {
			return fmt.Errorf("save %s: %w", dir, err)
		}
		if config, err = m.Config.hf(int(m.Tokenizer.BOS()), o.DType.String()); err != nil {
			return err
		}
		if preprocessor, err = formatPreprocessor(m.Preprocess, m.Config.SigLIP); err != nil {
			return err
		}
	case OpenCLIP:
		configFile, weightsFile = openclipConfigFile, openclipWeights
		if config, err = m.Config.openclip(m.Preprocess, m.openclipTokenizer()); err != nil {
			return fmt.Errorf("save %s: %w", dir, err)
		}
		if tensors, err = toOpenCLIP(tensors); err != nil {
			return err
		}
		maps.Copy(tensors, m.counters)
	default:
		return fmt.Errorf("save %s: layout %q can't be written; layouts are %q and %q", dir, o.Layout, HuggingFace, OpenCLIP)
	}
	if err := removeOthers(dir, weightsFile); err != nil {
		return fmt.Errorf("save %s: %w", dir, err)
	}
	meta := map[string]string{"format": "pt"} // transformers refuses files without it
	maps.Copy(meta, o.Metadata)
	if err := checkpoint.WriteSafetensors(filepath.Join(dir, weightsFile), tensors, meta); err != nil {
		return err
	}
	if err := m.Tokenizer.Save(dir); err != nil {
		return err
	}
	if o.Card != nil {
		if err := atomicfile.Write(filepath.Join(dir, cardFile), o.Card.format(m, o.Layout, o.DType), 0o644); err != nil {
			return err
		}
	}
	if preprocessor != nil {
		if err := atomicfile.Write(filepath.Join(dir, preprocessorFile), append(preprocessor, '\n'), 0o644); err != nil {
			return err
		}
	}
	return atomicfile.Write(filepath.Join(dir, configFile), append(config, '\n'), 0o644)
}

// layout is Hugging Face's where it can hold the model, else open_clip's.
func (c Config) layout() Layout {
	if c.checkHF() != nil {
		return OpenCLIP
	}
	return HuggingFace
}

// removeOthers makes dir no model, and leaves no weights that a reader could
// take for those that are written now.
func removeOthers(dir, weightsFile string) error {
	for _, name := range slices.Concat([]string{hfConfigFile, openclipConfigFile, preprocessorFile, processorFile}, checkpoint.HuggingFaceNames, checkpoint.OpenCLIPOwnNames) {
		if name == weightsFile {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// openclipTokenizer is the config's hf_tokenizer_name: "" for CLIP's own
// vocabulary, which open_clip has, else that of the source. open_clip takes the
// files of the model's folder for any name.
func (m *Model) openclipTokenizer() string {
	if m.hubTokenizer != "" {
		return m.hubTokenizer
	}
	if text.IsCLIP(m.Tokenizer) {
		return ""
	}
	return "."
}
