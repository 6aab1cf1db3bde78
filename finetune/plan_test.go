package finetune

import (
	"bytes"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"testing"
	"time"

	"arf/clip"
	"arf/torch"
	"arf/train"
)

// The estimate from a few images and texts is what the whole batch then holds,
// and the batch in parts that it proposes needs what it says.
func TestPlanOfAStep(t *testing.T) {
	data := pictures(48, 3)
	for name, model := range map[string]func(testing.TB) *clip.Model{"resnet": icon, "vit": wide} {
		t.Run(name, func(t *testing.T) {
			m := model(t)
			o := quick(ARF)
			o.BatchSize = 48
			task := startTask(t, m, data, o, 0)
			b, err := task.feed.next()
			if err != nil {
				t.Fatal(err)
			}
			// What earlier tests left is collected first: freed in between, it would
			// count as memory that the step doesn't take.
			for range 4 {
				runtime.GC()
				time.Sleep(50 * time.Millisecond)
			}
			var p plan
			held := int64(0)
			gradientsOf(m, func() train.Loss {
				p = task.measure(b, true)
				loss := task.loss(b)
				held = torch.HeldBytes(torch.CPU)
				return loss
			})
			trained := int64(0)
			for _, w := range m.Trainable() {
				trained += 4 * int64(torch.Elements(w.Tensor.Shape()))
			}
			want := held + trained // whose gradients come
			got := p.need(p.images, p.texts)
			t.Logf("%d images, %d texts: estimated %.1f MiB, measured %.1f", p.images, p.texts, float64(got)/(1<<20), float64(want)/(1<<20))
			if math.Abs(float64(got-want)) > 0.15*float64(want-p.fixed) {
				t.Errorf("estimated %d bytes, of which %d are fixed, measured %d", got, p.fixed, want)
			}
			if first := task.measure(b, false); first.fixed-first.held != 3*trained || p.fixed-p.held != trained {
				t.Errorf("to come are %d bytes before the first update, %d after; the weights have %d", first.fixed-first.held, p.fixed-p.held, trained)
			}
		})
	}
}

func TestPlanWarnsOfWhatDoesNotFit(t *testing.T) {
	const mib = 1 << 20
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	for name, c := range map[string]struct {
		available int64
		micro     int
		want      string
	}{
		"fits":         {2000 * mib, 0, ""},
		"unknown":      {0, 0, ""},
		"in parts":     {900 * mib, 0, "train.micro_batch=64 "}, // 100 + 64·11 = 804 of 810
		"small parts":  {130 * mib, 0, "train.micro_batch=1 "},
		"already":      {900 * mib, 64, ""},
		"parts too":    {400 * mib, 64, "train.micro_batch=16 "},
		"not even one": {110 * mib, 0, "not even one"},
	} {
		log.Reset()
		p := plan{fixed: 100 * mib, perImage: 10 * mib, perText: mib, images: 128, texts: 128, available: c.available}
		p.warn(c.micro)
		if (c.want == "") != (log.Len() == 0) || !strings.Contains(log.String(), c.want) {
			t.Errorf("%s: said %q, want %q", name, &log, c.want)
		}
	}
}

// wide is a ViT whose activations outweigh the rest.
func wide(t testing.TB) *clip.Model {
	t.Helper()
	return build(t, 64, 128, clip.VisionConfig{ImageSize: 64, PatchSize: 8, Width: 128, Layers: 4, Heads: 4, MLPWidth: 512, Eps: 1e-5, Activation: "quick_gelu"})
}

func TestAFailedAllocationIsKnown(t *testing.T) {
	try := func(elements int) (err error) {
		defer torch.Catch(&err)
		torch.Scope(func() {
			torch.Zeros(torch.CPU, torch.Float32, elements).MatMul(torch.Zeros(torch.CPU, torch.Float32, 2, 2))
		})
		return nil
	}
	if err := try(1 << 50); !outOfMemory(fmt.Errorf("step 3: %w", err)) {
		t.Errorf("not known: %v", err)
	}
	if err := try(3); err == nil || outOfMemory(err) {
		t.Errorf("got %v", err)
	}
}
