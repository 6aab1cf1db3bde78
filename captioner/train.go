package captioner

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"arf/clip"
	"arf/dataset"
	"arf/imaging"
	"arf/internal/atomicfile"
	"arf/nn"
	"arf/torch"
	"arf/train"
)

// Options of Train. Only Dir is needed; zero values take the defaults given.
// See Recipe for the file that gives most of them.
type Options struct {
	// Dir is the run folder: features/ (the tower's, reused), checkpoints/,
	// metrics.jsonl, and at the end model/ (float16, with training.json and the
	// thinned training-log.jsonl).
	Dir string
	// CLIPDir is the folder that the CLIP was loaded from, recorded relative to
	// Dir/model. Load also finds a CLIP folder of that name beside the captioner.
	CLIPDir string

	Width, Layers, Heads, MLPWidth int // of the decoder: 256, 3, Width/64, 4·Width

	// DataHash identifies the images, such as a corpus' manifest hash. Keys and
	// texts are hashed anyway; images that change under the same key are noticed
	// by this only.
	DataHash string
	// FromText starts from the CLIP's text tower, whose sizes are then the
	// defaults, in place of random weights. Width, heads and MLP must be its.
	FromText bool
	Heldout  dataset.Dataset // pairs for the validation loss; nil = none
	Wording  Wording         // how captions are made of a sample's texts
	// Views of each image: the plain one and, with Augment, further ones. 0 is 1.
	Views   int
	Augment imaging.Augment // of the further views

	BatchSize      int     // 256
	Epochs         int     // 6
	LR             float64 // 1e-3
	WarmupSteps    int     // a twentieth of the steps, at most 500
	WeightDecay    float64 // 0 = none
	LabelSmoothing float64 // 0 to 1
	Dropout        float64 // on prefix and embeddings; 0 to 1
	Seed           int64
	Precision      torch.DType // torch.BFloat16 or Float32, which is the default

	ValidateEvery   int // steps; 0 = only at the end
	HeldoutSamples  int // 2000
	CheckpointEvery int // steps; 0 = each epoch
	StopAfter       int // steps after which to stop as if interrupted; 0 = never

	Command  string                                       // recorded in training.json
	Planned  func(steps int)                              // told before the first step; may be nil
	Progress func(train.Metrics)                          // of training; may be nil
	Encoding func(what string, view int, done, total int) // of the tower's pass over "train" or "heldout"; may be nil
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("train captioner: no run folder (Dir)")
	}
	o.Width, o.Layers = cmp.Or(o.Width, 256), cmp.Or(o.Layers, 3)
	o.Heads, o.MLPWidth = cmp.Or(o.Heads, max(1, o.Width/64)), cmp.Or(o.MLPWidth, 4*o.Width)
	o.Views, o.BatchSize, o.Epochs = cmp.Or(o.Views, 1), cmp.Or(o.BatchSize, 256), cmp.Or(o.Epochs, 6)
	o.LR, o.Precision, o.HeldoutSamples = cmp.Or(o.LR, 1e-3), cmp.Or(o.Precision, torch.Float32), cmp.Or(o.HeldoutSamples, 2000)
	for _, f := range []struct {
		name          string
		value, lo, hi float64
	}{
		{"views", float64(o.Views), 1, 1 << 10}, {"batch size", float64(o.BatchSize), 1, 1 << 20}, {"epochs", float64(o.Epochs), 1, 1 << 20},
		{"learning rate", o.LR, 1e-12, 1e3}, {"weight decay", o.WeightDecay, 0, 1e3},
		{"label smoothing", o.LabelSmoothing, 0, 0.999}, {"dropout", o.Dropout, 0, 0.999},
		{"warm-up steps", float64(o.WarmupSteps), 0, 1 << 30}, {"held-out samples", float64(o.HeldoutSamples), 1, 1 << 30},
	} {
		if !(f.value >= f.lo && f.value <= f.hi) {
			return o, fmt.Errorf("train captioner: %s is %g, want %g to %g", f.name, f.value, f.lo, f.hi)
		}
	}
	if o.Views > 1 && o.Augment == (imaging.Augment{}) {
		return o, fmt.Errorf("train captioner: %d views of an image are the same without an augmentation", o.Views)
	}
	return o, o.Augment.Validate()
}

