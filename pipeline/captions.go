package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"arf/anchor"
	"arf/captioner"
	"arf/clip"
	"arf/config"
	"arf/dataset"
)

func (r *run) captionsPath() string { return filepath.Join(r.dir, "anchors", "captions.jsonl") }

// captionsInputs are what the captions depend on; how they are filtered comes later.
func (r *run) captionsInputs() (inputs, error) {
	c := r.captionSettings()
	c.MinClipScore, c.BatchSize, c.DropDuplicates = 0, 0, false
	tool := "endpoint"
	var err error
	switch e := c.Endpoint; {
	case e.URL != "": // not how it's asked
		c.Endpoint = config.Endpoint{URL: e.URL, Model: e.Model, ImageSize: e.ImageSize, LogProbs: e.LogProbs}
	case c.Retrieves():
		pairs, err := r.pairsInputs(config.PairsCaptions)
		if err != nil {
			return nil, err
		}
		tool = pairs.hash("pairs")
	default:
		if tool, err = captioner.Hash(r.captioner); err != nil {
			return nil, fmt.Errorf("anchors.captions.captioner: %w", err)
		}
	}
	return inputs{
		{contentOf + "model", r.modelHash}, {contentOf + "data.finetune", r.data.hashes["finetune"]}, {contentOf + "captioner", tool},
		{"anchors.captions", c}, {"precision", r.precision.String()},
	}, nil
}

// CaptionGates counts what a config's gates drop of its run's captions.
func CaptionGates(cfg *config.Config) (anchor.Gates, error) {
	r := &run{cfg: cfg, dir: Dir(cfg)}
	return anchor.CountGates(r.captionsPath(), r.captionFilter())
}

// captionFilter is which captions are used.
func (r *run) captionFilter() anchor.CaptionFilter {
	c := r.cfg.Anchors.Captions
	return anchor.CaptionFilter{MinScore: c.MinClipScore, DropDuplicates: c.DropDuplicates}
}

// captionFilterInputs are of a step that uses captions.
func (r *run) captionFilterInputs() inputs {
	f := r.captionFilter()
	in := inputs{{"anchors.captions.min_clip_score", f.MinScore}}
	if f.DropDuplicates { // so that hashes of others stay
		in.add("anchors.captions.drop_duplicates", "without duplicates")
	}
	return in
}

// captionSettings is the config's, in a form that keeps captions from before
// there were beams and endpoints.
func (r *run) captionSettings() config.Captions {
	c := r.cfg.Anchors.Captions
	if c.Beams == 1 {
		c.Beams = 0
	}
	if c.Endpoint.URL == "" {
		c.Endpoint = config.Endpoint{}
	}
	if c.Retrieves() { // it draws nothing
		c.Temperature, c.TopP, c.Beams, c.MaxLength = 1, 1, 0, 0
	}
	return c
}

// captions writes the captions of the finetune images, where anything uses them.
func (r *run) captions(ctx context.Context) error {
	if !r.cfg.NeedsCaptions() {
		return nil
	}
	dir := strings.TrimSuffix(r.captionsPath(), ".jsonl") // of the stamp
	inputs, todo, err := r.agreed(func() (string, bool, error) {
		in, err := r.captionsInputs()
		if err != nil {
			return "", true, err
		}
		h := in.hash("captions")
		if done(dir, h) { // seen without loading the two models
			if summary, err := anchor.Captioned(r.captionsPath()); err == nil && summary != nil {
				r.showCaptions(summary)
				return h, false, nil
			}
		}
		if changes := in.changes(dir); changes != "" {
			slog.Info("captions are written anew", "changed", changes)
		}
		if err := os.RemoveAll(dir); err != nil {
			return h, true, err
		}
		return h, true, in.save(dir)
	})
	if err != nil || !todo {
		return err
	}
	model, err := clip.Load(r.model, r.device)
	if err != nil {
		return err
	}
	if r.cfg.NeedsPool() && r.data.pool != nil && dataset.EmbeddingsOf(r.data.pool) != "" {
		// Features of another model are found out before hours of captioning.
		if _, _, err := r.poolFeatures(ctx, model); err != nil {
			return err
		}
	}
	c := r.captionSettings()
	tool, name, err := r.openCaptioner(ctx, c)
	if err != nil {
		return err
	}
	summary, err := anchor.Caption(ctx, r.captionsPath(), r.data.finetune, tool, model, anchor.CaptionOptions{
		Name: name,
		Generate: captioner.GenerateOptions{
			N: c.PerImage, Temperature: c.Temperature, TopP: c.TopP, Beams: c.Beams, Prompt: c.Prompt, MaxLength: c.MaxLength, Seed: captionSeed,
		},
		DropBoilerplate: c.DropBoilerplate,
		BatchSize:       c.BatchSize, Workers: r.cfg.Train.Workers, Precision: r.precision, Hash: inputs, Group: r.group, Progress: r.stage("captions"),
		Planned: r.planned,
	})
	if err != nil {
		return fmt.Errorf("write captions: %w", err)
	}
	r.showCaptions(summary)
	return r.group.Lead(func() error { return finished(dir, inputs) })
}

