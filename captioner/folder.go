package captioner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"arf/checkpoint"
	"arf/clip"
	"arf/internal/atomicfile"
	"arf/nn"
	"arf/text"
	"arf/torch"
)

// Files of a captioner folder, beside the tokenizer's.
const (
	configFile  = "config.json"
	weightsFile = "model.safetensors"
)

// ErrTower is wrapped by errors about a CLIP that isn't the one that the
// captioner was trained on.
var ErrTower = errors.New("not the image tower that this captioner was trained on")

// LoadModel reads the folder of a small captioner and the CLIP whose image tower it needs onto
// device d. The CLIP is looked for at image_tower.path of config.json, relative
// to the folder, then by its folder's name beside the captioner's. A CLIP with
// another image tower is refused (ErrTower).
func LoadModel(dir string, d torch.Device) (*Model, error) {
	c, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	recorded := filepath.Clean(filepath.Join(dir, filepath.FromSlash(c.Tower.Path)))
	path := recorded
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		beside := filepath.Join(dir, "..", filepath.Base(recorded))
		if _, err := os.Stat(beside); err != nil {
			return nil, fmt.Errorf("captioner %s: the CLIP model whose image tower it needs is not at %s (image_tower.path in %s); put it there", dir, recorded, configFile)
		}
		path = beside
	}
	tower, err := clip.Load(path, d)
	if err != nil {
		return nil, fmt.Errorf("captioner %s: its image tower: %w", dir, err)
	}
	m, err := LoadWith(dir, tower)
	if errors.Is(err, ErrTower) {
		return nil, fmt.Errorf("%w; the CLIP is %s (image_tower.path in %s)", err, path, configFile)
	}
	return m, err
}

// LoadWith is LoadModel with a CLIP that is loaded already. They share its tower.
func LoadWith(dir string, tower *clip.Model) (_ *Model, err error) {
	defer torch.Catch(&err)
	c, err := readConfig(dir)
	if err != nil {
		return nil, err
	}
	if err := checkTower(tower.Config); err != nil {
		return nil, fmt.Errorf("captioner %s: %w", dir, err)
	}
	hash, err := TowerHash(tower)
	if err != nil {
		return nil, err
	}
	if hash != c.Tower.SHA256 {
		return nil, fmt.Errorf("captioner %s: %w: its hash is %.12s, want %.12s; give it the CLIP that it belongs to, or train a captioner for this one (`arf pretrain captioner`)", dir, ErrTower, hash, c.Tower.SHA256)
	}
	if t, w, f := towerShape(tower.Config); t != c.Tower.Tokens || w != c.Tower.TokenWidth || f != c.Tower.FeatureWidth {
		return nil, fmt.Errorf("%s: image_tower says %d tokens of %d and a feature of %d, the tower gives %d of %d and %d",
			filepath.Join(dir, configFile), c.Tower.Tokens, c.Tower.TokenWidth, c.Tower.FeatureWidth, t, w, f)
	}
	tokenizer, err := text.Load(dir, c.ContextLength)
	if err != nil {
		return nil, fmt.Errorf("captioner %s: %w", dir, err)
	}
	if got := tokenizer.VocabSize(); got != c.VocabSize {
		return nil, fmt.Errorf("captioner %s: its tokenizer has %d tokens, vocab_size in %s is %d; the files belong to different models", dir, got, configFile, c.VocabSize)
	}
	decoder, err := NewDecoder(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, configFile), err)
	}
	path := filepath.Join(dir, weightsFile)
	tensors, _, err := checkpoint.ReadSafetensors(path)
	if err != nil {
		return nil, fmt.Errorf("captioner: %w", err)
	}
	if err := nn.Import(decoder, tensors); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return assemble(decoder, tower, tokenizer), nil
}

func readConfig(dir string) (Config, error) {
	path := filepath.Join(dir, configFile)
	data, err := readConfigFile(dir)
	if err != nil {
		return Config{}, err
	}
	c, err := parseConfig(data)
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Save writes a folder that LoadModel reads; dtype is Float32, or Float16 to halve
// it. The CLIP isn't part of it. metadata goes into the weights file.
func (m *Model) Save(dir string, dtype torch.DType, metadata map[string]string) (err error) {
	defer torch.Catch(&err)
	tensors := nn.Export(m.Decoder)
	for name, t := range tensors {
		tensors[name] = t.Cast(dtype)
	}
	config, err := json.MarshalIndent(m.Decoder.Config, "", "  ")
	if err != nil {
		return err
	}
	if err := checkpoint.WriteSafetensors(filepath.Join(dir, weightsFile), tensors, metadata); err != nil {
		return fmt.Errorf("save captioner: %w", err)
	}
	if err := m.Tokenizer.Save(dir); err != nil {
		return fmt.Errorf("save captioner: %w", err)
	}
	// The config goes last: a folder with one is whole.
	if err := atomicfile.Write(filepath.Join(dir, configFile), append(config, '\n'), 0o644); err != nil {
		return fmt.Errorf("save captioner: %w", err)
	}
	return nil
}
