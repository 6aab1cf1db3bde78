package pipeline

import (
	"context"
	"fmt"
	"path/filepath"

	"arf/anchor"
	"arf/captioner"
	"arf/clip"
	"arf/config"
)

func (r *run) captionsPath() string { return filepath.Join(r.dir, "anchors", "captions.jsonl") }

// captionsHash covers what the captions depend on; how they are filtered comes later.
func (r *run) captionsHash() (string, error) {
	c := r.captionSettings()
	tool, err := captioner.Hash(r.captioner)
	if err != nil {
		return "", fmt.Errorf("anchors.captions.captioner: %w", err)
	}
	c.MinClipScore, c.BatchSize = 0, 0
	return hash("captions", r.modelHash, r.data.hashes["finetune"], tool, c, r.precision.String()), nil
}

// captionSettings is the config's, in a form that keeps captions from before
// there were beams.
func (r *run) captionSettings() config.Captions {
	c := r.cfg.Anchors.Captions
	if c.Beams == 1 {
		c.Beams = 0
	}
	return c
}

// captions writes the captions of the finetune images, where anything uses them.
func (r *run) captions(ctx context.Context) error {
	if !r.cfg.NeedsCaptions() {
		return nil
	}
	inputs, err := r.captionsHash()
	if err != nil {
		return err
	}
	model, err := clip.Load(r.model, r.device)
	if err != nil {
		return err
	}
	c := r.captionSettings()
	tool, err := captioner.Load(r.captioner, r.device, r.precision)
	if err != nil {
		return fmt.Errorf("anchors.captions.captioner: %w", err)
	}
	summary, err := anchor.Caption(ctx, r.captionsPath(), r.data.finetune, tool, model, anchor.CaptionOptions{
		Name: c.Captioner,
		Generate: captioner.GenerateOptions{
			N: c.PerImage, Temperature: c.Temperature, TopP: c.TopP, Beams: c.Beams, Prompt: c.Prompt, MaxLength: c.MaxLength, Seed: captionSeed,
		},
		BatchSize: c.BatchSize, Workers: r.cfg.Train.Workers, Precision: r.precision, Hash: inputs, Progress: r.stage("captions"),
	})
	if err != nil {
		return fmt.Errorf("write captions: %w", err)
	}
	if r.o.Out != nil {
		fmt.Fprintf(r.o.Out, "captions: %d of %d images, %.1f words each, %.0f%% name the class, mean CLIP score %.3f\n",
			summary.Captions, summary.Images, summary.Words, 100*summary.NamesClass, summary.CLIPScore)
	}
	return nil
}

// captionSeed is one for all seeds of training: captions are data.
const captionSeed = 0
