package pretrain

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/checkpoint"
	"arf/dataset"
	"arf/nn"
	"arf/torch"
	"arf/train"
)

// shapes are pictures of coloured bars, each with the text that says which.
type shapes []dataset.Sample

func (s shapes) Len() int                             { return len(s) }
func (s shapes) Sample(i int) (dataset.Sample, error) { return s[i], nil }

func makeShapes(t *testing.T) shapes {
	t.Helper()
	var out shapes
	colors := map[string]color.RGBA{"red": {255, 0, 0, 255}, "green": {0, 160, 0, 255}, "blue": {0, 0, 255, 255}, "black": {0, 0, 0, 255}}
	for _, name := range []string{"black", "blue", "green", "red"} {
		for _, where := range []string{"top", "bottom", "left", "right"} {
			picture := image.NewRGBA(image.Rect(0, 0, 32, 32))
			for y := range 32 {
				for x := range 32 {
					in := map[string]bool{"top": y < 8, "bottom": y >= 24, "left": x < 8, "right": x >= 24}[where]
					picture.Set(x, y, color.White)
					if in {
						picture.Set(x, y, colors[name])
					}
				}
			}
			var encoded bytes.Buffer
			if err := png.Encode(&encoded, picture); err != nil {
				t.Fatal(err)
			}
			text := name + " " + where
			out = append(out, dataset.Sample{Key: text, Image: encoded.Bytes(), Text: text, Texts: []string{text, where + " is " + name}, Label: -1})
		}
	}
	return out
}

func smallConfig(resnet bool) Config {
	var c Config
	c.Tokenizer.VocabSize, c.Tokenizer.MinCount, c.Tokenizer.ContextLength = 200, 1, 8
	c.Model.EmbedDim = 32
	v := &c.Model.Vision
	v.ImageSize, v.Width, v.Heads = 32, 32, 2
	if resnet {
		v.Width, v.ResNetLayers = 8, []int{1, 1, 1, 1}
	} else {
		v.PatchSize, v.Layers = 8, 2
	}
	c.Model.Text.Width, c.Model.Text.Layers, c.Model.Text.Heads = 32, 2, 2
	return c
}

func options(dir string, precision torch.DType) Options {
	return Options{
		BatchSize: 16, Steps: 200, LR: 3e-3, WarmupSteps: 20, Cooldown: 0.3, WeightDecay: 0.01, GradClip: 1,
		AlternateTexts: 0.2, WordWeight: 1, WordSteps: 100, Seed: 4, Precision: precision, Workers: 1, Dir: dir, Hash: "h",
	}
}

// The tensors here are too small for two threads: they would wait for each other.
func TestMain(m *testing.M) {
	if err := torch.Load(); err == nil {
		torch.SetThreads(1)
	}
	os.Exit(m.Run())
}