func (r *run) showCaptions(summary *anchor.CaptionSummary) {
	if r.o.Out != nil {
		fmt.Fprintf(r.o.Out, "captions: %d of %d images, %.1f words each, %.0f%% name the class, mean CLIP score %.3f\n",
			summary.Captions, summary.Images, summary.Words, 100*summary.NamesClass, summary.CLIPScore)
	}
}

// openCaptioner gives the config's captioner, and what records call it.
func (r *run) openCaptioner(ctx context.Context, c config.Captions) (captioner.Captioner, string, error) {
	if c.Retrieves() {
		if err := r.pairsFrom(ctx, config.PairsCaptions); err != nil {
			return nil, "", fmt.Errorf("anchors.captions.captioner retrieval: %w", err)
		}
		pairs, err := anchor.ReadPairs(r.pairsPath(config.PairsCaptions))
		if err != nil {
			return nil, "", err
		}
		return anchor.NewPairCaptioner(pairs), c.Captioner, nil
	}
	if e := c.Endpoint; e.URL != "" {
		tool, err := captioner.NewEndpoint(captioner.EndpointOptions{
			URL: e.URL, Model: e.Model, KeyEnv: e.APIKeyEnv, ImageSize: e.ImageSize, Concurrency: e.Concurrency,
			RequestsPerMinute: e.RequestsPerMinute, Retries: e.Retries, Timeout: time.Duration(e.Timeout * float64(time.Second)), LogProbs: e.LogProbs,
			Prices: captioner.Prices{Input: e.PriceInput, Output: e.PriceOutput}, MaxRequests: e.MaxRequests, MaxCost: e.MaxCost,
			Answers: filepath.Dir(r.captionsPath()),
		})
		if err != nil {
			return nil, "", fmt.Errorf("anchors.captions.endpoint: %w", err)
		}
		return tool, tool.Name(), nil
	}
	tool, err := captioner.Load(r.captioner, r.device, r.precision)
	if err != nil {
		return nil, "", fmt.Errorf("anchors.captions.captioner: %w", err)
	}
	return tool, c.Captioner, nil
}

// planned tells what an endpoint will cost, before it does.
func (r *run) planned(e captioner.Estimate) {
	if r.o.Out == nil {
		return
	}
	if e.Reused > 0 {
		fmt.Fprintf(r.o.Out, "captions: %d were had before and are used again\n", e.Reused)
		if e.Requests == 0 {
			return
		}
	}
	how := "by a guess"
	if e.Measured {
		how = "by earlier requests"
	}
	cost := ""
	if e.Cost > 0 {
		cost = fmt.Sprintf(", cost %.2f", e.Cost)
	}
	fmt.Fprintf(r.o.Out, "captions: %d requests to come; %s, %d input and %d output tokens%s\n", e.Requests, how, e.InputTokens, e.OutputTokens, cost)
}

// captionSeed is one for all seeds of training: captions are data.
const captionSeed = 0
