package finetune

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"arf/clip"
	"arf/torch"
	"arf/train"
)

// What waits for the backward pass with activation checkpointing is inputs of
// blocks; the most that is held is that and one block's activations. The plan of
// a step says so.
func TestCheckpointsTakeLessMemory(t *testing.T) {
	data := pictures(48, 3)
	for name, c := range map[string]struct {
		model func(testing.TB) *clip.Model
		most  float64 // of what is held without; a ResNet of four blocks has a large one
	}{"resnet": {icon, 1}, "vit": {wide, 0.4}} {
		t.Run(name, func(t *testing.T) {
			waiting := func(on bool) (bytes, most, planned int64) {
				m := c.model(t)
				o := quick(ARF)
				o.BatchSize, o.ActivationCheckpointing = 48, on
				task := startTask(t, m, data, o, 0)
				b, err := task.feed.next()
				if err != nil {
					t.Fatal(err)
				}
				collect()
				gradientsOf(m, func() train.Loss {
					p := task.measure(b, true)
					before := torch.HeldBytes(torch.CPU)
					planned = p.need(0) - p.Held
					if on {
						again := task.checkpoints.Forward
						task.checkpoints.Forward = func(layers func()) {
							again(layers)
							most = max(most, torch.HeldBytes(torch.CPU)-before)
						}
					}
					loss := task.loss(b)
					bytes = torch.HeldBytes(torch.CPU) - before
					return loss
				})
				return bytes, most, planned
			}
			all, _, _ := waiting(false)
			inputs, most, planned := waiting(true)
			const mib = 1 << 20
			t.Logf("without: %d MiB; with: %d MiB wait for the backward pass, which takes %d; planned %d", all/mib, inputs/mib, most/mib, planned/mib)
			if inputs*5 > all*2 || float64(most) > c.most*float64(all) {
				t.Errorf("%d bytes wait and %d are taken, %d without checkpointing", inputs, most, all)
			}
			if planned < most || planned > most*5/4 {
				t.Errorf("planned are %d bytes, taken %d", planned, most)
			}
		})
	}
}

// The blocks run again in the precision of the first time: the gradients are those
// without activation checkpointing, far closer than those of fp32 are.
func TestCheckpointsInBFloat16(t *testing.T) {
	for name, model := range map[string]func(testing.TB) *clip.Model{"resnet": tinyResNet, "vit": tiny} {
		t.Run(name, func(t *testing.T) {
			m := model(t)
			o := quick(ARF)
			o.BatchSize, o.Precision, o.ActivationCheckpointing = 12, torch.BFloat16, true
			task := startTask(t, m, pictures(16, 3), o, 0)
			b, err := task.feed.next()
			if err != nil {
				t.Fatal(err)
			}
			gradients := func() map[string][]float32 {
				_, g := gradientsOf(m, func() train.Loss { return task.loss(b) })
				return g
			}
			with := gradients()
			task.checkpoints = nil
			without := gradients()
			task.o.Precision = torch.Float32
			single := gradients()
			near, far := distance(with, without), distance(single, without)
			t.Logf("relative difference of the gradients: %.2g, of fp32's %.2g", near, far)
			if near > far/10 || far > 0.05 {
				t.Errorf("relative difference %g, of fp32's gradients %g, should be 0.05 at most", near, far)
			}
		})
	}
}

// distance is ‖a − b‖ / ‖b‖ over all weights.
func distance(a, b map[string][]float32) float64 {
	difference, norm := 0.0, 0.0
	for name := range b {
		for i, v := range b[name] {
			d := float64(a[name][i] - v)
			difference += d * d
			norm += float64(v) * float64(v)
		}
	}
	return math.Sqrt(difference / norm)
}

// A whole run goes as one without, in both precisions and in parts.
func TestARunWithCheckpoints(t *testing.T) {
	data := pictures(16, 3)
	run := func(on bool, part int, precision torch.DType) []train.Metrics {
		var steps []train.Metrics
		o := quick(ARF)
		o.ActivationCheckpointing, o.MicroBatch, o.Precision = on, part, precision
		o.Progress = func(m train.Metrics) { steps = append(steps, m) }
		mustRun(t, tiny(t), data, o)
		return steps
	}
	for precision, near := range map[torch.DType]float64{torch.Float32: 1e-5, torch.BFloat16: 0.02} {
		for _, part := range []int{0, 3} {
			without, with := run(false, part, precision), run(true, part, precision)
			if len(with) != len(without) || len(without) != 12 {
				t.Fatalf("%d and %d steps", len(without), len(with))
			}
			for i, w := range without {
				if d := (with[i].Loss - w.Loss) / w.Loss; d > near || d < -near {
					t.Errorf("%v, parts of %d, step %d: loss %v, want %v", precision, part, i+1, with[i].Loss, w.Loss)
				}
			}
		}
	}
}

func TestCheckpointsNeedFixedStatistics(t *testing.T) {
	o := quick(FLYP)
	o.ActivationCheckpointing, o.TrainBatchNorm = true, true
	if _, err := newTask(tinyResNet(t), pictures(16, 0), o.filled()); err == nil || !strings.Contains(fmt.Sprint(err), "freeze_batch_norm") {
		t.Errorf("got %v", err)
	}
}