// Training is training.json: what a captioner was made of and how it came out.
type Training struct {
	Command     string  `json:"command,omitempty"`
	Samples     int     `json:"samples"`
	Data        string  `json:"data_sha256"`             // of keys and texts
	Corpus      string  `json:"corpus_sha256,omitempty"` // Options.DataHash
	Tower       string  `json:"image_tower_sha256"`
	Parameters  int     `json:"parameters"`
	Steps       int     `json:"steps"`
	BatchSize   int     `json:"batch_size"`
	Epochs      int     `json:"epochs"`
	LR          float64 `json:"lr"`
	Seed        int64   `json:"seed"`
	Engine      string  `json:"libtorch"`
	Heldout     int     `json:"heldout_samples,omitempty"`
	HeldoutLoss float64 `json:"heldout_loss,omitempty"` // nats a token
	// Captions are sampled (temperature 1, top_p 0.9) for held-out images, whose
	// class is their first text.
	Captions *Quality  `json:"heldout_captions,omitempty"`
	Examples []Example `json:"examples,omitempty"`
}

// Example shows what a captioner says about a held-out image.
type Example struct {
	Key      string    `json:"key"`
	Text     string    `json:"text"` // its first text
	Captions []Caption `json:"captions"`
}

// Train trains a captioner for m's frozen image tower on pairs of data and
// leaves it in o.Dir/model. Called again after an interruption it goes on from
// the last checkpoint and comes to the same weights.
func Train(ctx context.Context, m *clip.Model, data dataset.Dataset, o Options) (err error) {
	defer torch.Catch(&err)
	if t := m.Config.Text; o.FromText {
		o.Width, o.Layers, o.Heads, o.MLPWidth = cmp.Or(o.Width, t.Width), cmp.Or(o.Layers, t.Layers), cmp.Or(o.Heads, t.Heads), cmp.Or(o.MLPWidth, t.MLPWidth)
	}
	if o, err = o.withDefaults(); err != nil {
		return err
	}
	folder := filepath.Join(o.Dir, "model")
	activation := nn.GELU
	if o.FromText {
		activation = m.Config.Text.Activation
	}
	model, err := New(m, Config{
		Width: o.Width, Layers: o.Layers, Heads: o.Heads, MLPWidth: o.MLPWidth, Activation: activation, Eps: 1e-5,
	}, towerPath(folder, o.CLIPDir))
	if err != nil {
		return err
	}
	model.Decoder.Init(o.Seed)
	if o.FromText {
		if err := model.Decoder.InitFromText(m); err != nil {
			return err
		}
	}
	t := &task{model: model, o: o, device: m.Device()}
	if t.data, err = o.prepare(ctx, m, data, "train", o.Views); err != nil {
		return fmt.Errorf("train captioner: %w", err)
	}
	heldoutHash := ""
	if o.Heldout != nil {
		heldout, err := o.prepare(ctx, m, o.Heldout, "heldout", 1)
		if err != nil {
			return fmt.Errorf("train captioner: held-out pairs: %w", err)
		}
		t.heldout, heldoutHash = hold(heldout, model, o.BatchSize, o.HeldoutSamples), heldout.hash
	}
	steps := o.Epochs * t.stepsPerEpoch()
	warmup := cmp.Or(o.WarmupSteps, min(500, steps/20))
	hash := digest(model.Decoder.Config.Tower.SHA256, t.data.hash, heldoutHash, o.DataHash, model.Decoder.Config, o.recipe())
	if o.Planned != nil {
		o.Planned(steps)
	}
	err = train.Run(ctx, t, train.Options{
		Dir: o.Dir, Schedule: train.Schedule{LR: o.LR, WarmupSteps: warmup, Steps: steps}, StepsPerEpoch: t.stepsPerEpoch(),
		Beta1: 0.9, Beta2: 0.98, Eps: 1e-8, WeightDecay: o.WeightDecay, GradClip: 1,
		CheckpointEvery: cmp.Or(o.CheckpointEvery, t.stepsPerEpoch()), StopAfter: o.StopAfter,
		Hash: hash, Device: t.device, Progress: o.Progress,
	})
	if err != nil {
		return fmt.Errorf("train captioner: %w", err)
	}
	return t.finish(ctx, folder, steps)
}

