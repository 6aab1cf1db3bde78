package finetune

import (
	"fmt"
	"strings"
	"testing"

	"arf/clip"
	"arf/torch"
	"arf/train"
)

// In parts or at once, a batch has one gradient: of every method, way with
// negatives and kind of tower, whether the parts come out even or not.
func TestGradientInPartsIsTheWholeBatchs(t *testing.T) {
	for name, c := range map[string]struct {
		model func(testing.TB) *clip.Model
		set   func(*Options)
	}{
		"arf":           {tiny, func(*Options) {}},
		"arf mask":      {tiny, func(o *Options) { o.Negatives = Mask }},
		"arf soft":      {tiny, func(o *Options) { o.Negatives = Soft }},
		"flyp":          {tiny, func(o *Options) { o.Method = FLYP }},
		"ft":            {tiny, func(o *Options) { o.Method = FT }},
		"resnet frozen": {tinyResNet, func(*Options) {}},
	} {
		t.Run(name, func(t *testing.T) {
			m := c.model(t)
			data := pictures(16, 3)
			o := quick(ARF)
			o.BatchSize = 12
			c.set(&o)
			if o.Method == FT {
				data.ZeroShotHead = head(t, m)
			}
			task := startTask(t, m, data, o, 0)
			if o.Method == FT {
				var err error
				if task.head, err = newLinear(m, task.data.classes, data.ZeroShotHead); err != nil {
					t.Fatal(err)
				}
			}
			b, err := task.feed.next()
			if err != nil {
				t.Fatal(err)
			}
			wantLoss, want := gradientsOf(m, func() train.Loss { return task.loss(b) })
			for _, part := range []int{1, 5, 12, 100} {
				task.o.MicroBatch = part
				loss, gradients := gradientsOf(m, func() train.Loss { return task.loss(b) })
				wantNear(t, loss, wantLoss, gradients, want)
				if t.Failed() {
					t.Fatalf("in parts of %d", part)
				}
			}
			task.checkpoints = newCheckpoints(task.o)
			for _, part := range []int{0, 5} {
				task.o.MicroBatch = part
				loss, gradients := gradientsOf(m, func() train.Loss { return task.loss(b) })
				wantNear(t, loss, wantLoss, gradients, want)
				if t.Failed() {
					t.Fatalf("with activation checkpointing, in parts of %d", part)
				}
			}
		})
	}
}

// The point of it: what waits for the backward pass is features, not
// activations. And whole runs agree.
func TestPartsTakeLessMemory(t *testing.T) {
	data := pictures(64, 0)
	held := func(part int) (bytes int64) {
		m := icon(t)
		o := quick(FLYP)
		o.BatchSize, o.MicroBatch = 64, part
		task := startTask(t, m, data, o, 0)
		b, err := task.feed.next()
		if err != nil {
			t.Fatal(err)
		}
		gradientsOf(m, func() train.Loss {
			before := torch.HeldBytes(torch.CPU)
			loss := task.loss(b)
			bytes = torch.HeldBytes(torch.CPU) - before
			return loss
		})
		return bytes
	}
	whole, parts := held(0), held(8)
	t.Logf("%.1f MiB wait for the backward pass at once, %.1f in parts of 8 of 64", float64(whole)/(1<<20), float64(parts)/(1<<20))
	if parts*20 > whole {
		t.Errorf("%d bytes in parts, %d at once", parts, whole)
	}
}

func TestARunInParts(t *testing.T) {
	data := pictures(16, 3)
	run := func(part int, precision torch.DType) []train.Metrics {
		var steps []train.Metrics
		o := quick(ARF)
		o.MicroBatch, o.Precision = part, precision
		o.Progress = func(m train.Metrics) { steps = append(steps, m) }
		mustRun(t, tiny(t), data, o)
		return steps
	}
	for precision, near := range map[torch.DType]float64{torch.Float32: 1e-3, torch.BFloat16: 0.05} {
		whole, parts := run(0, precision), run(3, precision)
		if len(parts) != len(whole) || len(whole) != 12 {
			t.Fatalf("%d and %d steps", len(whole), len(parts))
		}
		for i, w := range whole {
			p := parts[i]
			if d := (p.Loss - w.Loss) / w.Loss; d > near || d < -near {
				t.Errorf("%v, step %d: loss %v, want %v", precision, i+1, p.Loss, w.Loss)
			}
		}
	}
}

func TestPartsNeedFixedStatistics(t *testing.T) {
	o := quick(FLYP)
	o.MicroBatch, o.TrainBatchNorm = 2, true
	if _, err := newTask(tinyResNet(t), pictures(16, 0), o.filled()); err == nil || !strings.Contains(fmt.Sprint(err), "freeze_batch_norm") {
		t.Errorf("got %v", err)
	}
	if _, err := newTask(tiny(t), pictures(16, 0), o.filled()); err != nil {
		t.Errorf("a ViT has none: %v", err)
	}
}
