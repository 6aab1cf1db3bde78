package pretrain

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"arf/clip"
	"arf/config"
	"arf/corpus"
	"arf/dataset"
	"arf/imaging"
	"arf/index"
	"arf/nn"
)

// Config is the file that describes a pretraining; configs/pretrain-icon-clip.yaml
// explains its keys.
type Config struct {
	Seed      uint64         `yaml:"seed"`
	Data      dataset.Source `yaml:"data"`
	HeldOut   dataset.Source `yaml:"held_out"`
	Tokenizer struct {
		VocabSize     int `yaml:"vocab_size"`
		MinCount      int `yaml:"min_count"`
		ContextLength int `yaml:"context_length"`
	} `yaml:"tokenizer"`
	Model struct {
		EmbedDim int `yaml:"embed_dim"`
		Vision   struct {
			ImageSize    int   `yaml:"image_size"`
			ResNetLayers []int `yaml:"resnet_layers"`
			PatchSize    int   `yaml:"patch_size"`
			Width        int   `yaml:"width"`
			Layers       int   `yaml:"layers"`
			Heads        int   `yaml:"heads"`
		} `yaml:"vision"`
		Text struct {
			Width  int `yaml:"width"`
			Layers int `yaml:"layers"`
			Heads  int `yaml:"heads"`
		} `yaml:"text"`
	} `yaml:"model"`
	Train struct {
		BatchSize       int     `yaml:"batch_size"`
		Steps           int     `yaml:"steps"`
		LR              float64 `yaml:"lr"`
		WarmupSteps     int     `yaml:"warmup_steps"`
		Cooldown        float64 `yaml:"cooldown"`
		WeightDecay     float64 `yaml:"weight_decay"`
		GradClip        float64 `yaml:"grad_clip"`
		ScaleMin        float64 `yaml:"scale_min"`
		AlternateTexts  float64 `yaml:"alternate_texts"`
		WordWeight      float64 `yaml:"word_weight"`
		WordSteps       int     `yaml:"word_steps"`
		ValidateEvery   int     `yaml:"validate_every"`
		CheckpointEvery int     `yaml:"checkpoint_every"`
		CacheMiB        int64   `yaml:"cache_mib"`
	} `yaml:"train"`
}

// ReadConfig reads a file as strictly as a run's config.
func ReadConfig(path string) (Config, error) {
	var c Config
	data, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	if err := config.Decode(path, data, &c); err != nil {
		return c, err
	}
	t := c.Train
	for _, f := range []struct {
		key string
		ok  bool
	}{
		{"train.batch_size", t.BatchSize >= 2}, {"train.steps", t.Steps > 0}, {"train.lr", t.LR > 0},
		{"train.cooldown", t.Cooldown >= 0 && t.Cooldown <= 1}, {"train.scale_min", t.ScaleMin > 0 && t.ScaleMin <= 1},
		{"train.alternate_texts", t.AlternateTexts >= 0 && t.AlternateTexts <= 1},
		{"train.word_steps", t.WordSteps >= 0}, {"train.validate_every", t.ValidateEvery >= 0}, {"data.path", c.Data.Path != ""}, {"held_out.path", c.HeldOut.Path != ""},
		{"tokenizer.vocab_size", c.Tokenizer.VocabSize > 0}, {"tokenizer.context_length", c.Tokenizer.ContextLength >= 3},
	} {
		if !f.ok {
			return c, fmt.Errorf("%s: %s is missing or out of range", path, f.key)
		}
	}
	return c, nil
}

// Hash identifies a run, which only the same config and the same pairs may
// resume: the config but for the number of steps and what changes no weight,
// and the content of the pairs; of the icon corpus the hash that its manifest
// has of them.
func (c Config) Hash(ctx context.Context, pairs dataset.Dataset) (string, error) {
	c.Train.Steps, c.Train.ValidateEvery, c.Train.CheckpointEvery, c.Train.CacheMiB = 0, 0, 0, 0
	manifest, err := corpus.LoadManifest(filepath.Dir(c.Data.Path))
	if err == nil {
		return config.Hash([]any{c, manifest.Parts[filepath.Base(c.Data.Path)].SHA256}), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	content, err := index.Fingerprint(ctx, pairs)
	if err != nil {
		return "", err
	}
	return config.Hash([]any{c, content}), nil
}

// clipConfig completes the sizes as CLIP's models have them: MLPs four times
// the width, QuickGELU, argmax pooling as open_clip's text tower.
func (c Config) clipConfig(vocabSize, eos, pad int) clip.Config {
	v, t := c.Model.Vision, c.Model.Text
	return clip.Config{
		EmbedDim: c.Model.EmbedDim,
		Vision: clip.VisionConfig{
			ImageSize: v.ImageSize, Width: v.Width, Heads: v.Heads, Activation: nn.QuickGELU,
			PatchSize: v.PatchSize, Layers: v.Layers, MLPWidth: 4 * v.Width, Eps: 1e-5, ResNetLayers: v.ResNetLayers,
		},
		Text: clip.TextConfig{
			ContextLength: c.Tokenizer.ContextLength, VocabSize: vocabSize, Width: t.Width, Layers: t.Layers, Heads: t.Heads,
			MLPWidth: 4 * t.Width, Activation: nn.QuickGELU, Eps: 1e-5, EOS: eos, PadID: pad, ArgmaxPooling: v.ResNetLayers != nil,
		},
	}
}

// Augment is the crop that the config asks for, of nearly square shape.
func (c Config) Augment() imaging.Augment {
	return imaging.Augment{ScaleMin: c.Train.ScaleMin, ScaleMax: 1, RatioMin: 0.9, RatioMax: 1 / 0.9}
}