// Both towers learn to name sixteen pictures, from nothing.
func TestPretrainingLearnsToNamePictures(t *testing.T) {
	for name, resnet := range map[string]bool{"vit": false, "resnet": true} {
		t.Run(name, func(t *testing.T) {
			pairs := makeShapes(t)
			m, err := NewModel(smallConfig(resnet), pairs, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			o := options("", torch.Float32)
			o.Steps, o.WarmupSteps = 60, 10
			if !resnet { // whose steps are cheaper, but teach less
				o.Steps = 200
			}
			if err := Run(context.Background(), m, pairs, o); err != nil {
				t.Fatal(err)
			}
			h, err := Measure(context.Background(), m, pairs, torch.Float32)
			if err != nil {
				t.Fatal(err)
			}
			if h.Images != 16 || h.Texts != 16 {
				t.Fatalf("measured %d images and %d texts", h.Images, h.Texts)
			}
			if h.Top1 < 0.3 { // chance is 0.06, and few steps end differently on each processor
				t.Errorf("top-1 is %.2f of 16 pictures that it was trained on", h.Top1)
			}
		})
	}
}

// A run that was stopped and resumed ends with the bits of one that wasn't.
func TestResumeIsExact(t *testing.T) {
	pairs := makeShapes(t)
	weights := func(dir string, stops ...int) map[string][]byte {
		for i, stop := range append(stops, 0) {
			m, err := NewModel(smallConfig(true), pairs, dir)
			if err != nil {
				t.Fatal(err)
			}
			o := options(dir, torch.BFloat16)
			o.Steps, o.StopAfter = 20, stop
			err = Run(context.Background(), m, pairs, o)
			if stop > 0 {
				if !errors.Is(err, context.Canceled) {
					t.Fatalf("stop %d: %v", i, err)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			out := map[string][]byte{}
			for name, tensor := range nn.Export(m) {
				out[name] = tensor.Data
			}
			return out
		}
		return nil
	}
	whole, resumed := weights(t.TempDir()), weights(t.TempDir(), 3, 9)
	for name := range whole {
		if !bytes.Equal(whole[name], resumed[name]) {
			t.Errorf("%s differs after a resume", name)
		}
	}
}

func TestEqualTextsAreNoNegatives(t *testing.T) {
	torch.Scope(func() {
		if got := equalTexts(torch.CPU, []string{"a", "b"}); got != nil {
			t.Error("different texts are excluded")
		}
		got := torch.To[uint8](equalTexts(torch.CPU, []string{"a", "b", "a"}).Cast(torch.Uint8))
		want := []uint8{0, 0, 1, 0, 0, 0, 1, 0, 0}
		if !bytes.Equal(got, want) {
			t.Errorf("excluded %v, want %v", got, want)
		}
	})
}

// The word loss against its definition, worked out on the host.
func TestWordLoss(t *testing.T) {
	torch.Scope(func() {
		embedding := torch.From(torch.CPU, []float32{1, 0, 0, 2}, 2, 2)
		head := nn.NewLinear(2, 3, false)
		torch.NoGrad(func() { head.Weight.Copy_(torch.From(torch.CPU, []float32{1, 2, 3, 4, 5, 6}, 3, 2)) })
		ids := [][]int32{{9, 0, 2, 9}, {9, 1, 9}}
		logSoftmax := func(logits [3]float64, i int) float64 {
			sum := 0.0
			for _, l := range logits {
				sum += math.Exp(l)
			}
			return logits[i] - math.Log(sum)
		}
		first, second := [3]float64{1, 3, 5}, [3]float64{4, 8, 12}
		want := -((logSoftmax(first, 0)+logSoftmax(first, 2))/2 + logSoftmax(second, 1)) / 2
		if got := wordLoss(head, embedding, ids).Item(); math.Abs(got-want) > 1e-5 {
			t.Errorf("loss %v, want %v", got, want)
		}
		if got := wordLoss(head, embedding, [][]int32{{9, 9}, {9, 9}}).Item(); got != 0 {
			t.Errorf("loss of texts without words is %v", got)
		}
	})
}

func TestReadConfigNamesTheMistake(t *testing.T) {
	good, err := os.ReadFile("../configs/pretrain-icon-clip.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadConfig("../configs/pretrain-icon-clip.yaml"); err != nil {
		t.Errorf("the shipped config: %v", err)
	}
	for change, want := range map[[2]string]string{
		{"batch_size: 256", "batch_sise: 256"}: "batch_size",
		{"lr: 2e-3", "lr: 0"}:                  "train.lr",
		{"scale_min: 0.7", "scale_min: 2"}:     "train.scale_min",
	} {
		path := filepath.Join(t.TempDir(), "c.yaml")
		text := strings.Replace(string(good), change[0], change[1], 1)
		if text == string(good) {
			t.Fatalf("the shipped config has no %q", change[0])
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadConfig(path); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v: error %v does not name %s", change, err, want)
		}
	}
}

// Measuring on held-out pairs while training writes their accuracy into the
// metrics and leaves the weights as they would have been.
func TestValidationIsRecordedAndChangesNothing(t *testing.T) {
	weights := map[int][]float32{}
	for _, every := range []int{0, 2} {
		dir, pairs := t.TempDir(), makeShapes(t)
		m, err := NewModel(smallConfig(true), pairs, dir)
		if err != nil {
			t.Fatal(err)
		}
		o := options(dir, torch.Float32)
		o.Steps, o.HeldOut, o.ValidateEvery = 5, pairs, every
		if err := Run(context.Background(), m, pairs, o); err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Trainable() {
			weights[every] = append(weights[every], torch.To[float32](p.Tensor)...)
		}
		metrics, err := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Count(string(metrics), `"held_out_top1"`), map[int]int{0: 0, 2: 2}[every]; got != want {
			t.Errorf("validate every %d: %d measurements in 5 steps, want %d", every, got, want)
		}
	}
	if !slices.Equal(weights[0], weights[2]) {
		t.Error("measuring changed the weights")
	}
}

// A pretraining that diverges leaves the batch that ended it.
func TestTheOffendingBatchIsSaved(t *testing.T) {
	pairs := makeShapes(t)
	dir := t.TempDir()
	m, err := NewModel(smallConfig(false), pairs, dir)
	if err != nil {
		t.Fatal(err)
	}
	o := options(dir, torch.Float32)
	o.Steps = 30
	o.Progress = func(s train.Metrics) {
		if s.Step == 2 {
			torch.NoGrad(func() { m.VisualProjection.Weight.Fill_(3e38) })
		}
	}
	err = Run(context.Background(), m, pairs, o)
	where := filepath.Join(dir, "nonfinite", "step-12")
	if err == nil || !strings.Contains(err.Error(), where) {
		t.Fatalf("got %v, want one that names %s", err, where)
	}
	data, err := os.ReadFile(filepath.Join(where, "batch.json"))
	if err != nil {
		t.Fatal(err)
	}
	var saved train.SavedBatch
	if err := json.Unmarshal(data, &saved); err != nil {
		t.Fatal(err)
	}
	if saved.Step != 12 || len(saved.Samples) != 16 {
		t.Fatalf("saved %+v", saved)
	}
	for _, s := range saved.Samples {
		if p := pairs[s.Number]; s.Key != p.Key || len(s.Texts) != 1 || !slices.Contains(p.Texts, s.Texts[0]) {
			t.Errorf("saved %+v, the pair is %q", s, p.Texts)
		}
	}
	tensors, _, err := checkpoint.ReadSafetensors(filepath.Join(where, "batch.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	if p := tensors["pixels"]; !slices.Equal(p.Shape, []int{16, 32, 32, 3}) || bytes.Count(p.Data, p.Data[:1]) == len(p.Data) {
		t.Errorf("pixels of shape %v, or all the same", p.Shape)
	}
}
