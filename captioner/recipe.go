package captioner

import (
	"fmt"
	"os"

	"arf/config"
	"arf/dataset"
	"arf/imaging"
)

// Recipe is the file that describes a captioner's training;
// configs/pretrain-icon-captioner.yaml explains its keys.
type Recipe struct {
	Seed    int64          `yaml:"seed"`
	Data    dataset.Source `yaml:"data"`
	HeldOut dataset.Source `yaml:"held_out"`
	Wording struct {
		Join   bool `yaml:"join"`
		Styles []struct {
			Value string `yaml:"value"`
			Word  string `yaml:"word"`
		} `yaml:"styles"`
	} `yaml:"wording"`
	Model struct {
		Width  int `yaml:"width"`
		Layers int `yaml:"layers"`
		Heads  int `yaml:"heads"`
		// FromText starts from the CLIP's text tower.
		FromText bool `yaml:"from_text"`
	} `yaml:"model"`
	Train struct {
		BatchSize       int     `yaml:"batch_size"`
		Epochs          int     `yaml:"epochs"`
		LR              float64 `yaml:"lr"`
		WarmupSteps     int     `yaml:"warmup_steps"`
		WeightDecay     float64 `yaml:"weight_decay"`
		LabelSmoothing  float64 `yaml:"label_smoothing"`
		Dropout         float64 `yaml:"dropout"`
		Views           int     `yaml:"views"`
		ScaleMin        float64 `yaml:"scale_min"`
		ValidateEvery   int     `yaml:"validate_every"`
		CheckpointEvery int     `yaml:"checkpoint_every"`
	} `yaml:"train"`
}

// ReadRecipe reads a file as strictly as a run's config.
func ReadRecipe(path string) (Recipe, error) {
	var r Recipe
	data, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := config.Decode(path, data, &r); err != nil {
		return r, err
	}
	if r.Data.Path == "" {
		return r, fmt.Errorf("%s: data.path is missing", path)
	}
	o := r.Options()
	o.Dir = "."
	if _, err := o.withDefaults(); err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Options are the recipe's part of Train's options. Data and HeldOut are for
// the caller to open.
func (r Recipe) Options() Options {
	o := Options{
		Width: r.Model.Width, Layers: r.Model.Layers, Heads: r.Model.Heads, FromText: r.Model.FromText, Seed: r.Seed,
		BatchSize: r.Train.BatchSize, Epochs: r.Train.Epochs, LR: r.Train.LR, WarmupSteps: r.Train.WarmupSteps,
		WeightDecay: r.Train.WeightDecay, LabelSmoothing: r.Train.LabelSmoothing, Dropout: r.Train.Dropout,
		Views: r.Train.Views, ValidateEvery: r.Train.ValidateEvery, CheckpointEvery: r.Train.CheckpointEvery,
		Wording: Wording{Join: r.Wording.Join},
	}
	if r.Train.Views > 1 {
		o.Augment = imaging.Augment{ScaleMin: r.Train.ScaleMin, ScaleMax: 1, RatioMin: 0.9, RatioMax: 1 / 0.9}
	}
	for _, s := range r.Wording.Styles {
		if o.Wording.Styles == nil {
			o.Wording.Styles = map[string]string{}
		}
		o.Wording.Styles[s.Value] = s.Word
	}
	return o
}
