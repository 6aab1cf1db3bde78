package finetune

import (
	"fmt"
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
