package captioner

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/clip"
	"arf/dataset"
	"arf/imaging"
	"arf/nn"
	"arf/torch"
	"arf/train"
)

func overfit(dir string, clipDir string) Options {
	return Options{
		Dir: dir, CLIPDir: clipDir, Width: 64, Layers: 2, Heads: 4, BatchSize: 8, Epochs: 150, LR: 3e-3, WarmupSteps: 10,
		WeightDecay: 1e-4, Heldout: shapes(), ValidateEvery: 50,
	}
}

func TestEightPairsAreRecalledVerbatim(t *testing.T) {
	root := t.TempDir()
	tower := newCLIP(t, false)
	towerDir := filepath.Join(root, "tower")
	if err := tower.Save(towerDir, torch.Float16, nil); err != nil {
		t.Fatal(err)
	}
	before := nn.Export(tower)
	o := overfit(filepath.Join(root, "run"), towerDir)
	o.Command = "test"
	if err := Train(t.Context(), tower, shapes(), o); err != nil {
		t.Fatal(err)
	}
	for name, after := range nn.Export(tower) {
		if !bytes.Equal(after.Data, before[name].Data) {
			t.Errorf("training changed %s of the CLIP", name)
		}
	}
	m, err := LoadModel(filepath.Join(o.Dir, "model"), torch.CPU)
	if err != nil {
		t.Fatal(err)
	}
	rgb, keys := pixels(t, m.Preprocess(), shapes())
	for _, g := range []GenerateOptions{{}, {N: 3, Temperature: 0.5, TopP: 0.9}} {
		captions, err := m.Caption(t.Context(), Images{Pixels: rgb, Keys: keys}, g)
		if err != nil {
			t.Fatal(err)
		}
		for i, list := range captions {
			for _, c := range list {
				if c.Text != pairs[i].text || c.LogProb < -1 {
					t.Errorf("%q (log-probability %.2f), want %q", c.Text, c.LogProb, pairs[i].text)
				}
			}
		}
	}
	data, err := os.ReadFile(filepath.Join(o.Dir, "model", "training.json"))
	var record Training
	if err != nil || json.Unmarshal(data, &record) != nil {
		t.Fatal(err, string(data))
	}
	if record.Samples != 8 || record.Steps != 150 || record.Heldout != 8 || record.HeldoutLoss > 0.1 || record.Command != "test" {
		t.Errorf("training.json: %s", data)
	}
	if q := record.Captions; q == nil || q.Images != 8 || q.NamesClass < 0.9 || len(record.Examples) != 8 || record.Examples[2].Text != pairs[2].text {
		t.Errorf("held-out captions: %s", data)
	}
	if log, err := os.ReadFile(filepath.Join(o.Dir, "model", "training-log.jsonl")); err != nil || strings.Count(string(log), "\n") != 11 || strings.Count(string(log), `"held_out_loss"`) != 3 {
		t.Errorf("training-log.jsonl: %v\n%s", err, log)
	}
	lines, err := os.ReadFile(filepath.Join(o.Dir, "metrics.jsonl"))
	if err != nil || strings.Count(string(lines), `"held_out_loss"`) != 3 || strings.Count(string(lines), "\n") != 150 {
		t.Errorf("metrics.jsonl has %d lines, %d with a held-out loss (%v)", strings.Count(string(lines), "\n"), strings.Count(string(lines), `"held_out_loss"`), err)
	}
}

func weights(t *testing.T, dir string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "model", weightsFile))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestResumedTrainingGivesTheSameWeights(t *testing.T) {
	tower := newCLIP(t, false)
	root := t.TempDir()
	o := Options{
		Width: 32, Layers: 1, Heads: 2, BatchSize: 3, Epochs: 6, Dropout: 0.1, LabelSmoothing: 0.1, Seed: 5,
		Views: 2, Augment: imaging.Augment{ScaleMin: 0.5, ScaleMax: 1}, Wording: Wording{Join: true},
	}
	o.Dir = filepath.Join(root, "whole")
	if err := Train(t.Context(), tower, shapes(), o); err != nil {
		t.Fatal(err)
	}
	o.Dir = filepath.Join(root, "parts")
	o.StopAfter = 5
	if err := Train(t.Context(), tower, shapes(), o); !errors.Is(err, context.Canceled) {
		t.Fatalf("stopped training: %v", err)
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "model")); err == nil {
		t.Fatal("a stopped training leaves a model")
	}
	o.StopAfter = 0
	if err := Train(t.Context(), tower, shapes(), o); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(weights(t, o.Dir), weights(t, filepath.Join(root, "whole"))) {
		t.Error("a resumed training gives other weights")
	}
	o.Seed = 6
	if err := Train(t.Context(), tower, shapes(), o); err == nil || !strings.Contains(err.Error(), "another config") {
		t.Errorf("another recipe in the same run folder: %v", err)
	}
}

