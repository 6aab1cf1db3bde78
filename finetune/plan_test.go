package finetune

import (
	"fmt"
	"math"
	"reflect"
	"runtime"
	"testing"
	"time"

	"arf/clip"
	"arf/nn"
	"arf/torch"
	"arf/train"
)

// The estimate from a few images and texts is what the whole batch then holds,
// and the batch in parts that it proposes needs what it says.
func TestPlanOfAStep(t *testing.T) {
	data := pictures(48, 3)
	for name, model := range map[string]func(testing.TB) *clip.Model{"resnet": icon, "resnet trained": icon, "vit": wide} {
		t.Run(name, func(t *testing.T) {
			m := model(t)
			o := quick(ARF)
			o.BatchSize, o.TrainBatchNorm = 48, name == "resnet trained"
			task := startTask(t, m, data, o, 0)
			m.SetTraining(o.TrainBatchNorm)
			b, err := task.feed.next()
			if err != nil {
				t.Fatal(err)
			}
			collect()
			var p plan
			held := int64(0)
			gradientsOf(m, func() train.Loss {
				before := statistics(m)
				p = task.measure(b, true)
				if !reflect.DeepEqual(statistics(m), before) {
					t.Error("the plan moved running statistics")
				}
				loss := task.loss(b)
				held = torch.HeldBytes(torch.CPU)
				return loss
			})
			trained := int64(0)
			for _, w := range m.Trainable() {
				trained += 4 * int64(torch.Elements(w.Tensor.Shape()))
			}
			want := held + trained // whose gradients come
			got := p.need(0)
			t.Logf("%d images, %d texts: estimated %.1f MiB, measured %.1f", p.Images, p.Texts, float64(got)/(1<<20), float64(want)/(1<<20))
			if math.Abs(float64(got-want)) > 0.15*float64(want-p.Fixed) {
				t.Errorf("estimated %d bytes, of which %d are fixed, measured %d", got, p.Fixed, want)
			}
			if first := task.measure(b, false); first.Fixed-first.Held != 3*trained || p.Fixed-p.Held != trained {
				t.Errorf("to come are %d bytes before the first update, %d after; the weights have %d", first.Fixed-first.Held, p.Fixed-p.Held, trained)
			}
		})
	}
}

func statistics(m *clip.Model) (all [][]float32) {
	for _, p := range nn.Params(m) {
		if p.Buffer {
			all = append(all, torch.To[float32](p.Tensor))
		}
	}
	return all
}

// collect frees what earlier tests left: freed in between, it would count as
// memory that a step doesn't take.
func collect() {
	for range 4 {
		runtime.GC()
		time.Sleep(50 * time.Millisecond)
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