// prepare reads texts and features of a set of pairs.
func (o Options) prepare(ctx context.Context, m *clip.Model, data dataset.Dataset, what string, views int) (*corpus, error) {
	c := &corpus{}
	var err error
	if c.sources, c.hash, err = readTexts(ctx, data, o.Wording); err != nil {
		return nil, err
	}
	if o.Wording.Join {
		lend(c.sources)
	}
	tower, err := TowerHash(m)
	if err != nil {
		return nil, err
	}
	for v := range views {
		e := encoding{model: m, data: data, precision: o.Precision, seed: uint64(v)}
		if v > 0 {
			e.augment = o.Augment
		}
		if o.Encoding != nil {
			e.progress = func(done, total int) { o.Encoding(what, v, done, total) }
		}
		e.dir = filepath.Join(o.Dir, "features", digest(tower, c.hash, o.DataHash, e.augment, e.seed, e.precision)[:16])
		f, err := encode(ctx, e)
		if err != nil {
			return nil, err
		}
		c.views = append(c.views, f)
	}
	return c, c.usable()
}

// recipe is what a checkpoint depends on beside model and data.
func (o Options) recipe() any {
	return []any{
		o.Views, o.Augment, o.Wording, o.BatchSize, o.Epochs, o.LR, o.WarmupSteps, o.WeightDecay,
		o.LabelSmoothing, o.Dropout, o.Seed, o.Precision, o.FromText,
	}
}

func digest(parts ...any) string {
	data, err := json.Marshal(parts)
	if err != nil {
		panic(err) // plain values only
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// towerPath is clipDir relative to the captioner's folder, as Load reads it.
func towerPath(folder, clipDir string) string {
	if clipDir == "" {
		return "../icon-clip"
	}
	from, err1 := filepath.Abs(folder)
	to, err2 := filepath.Abs(clipDir)
	if err1 == nil && err2 == nil {
		if rel, err := filepath.Rel(from, to); err == nil {
			return filepath.ToSlash(rel)
		}
	}
	return filepath.ToSlash(clipDir)
}

// finish writes the model and its record.
func (t *task) finish(ctx context.Context, folder string, steps int) error {
	record := Training{
		Command: t.o.Command, Samples: len(t.data.rows), Data: t.data.hash, Corpus: t.o.DataHash, Tower: t.model.Decoder.Config.Tower.SHA256,
		Steps: steps, BatchSize: t.o.BatchSize, Epochs: t.o.Epochs, LR: t.o.LR, Seed: t.o.Seed, Engine: torch.Version(),
	}
	for _, p := range nn.Params(t.model.Decoder) {
		n := 1
		for _, d := range p.Tensor.Shape() {
			n *= d
		}
		record.Parameters += n
	}
	for _, b := range t.heldout {
		record.Heldout += len(b.ids)
	}
	if record.Heldout > 0 {
		record.HeldoutLoss = t.validate()
		var err error
		if record.Captions, record.Examples, err = t.captionHeldout(ctx); err != nil {
			return fmt.Errorf("train captioner: held-out pairs: %w", err)
		}
	}
	if err := t.model.Save(folder, torch.Float16, nil); err != nil {
		return err
	}
	if err := train.ThinMetrics(filepath.Join(t.o.Dir, "metrics.jsonl"), filepath.Join(folder, "training-log.jsonl"), 20); err != nil {
		return err
	}
	data, err := json.MarshalIndent(record, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(folder, "training.json"), append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("train captioner: %w", err)
	}
	return nil
}

// captionHeldout writes captions for held-out images, spread over the set.
func (t *task) captionHeldout(ctx context.Context) (*Quality, []Example, error) {
	const most, examples, atOnce = 512, 16, 64
	n := min(most, t.o.Heldout.Len())
	var all [][]Caption
	var names [][]string
	var shown []Example
	var rgb []uint8
	var keys, texts []string
	for i := range n {
		s, err := t.o.Heldout.Sample(i * t.o.Heldout.Len() / n)
		if err == nil && s.Text != "" {
			var one []uint8
			if one, err = t.model.Preprocess().Eval(s.Image); err == nil {
				rgb, keys, texts = append(rgb, one...), append(keys, s.Key), append(texts, s.Text)
			}
		} // else it's one of those that encoding skipped and named
		if len(keys) < atOnce && i+1 < n {
			continue
		}
		captions, err := t.model.Caption(ctx, Images{Pixels: rgb, Keys: keys}, GenerateOptions{N: 5, Temperature: 1, TopP: 0.9, Seed: t.o.Seed})
		if err != nil {
			return nil, nil, err
		}
		for j, list := range captions {
			names = append(names, []string{texts[j]})
			if len(shown) < examples && len(all)%max(1, n/examples) == 0 {
				shown = append(shown, Example{keys[j], texts[j], list})
			}
			all = append(all, list)
		}
		rgb, keys, texts = rgb[:0], keys[:0], texts[:0]
	}
	q := Measure(all, names)
	return &q, shown, nil
}