func TestNoGradientReachesTheTower(t *testing.T) {
	m := newModel(t, false)
	tsk := &task{model: m, o: Options{BatchSize: 8, Precision: torch.Float32}}
	var err error
	o := Options{Dir: t.TempDir(), Precision: torch.Float32}
	if tsk.data, err = o.prepare(t.Context(), m.CLIP, shapes(), "train", 1); err != nil {
		t.Fatal(err)
	}
	for _, p := range append(nn.Params(m.Decoder), m.CLIP.Trainable()...) {
		p.Tensor.SetRequiresGrad(true)
	}
	torch.Scope(func() { tsk.loss(tsk.make(0), 0, 0).Backward() })
	for _, p := range m.CLIP.Trainable() {
		if p.Tensor.Grad() != nil {
			t.Errorf("%s of the CLIP has a gradient", p.Name)
		}
	}
	for _, p := range nn.Params(m.Decoder) {
		if g := p.Tensor.Grad(); g == nil {
			t.Errorf("%s has no gradient", p.Name)
		}
	}
	if _, ok := tsk.Trained().(*Decoder); !ok {
		t.Error("more than the decoder is trained")
	}
}

// Label smoothing against its definition on one token.
func TestCrossEntropyWithSmoothing(t *testing.T) {
	logits := []float32{1, 2, 0.5}
	norm := math.Log(math.Exp(1) + math.Exp(2) + math.Exp(0.5))
	nll := []float64{norm - 1, norm - 2, norm - 0.5}
	want := 0.9*nll[1] + 0.1*(nll[0]+nll[1]+nll[2])/3
	torch.Scope(func() {
		got := crossEntropy(torch.From(torch.CPU, logits, 1, 3), torch.From(torch.CPU, []int64{1}, 1), 0.1).Item()
		if math.Abs(got-want) > 1e-6 {
			t.Errorf("%g, want %g", got, want)
		}
	})
}

