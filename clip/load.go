package clip

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"arf/checkpoint"
	"arf/imaging"
	"arf/nn"
	"arf/text"
	"arf/torch"
)

// LoadOptions change how a model is read.
type LoadOptions struct {
	// ImageSize in pixels a side, where it isn't the checkpoint's: a ViT's
	// positional embeddings are interpolated. 0 keeps the checkpoint's.
	ImageSize int
	// Architecture names one of Architectures for a checkpoint file without a
	// config, whose activation and attention heads can't be seen in the
	// weights. "" infers it; see InferConfig.
	Architecture string
	// ForceQuickGELU gives a checkpoint file without a config OpenAI's
	// activation, as open_clip's force_quick_gelu does.
	ForceQuickGELU bool
}

// Load reads a model and its tokenizer onto device d: a folder in Hugging
// Face's layout (config.json; model.safetensors or pytorch_model.bin, whole or
// in shards) or open_clip's (open_clip_config.json; open_clip_model.safetensors,
// open_clip_pytorch_model.bin and the like), or a checkpoint file of open_clip's
// training or of OpenAI's. Weights are converted to float32. What had to be
// guessed (Source) is a warning. Errors name file and field or tensor.
func Load(path string, d torch.Device) (*Model, error) { return LoadWith(path, d, LoadOptions{}) }

// parts are a model as it was read, before it is built.
type parts struct {
	config     Config
	preprocess imaging.Preprocess
	tokenizer  string // the name that open_clip's config has for it, or ""
	tensors    checkpoint.Tensors
	counters   checkpoint.Tensors // see Model
	source     Source
}

// LoadWith is Load with options.
func LoadWith(path string, d torch.Device, o LoadOptions) (m *Model, err error) {
	defer torch.Catch(&err)
	if err := torch.Load(); err != nil {
		return nil, err
	}
	f, err := find(path)
	if err != nil {
		return nil, err
	}
	p, err := read(f, o)
	if err != nil {
		return nil, err
	}
	p.source.Path = path
	if err := p.config.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", cmp.Or(f.config, f.weights), err)
	}
	if o.ImageSize != 0 {
		if err := p.resize(o.ImageSize); err != nil {
			return nil, fmt.Errorf("model %s: %w", path, err)
		}
	}
	if err := p.checkSize(); err != nil {
		return nil, fmt.Errorf("%s: %w", f.weights, err)
	}
	tokenizer, err := loadTokenizer(f.dir, p)
	if err != nil {
		return nil, err
	}
	if p.config.SigLIP { // padding is seen, and the tokenizer pads; published configs have other ids
		p.config.Text.PadID, p.config.Text.EOS = int(tokenizer.Pad()), int(tokenizer.EOS())
	}
	if m, err = New(p.config); err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	m.Preprocess, m.Tokenizer, m.Source = p.preprocess, tokenizer, p.source
	m.hubTokenizer, m.counters = p.tokenizer, p.counters
	if err := nn.Import(m, p.tensors); err != nil {
		if tensor := (*nn.TensorError)(nil); p.source.Layout != HuggingFace && errors.As(err, &tensor) {
			tensor.Name = openclipName(tensor.Name)
		}
		return nil, fmt.Errorf("%s: %w", f.weights, err)
	}
	if m.Source.Guessed != "" {
		slog.Warn("the checkpoint has no config", "model", path, "note", m.Source.Guessed)
	}
	m.To(d)
	return m, nil
}

// read reads config and weights, named and shaped as in Hugging Face's layout.
func read(f files, o LoadOptions) (parts, error) {
	tensors, _, err := checkpoint.Read(f.weights)
	if err != nil {
		return parts{}, err
	}
	if f.layout == "" { // a file: its names tell what it is
		hf, openclip := filepath.Join(f.dir, hfConfigFile), filepath.Join(f.dir, openclipConfigFile)
		switch {
		case isHuggingFace(tensors) && isFile(hf):
			f.layout, f.config = HuggingFace, hf
		case isHuggingFace(tensors):
			return parts{}, fmt.Errorf("%s: these are a Hugging Face model's weights, whose sizes stand in %s; put it beside the file", f.weights, hfConfigFile)
		case o.Architecture == "" && isFile(openclip):
			f.layout, f.config = OpenCLIP, openclip
		}
	}
	if f.config != "" && (o.Architecture != "" || o.ForceQuickGELU) {
		return parts{}, fmt.Errorf("%s says what the architecture is; an architecture or activation can be named for checkpoint files without a config only", f.config)
	}
	if f.layout == HuggingFace {
		return readHuggingFace(f, tensors)
	}
	return readOpenCLIP(f, o, tensors)
}

func isHuggingFace(tensors checkpoint.Tensors) bool {
	for name := range tensors {
		if strings.HasPrefix(name, "text_model.") || strings.HasPrefix(name, "vision_model.") {
			return true
		}
	}
	return false
}

