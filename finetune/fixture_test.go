package finetune

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"arf/clip"
	"arf/dataset"
	"arf/imaging"
	"arf/internal/disttest"
	"arf/nn"
	"arf/text"
	"arf/torch"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The models are too small for threads, which on a busy machine cost more
	// than they bring.
	torch.SetThreads(1)
	disttest.Main(map[string]disttest.Worker{"train": trainCases, "until stopped": trainUntilStopped, "misfits": trainMisfits, "plan": planStep, "profiled": trainProfiled})
	goleak.VerifyTestMain(m)
}

var (
	shapes = []string{"circle", "square", "triangle", "cross"}
	paints = map[string]color.RGBA{
		"red": {220, 30, 30, 255}, "green": {30, 170, 60, 255}, "blue": {40, 60, 220, 255}, "black": {0, 0, 0, 255},
	}
	templates = []string{"a photo of a {}.", "a drawing of a {}.", "{}"}
)

// drawn keeps the pictures that were drawn.
var drawn = map[string][]byte{}

// draw paints a shape of some size and place on white.
func draw(shape, paint string, size int, seed uint64) []byte {
	key := fmt.Sprint(shape, paint, size, seed)
	if picture, ok := drawn[key]; ok {
		return picture
	}
	rng := rand.New(rand.NewPCG(seed, 7))
	m := image.NewRGBA(image.Rect(0, 0, size, size))
	r := float64(size) * (0.25 + 0.15*rng.Float64())
	cx, cy := float64(size)*(0.4+0.2*rng.Float64()), float64(size)*(0.4+0.2*rng.Float64())
	for y := range size {
		for x := range size {
			dx, dy := (float64(x)-cx)/r, (float64(y)-cy)/r
			in := false
			switch shape {
			case "circle":
				in = dx*dx+dy*dy < 1
			case "square":
				in = max(dx, -dx) < 0.8 && max(dy, -dy) < 0.8
			case "triangle":
				in = dy < 0.8 && dy > 2*max(dx, -dx)-0.9
			case "cross":
				in = max(dx, -dx, dy, -dy) < 1 && min(max(dx, -dx), max(dy, -dy)) < 0.3
			}
			m.Set(x, y, color.White)
			if in {
				m.Set(x, y, paints[paint])
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		panic(err)
	}
	drawn[key] = b.Bytes()
	return drawn[key]
}

// memory is a dataset of drawn pictures.
type memory struct {
	samples []dataset.Sample
	classes []string
}

var errUnreadable = errors.New("unreadable")

func (m *memory) Len() int          { return len(m.samples) }
func (m *memory) Classes() []string { return m.classes }

func (m *memory) Sample(i int) (dataset.Sample, error) {
	if s := m.samples[i]; s.Image != nil {
		return s, nil
	}
	return m.samples[i], errUnreadable
}

func colours() []string {
	names := make([]string, 0, len(paints))
	for name := range paints {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// pictures is a finetune set of n images with captions and k pairs each, and
// their pool.
func pictures(n, k int) Data {
	set := &memory{classes: shapes}
	pool := &memory{}
	for i := range 3 * n {
		shape, paint := shapes[i/3%4], colours()[i%4]
		s := dataset.Sample{
			Key: fmt.Sprintf("pool-%d", i), Image: draw(shape, paint, 24, uint64(1000+i)), Label: -1,
			Texts: []string{paint + " " + shape, "a " + shape + " in " + paint},
		}
		s.Text = s.Texts[0]
		pool.samples = append(pool.samples, s)
	}
	data := Data{
		Finetune: set, Templates: templates, Captions: map[string][]string{}, Pairs: map[string][]PairRef{}, Pool: pool,
	}
	for i := range n {
		label, paint := i%4, colours()[i/4%4]
		key := fmt.Sprintf("%s/%d.png", shapes[label], i)
		set.samples = append(set.samples, dataset.Sample{
			Key: key, Image: draw(shapes[label], paint, 24, uint64(i)), Label: label, Class: shapes[label],
		})
		data.Captions[key] = []string{paint + " " + shapes[label], "one " + paint + " shape", "a shape"}
		for j := range k {
			data.Pairs[key] = append(data.Pairs[key], PairRef{Row: (3*i + j) % pool.Len()})
		}
	}
	return data
}

func tokenizer(t testing.TB) text.Tokenizer {
	t.Helper()
	words := "a an one shape photo drawing of in . " + strings.Join(shapes, " ") + " " + strings.Join(colours(), " ")
	tok, err := text.TrainWordPiece(slices.Values([]string{words, words}), 300, 1, 12)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// tiny is a model of random weights.
func tiny(t testing.TB) *clip.Model {
	t.Helper()
	return build(t, 16, 32, clip.VisionConfig{
		ImageSize: 16, PatchSize: 4, Width: 32, Layers: 2, Heads: 2, MLPWidth: 64, Activation: nn.QuickGELU, Eps: 1e-5,
	})
}

// tinyResNet is one with batch normalisation.
func tinyResNet(t testing.TB) *clip.Model {
	t.Helper()
	return build(t, 16, 32, clip.VisionConfig{ImageSize: 32, Width: 8, Heads: 4, ResNetLayers: []int{1, 1, 1, 1}})
}

// icon has the size of models/icon-clip.
func icon(t testing.TB) *clip.Model {
	t.Helper()
	return build(t, 256, 192, clip.VisionConfig{ImageSize: 64, Width: 32, Heads: 16, ResNetLayers: []int{1, 1, 1, 1}})
}

func build(t testing.TB, dim, textWidth int, vision clip.VisionConfig) *clip.Model {
	t.Helper()
	tok := tokenizer(t)
	m, err := clip.New(clip.Config{
		EmbedDim: dim, Vision: vision,
		Text: clip.TextConfig{
			ContextLength: tok.ContextLength(), VocabSize: tok.VocabSize(), Width: textWidth, Layers: 2, Heads: 2, MLPWidth: 2 * textWidth,
			Activation: nn.QuickGELU, Eps: 1e-5, EOS: int(tok.EOS()), PadID: int(tok.Pad()),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Init(1)
	m.Tokenizer = tok
	return m
}

// quick options: 4 steps an epoch of 16 images.
func quick(method Method) Options {
	return Options{
		Method: method, LambdaTCA: 0.7, LambdaITA: 1.3, BatchSize: 4, Epochs: 3, LR: 1e-3, WarmupSteps: 2, WeightDecay: 0.1,
		Augment: imaging.Augment{ScaleMin: 0.6, ScaleMax: 1, Flip: 0.5}, Seed: 5, Workers: 2,
	}
}

func weights(model any) string {
	var b strings.Builder
	for _, p := range nn.Params(model) {
		fmt.Fprintf(&b, "%s %x\n", p.Name, p.Tensor.Bytes())
	}
	return b.String()
}

func mustRun(t testing.TB, m *clip.Model, data Data, o Options) *Result {
	t.Helper()
	result, err := Run(context.Background(), m, data, o)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// startTask is a task whose feed runs from a step until the test ends.
func startTask(t testing.TB, m *clip.Model, data Data, o Options, step int) *task {
	t.Helper()
	task, err := newTask(m, data, o.filled())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); task.feed.wait() })
	if err := task.Begin(ctx, step); err != nil {
		t.Fatal(err)
	}
	return task
}
