package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"arf/clip"
	"arf/dataset"
	"arf/eval"
	"arf/finetune"
	"arf/imaging"
	"arf/text"
	"arf/torch"
	"arf/train"
)

// ours does the work with this project's packages and prints what it measured.
func ours(settings string) (err error) {
	defer torch.Catch(&err)
	var w work
	if err := json.Unmarshal([]byte(settings), &w); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	torch.SetThreads(w.Threads)
	var out measured
	switch w.Kind {
	case "forward":
		out, err = forward(w)
	case "flyp", "arf":
		out, err = steps(w)
	case "eval":
		out, err = evaluate(w)
	default:
		err = fmt.Errorf("kind %q is not known", w.Kind)
	}
	if err != nil {
		return err
	}
	out.Engine, out.PeakMemory = "libtorch "+torch.Version(), train.PeakMemory(torch.CPU)
	return json.NewEncoder(os.Stdout).Encode(out)
}

func (w work) precision() torch.DType {
	if w.Precision == torch.BFloat16.String() {
		return torch.BFloat16
	}
	return torch.Float32
}

func load(w work) (*clip.Model, error) {
	if w.Model != "" {
		return clip.Load(w.Model, torch.CPU)
	}
	return random("ViT-B-32")
}

// random is a published architecture with random weights.
func random(architecture string) (*clip.Model, error) {
	config, err := clip.ArchitectureConfig(architecture)
	if err != nil {
		return nil, err
	}
	m, err := clip.New(config)
	if err != nil {
		return nil, err
	}
	m.Init(1)
	m.Tokenizer, err = text.CLIP(config.Text.ContextLength)
	return m, err
}

// writeRandom writes such a model, to profile its training.
func writeRandom(architecture, dir string) error {
	m, err := random(architecture)
	if err != nil {
		return err
	}
	return m.Save(dir, torch.Float32, nil)
}

// forward runs the image tower on ready pixels.
func forward(w work) (measured, error) {
	m, err := load(w)
	if err != nil {
		return measured{}, err
	}
	var seconds []float64
	torch.Scope(func() {
		torch.NoGrad(func() {
			size := m.Config.Vision.ImageSize
			pixels := torch.Randn(torch.CPU, w.Batch, 3, size, size)
			for range w.Warmup + w.Steps {
				began := time.Now()
				torch.Scope(func() {
					torch.Autocast(torch.CPU, w.precision(), func() { m.EncodeImage(pixels) })
				})
				seconds = append(seconds, time.Since(began).Seconds())
			}
		})
	})
	seconds = seconds[w.Warmup:]
	slices.Sort(seconds)
	return measured{Rate: float64(w.Batch) / seconds[len(seconds)/2]}, nil
}

// steps finetunes for a while, by finetune.Run as `arf run` does.
func steps(w work) (measured, error) {
	m, err := load(w)
	if err != nil {
		return measured{}, err
	}
	data, err := readManifest(w.Data)
	if err != nil {
		return measured{}, err
	}
	total := w.Warmup + w.Steps
	o := finetune.Defaults()
	o.Method, o.BatchSize, o.LR, o.WarmupSteps, o.WeightDecay = finetune.FLYP, w.Batch, w.LR, 0, w.WeightDecay
	o.Epochs, o.StopAfter, o.CheckpointEvery = total, total, -1
	o.Augment = imaging.Augment{ScaleMin: 0.9, ScaleMax: 1}
	o.Precision, o.Workers = w.precision(), w.Workers
	given := finetune.Data{Finetune: data.dataset(), Templates: []string{data.Template}}
	if w.Kind == "arf" {
		o.Method = finetune.ARF
		given.Captions, given.Pairs, given.Pool = data.captions(), data.pairs(), data.pool()
	}
	var began time.Time
	var out measured
	o.Progress = func(m train.Metrics) {
		out.Loss += m.Loss / float64(total)
		switch m.Step {
		case w.Warmup:
			began = time.Now()
		case total:
			out.Rate = float64(w.Batch*w.Steps) / time.Since(began).Seconds()
		}
		if m.Skipped {
			out.Loss = math.NaN()
		}
	}
	if _, err := finetune.Run(context.Background(), m, given, o); err != nil && !errors.Is(err, context.Canceled) {
		return out, err
	}
	if math.IsNaN(out.Loss) {
		return out, errors.New("a step's gradient was not finite")
	}
	return out, nil
}

// evaluate classifies image files.
func evaluate(w work) (measured, error) {
	m, err := load(w)
	if err != nil {
		return measured{}, err
	}
	data, err := readManifest(w.Data)
	if err != nil {
		return measured{}, err
	}
	data.Images = data.Images[:min(w.Images, len(data.Images))]
	suite := eval.Suite{
		Name: "bench", Data: data.dataset(), Classes: eval.Classes(data.Classes...), Templates: []string{data.Template},
	}
	o := eval.Options{BatchSize: w.Batch, Workers: w.Workers, Precision: w.precision()}
	warm := suite
	warm.Data = dataset.Limit(suite.Data, w.Batch)
	if _, err := eval.Evaluate(context.Background(), m, warm, o); err != nil {
		return measured{}, err
	}
	began := time.Now()
	result, err := eval.Evaluate(context.Background(), m, suite, o)
	if err != nil {
		return measured{}, err
	}
	if result.Broken > 0 || result.Images != suite.Data.Len() {
		return measured{}, fmt.Errorf("%d of %d images were classified", result.Images, suite.Data.Len())
	}
	return measured{Rate: float64(result.Images) / time.Since(began).Seconds(), Accuracy: result.Metrics.Acc1}, nil
}

// dataset has a manifest's images, keyed by their paths.
func (d *manifest) dataset() dataset.Dataset {
	items := make([]dataset.Item, len(d.Images))
	for i, image := range d.Images {
		items[i] = dataset.Item{Path: image.Path, Class: d.Classes[image.Label]}
	}
	return dataset.List(".", items, d.Classes)
}

func (d *manifest) pool() dataset.Dataset {
	items := make([]dataset.Item, len(d.Pool))
	for i, p := range d.Pool {
		items[i] = dataset.Item{Path: p.Path, Text: p.Text}
	}
	return dataset.List(".", items, nil)
}

func (d *manifest) captions() map[string][]string {
	of := map[string][]string{}
	for _, image := range d.Images {
		of[image.Path] = image.Captions
	}
	return of
}

func (d *manifest) pairs() map[string][]finetune.PairRef {
	of := map[string][]finetune.PairRef{}
	for _, image := range d.Images {
		for _, row := range image.Pairs {
			of[image.Path] = append(of[image.Path], finetune.PairRef{Row: row})
		}
	}
	return of
}