func readHuggingFace(f files, tensors checkpoint.Tensors) (p parts, err error) {
	data, err := os.ReadFile(f.config)
	if err != nil {
		return p, err
	}
	if p.config, err = parseHFConfig(data); err != nil {
		return p, fmt.Errorf("%s: %w", f.config, err)
	}
	if p.preprocess, err = ReadPreprocessor(f.dir, p.config.preprocess()); err != nil {
		return p, err
	}
	p.source = Source{Layout: HuggingFace, Weights: f.weights, DType: dtype(tensors)}
	if err := tensors.CheckFinite(); err != nil {
		return p, fmt.Errorf("%s: %w", f.weights, err)
	}
	// Old transformers saved the position numbers with the weights.
	delete(tensors, "text_model.embeddings.position_ids")
	delete(tensors, "vision_model.embeddings.position_ids")
	p.tensors = tensors
	return p, nil
}

func readOpenCLIP(f files, o LoadOptions, tensors checkpoint.Tensors) (p parts, err error) {
	tensors, counters, openAI := cleanOpenCLIP(tensors)
	p.counters = counters
	p.source = Source{Layout: OpenCLIP, Weights: f.weights, DType: dtype(tensors)}
	if openAI {
		p.source.Layout = OpenAI
	}
	if err := tensors.CheckFinite(); err != nil {
		return p, fmt.Errorf("%s: %w", f.weights, err)
	}
	switch {
	case f.config != "":
		data, err := os.ReadFile(f.config)
		if err != nil {
			return p, err
		}
		if p.config, p.preprocess, p.tokenizer, err = parseOpenCLIPConfig(data); err != nil {
			return p, fmt.Errorf("%s: %w", f.config, err)
		}
	case o.Architecture != "":
		a, err := findArchitecture(o.Architecture)
		if err != nil {
			return p, err
		}
		p.config, p.tokenizer = a.config(), a.tokenizer
		if openAI || o.ForceQuickGELU {
			p.config.setActivation(nn.QuickGELU) // as all of OpenAI's have
		}
		if !openAI {
			p.source.Guessed = notInWeights + guessedPreprocessing
		}
		p.preprocess = imaging.CLIP(p.config.Vision.ImageSize)
	default:
		if p.config, p.source.Guessed, err = inferConfig(tensors, openAI, o.ForceQuickGELU); err != nil {
			return p, fmt.Errorf("%s: %w", f.weights, err)
		}
		p.preprocess = imaging.CLIP(p.config.Vision.ImageSize)
	}
	if p.tensors, err = fromOpenCLIP(tensors); err != nil {
		return p, fmt.Errorf("%s: %w", f.weights, err)
	}
	return p, nil
}

// dtype is that of all floating point tensors, Float32 if they have several.
func dtype(tensors checkpoint.Tensors) torch.DType {
	found := torch.DType(0)
	for _, t := range tensors {
		switch t.DType {
		case torch.Float16, torch.BFloat16, torch.Float32, torch.Float64:
		default:
			continue
		}
		if found != 0 && found != t.DType {
			return torch.Float32
		}
		found = t.DType
	}
	if found == 0 || found == torch.Float64 {
		return torch.Float32
	}
	return found
}

// checkSize bounds what is built by what was read: a config may ask for any size.
func (p parts) checkSize() error {
	got := 0
	for _, t := range p.tensors {
		got += torch.Elements(t.Shape)
	}
	if want := p.config.Parameters(); want > 2*got+1<<20 {
		return fmt.Errorf("the weights are %d numbers, the architecture (%s) has %d; the files belong to different models", got, p.config.Architecture(), want)
	}
	return nil
}

// loadTokenizer reads the tokenizer beside the model. A model with CLIP's
// vocabulary needs none: it's built in, as in open_clip. Each layout's texts are
// cleaned as its own program does.
func loadTokenizer(dir string, p parts) (text.Tokenizer, error) {
	t, err := text.Load(dir, p.config.Text.ContextLength)
	if errors.Is(err, fs.ErrNotExist) {
		if p.tokenizer != "" {
			from := "that of " + p.tokenizer + ", from the hub or by save_pretrained"
			if strings.HasPrefix(p.tokenizer, ".") || filepath.IsAbs(p.tokenizer) { // where it lay, not whose it is
				from = "those that the model came with, or the tokenizer's by save_pretrained"
			}
			return nil, fmt.Errorf("model %s: its tokenizer is not in the folder; put tokenizer.json and tokenizer_config.json there: %s", dir, from)
		}
		if p.config.Text.VocabSize != text.CLIPVocabSize {
			return nil, fmt.Errorf("model %s: its tokenizer is not in the folder, and its %d tokens aren't CLIP's %d; put tokenizer.json, vocab.json with merges.txt, or SigLIP's spiece.model there", dir, p.config.Text.VocabSize, text.CLIPVocabSize)
		}
		t, err = text.CLIP(p.config.Text.ContextLength)
	}
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", dir, err)
	}
	if p.source.Layout != HuggingFace {
		if t, err = text.OpenCLIP(t); err != nil {
			return nil, fmt.Errorf("model %s: %w", dir, err)
		}
	}
	if got := t.VocabSize(); got > p.config.Text.VocabSize {
		return nil, fmt.Errorf("model %s: its tokenizer has %d tokens, its embeddings %d; the files belong to different models", dir, got, p.config.Text.VocabSize)
	}
	return t, nil
}