func TestFeaturesAreMadeOnceAndBrokenImagesSkipped(t *testing.T) {
	tower := newCLIP(t, true)
	data := shapes()
	data[3].Image = []byte("no picture")
	data[5].Text, data[5].Texts = "", nil
	e := encoding{model: tower, data: data, dir: t.TempDir(), precision: torch.Float32}
	f, err := encode(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	for i, row := range f.row {
		if (row < 0) != (i == 3) {
			t.Errorf("sample %d is in row %d", i, row)
		}
	}
	// A row against the tower's own answer.
	rgb, _ := pixels(t, tower.Preprocess, data[6:7])
	tokens, feature := f.gather(nil, nil, 6)
	torch.Scope(func() {
		torch.NoGrad(func() {
			v := look(tower, tower.Pixels(rgb, 1))
			got := torch.FromBytes(torch.CPU, tokens, torch.Float16, v.Tokens.Shape()...).Cast(torch.Float32)
			if d := largestDifference(torch.To[float32](got), torch.To[float32](v.Tokens)); d > 5e-3 {
				t.Errorf("stored map differs by %g", d)
			}
			got = torch.FromBytes(torch.CPU, feature, torch.Float16, 1, 16).Cast(torch.Float32)
			if d := largestDifference(torch.To[float32](got), torch.To[float32](tower.EncodeImage(tower.Pixels(rgb, 1)))); d > 1e-3 {
				t.Errorf("stored feature differs by %g", d)
			}
		})
	})
	e2 := e
	e2.model = &clip.Model{Config: tower.Config} // a second call must not run the tower
	if _, err := encode(t.Context(), e2); err != nil {
		t.Errorf("second call: %v", err)
	}
	o := Options{Dir: t.TempDir(), Precision: torch.Float32}
	c, err := o.prepare(t.Context(), tower, data, "train", 1)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.rows) != 6 {
		t.Errorf("%d usable samples (%v), want 6: one has no image, one no text", len(c.rows), c.rows)
	}
	if err := os.Truncate(filepath.Join(e.dir, "00000.safetensors"), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := encode(t.Context(), e2); err == nil || !strings.Contains(err.Error(), "00000.safetensors") {
		t.Errorf("cut features: %v", err)
	}
}

func TestTrainRefusesWhatCannotWork(t *testing.T) {
	tower := newCLIP(t, true)
	textless := shapes()[:2]
	for i := range textless {
		textless[i].Text, textless[i].Texts = "", nil
	}
	for name, c := range map[string]struct {
		data dataset.Dataset
		o    Options
		want string
	}{
		"no folder": {shapes(), Options{}, "run folder"},
		"no texts":  {textless, Options{Dir: t.TempDir()}, "has a text"},
		"rate":      {shapes(), Options{Dir: t.TempDir(), LR: math.NaN()}, "learning rate"},
		"smoothing": {shapes(), Options{Dir: t.TempDir(), LabelSmoothing: 1}, "label smoothing"},
		"views":     {shapes(), Options{Dir: t.TempDir(), Views: 3}, "views"},
		"heads":     {shapes(), Options{Dir: t.TempDir(), Width: 30, Heads: 4}, "num_attention_heads"},
	} {
		if err := Train(t.Context(), tower, c.data, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Train(ctx, tower, shapes(), Options{Dir: t.TempDir()}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func BenchmarkStep(b *testing.B) {
	m := newModel(b, false)
	tsk := &task{model: m, o: Options{BatchSize: 8, Precision: torch.Float32}}
	var err error
	o := Options{Dir: b.TempDir(), Precision: torch.Float32}
	if tsk.data, err = o.prepare(b.Context(), m.CLIP, shapes(), "train", 1); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	if err := train.Run(b.Context(), tsk, train.Options{Schedule: train.Schedule{LR: 1e-3, Steps: b.N}, Beta1: 0.9, Beta2: 0.98, Eps: 1e-8}); err != nil {
		b.Fatal(err)
	}
}

// Interrupted while it waits for data, a step is still done and saved.
func TestInterruptedStepIsSaved(t *testing.T) {
	m := newModel(t, true)
	tsk := &task{model: m, o: Options{BatchSize: 4, Precision: torch.Float32}}
	o := Options{Dir: t.TempDir(), Precision: torch.Float32}
	var err error
	if tsk.data, err = o.prepare(t.Context(), m.CLIP, shapes(), "train", 1); err != nil {
		t.Fatal(err)
	}
	closed := make(chan batch)
	close(closed)
	tsk.batches = closed
	torch.Scope(func() {
		loss, err := tsk.Step(5)
		if err != nil || loss.Samples != 4 {
			t.Errorf("%d samples, %v", loss.Samples, err)
		}
	})
}

func TestDecoderStartsFromTheTextTower(t *testing.T) {
	tower := newCLIP(t, false)
	o := Options{Dir: t.TempDir(), FromText: true, Width: 16, Heads: 2, MLPWidth: 32, Layers: 2}
	m, err := New(tower, Config{Width: 16, Layers: 2, Heads: 2, MLPWidth: 32, Activation: nn.GELU, Eps: 1e-5}, "")
	if err != nil {
		t.Fatal(err)
	}
	m.Decoder.Init(1)
	random := nn.Export(m.Decoder)
	if err := m.Decoder.InitFromText(tower); err != nil {
		t.Fatal(err)
	}
	got, text := nn.Export(m.Decoder), nn.Export(tower.Text)
	for name, from := range map[string]string{
		"token_embedding.weight": "embeddings.token_embedding.weight", "layers.0.self_attn.q_proj.weight": "encoder.layers.0.self_attn.q_proj.weight",
		"layers.0.layer_norm2.bias": "encoder.layers.0.layer_norm2.bias", "layers.0.mlp.fc2.weight": "encoder.layers.0.mlp.fc2.weight",
	} {
		if !bytes.Equal(got[name].Data, text[from].Data) {
			t.Errorf("%s is not the text tower's", name)
		}
	}
	// The text tower has one block; the second one stays random.
	if name := "layers.1.mlp.fc1.weight"; !bytes.Equal(got[name].Data, random[name].Data) {
		t.Errorf("%s was changed", name)
	}
	o.Width = 32
	if err := Train(t.Context(), tower, shapes(), o); err == nil || !strings.Contains(err.Error(), "text tower") {
		t.Errorf("another width than the text tower's: %v", err)
	}
	scaled := tower.Config
	scaled.Text.LayerScale = 0.1
	other, err := clip.New(scaled)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Decoder.InitFromText(other); err == nil || !strings.Contains(err.Error(), "LayerScale") {
		t.Errorf("a text tower with LayerScale: error %v", err)
	}
	own := Options{Dir: t.TempDir(), FromText: true, BatchSize: 4, Epochs: 1}
	if err := Train(t.Context(), tower, shapes(), own); err != nil {
		t.Fatal(err)
	}
	c, err := readConfig(filepath.Join(own.Dir, "model"))
	if text := tower.Config.Text; err != nil || c.Width != text.Width || c.Layers != text.Layers || c.Heads != text.Heads || c.MLPWidth != text.MLPWidth {
		t.Errorf("sizes %+v are not the text tower's %+v (%v)", c, text, err)
	}
}
