package finetune

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"arf/imaging"
	"arf/torch"
)

// One operation is a step of 64 finetune images of 64 pixels with a model of
// the size of models/icon-clip, data included.
func BenchmarkStep(b *testing.B) {
	torch.SetThreads(runtime.NumCPU())
	defer torch.SetThreads(1)
	data := pictures(128, 5)
	for _, precision := range []torch.DType{torch.BFloat16, torch.Float32} {
		for _, method := range []Method{FT, FLYP, FLYPTCA, FLYPITA, ARF} {
			b.Run(precision.String()+"/"+string(method), func(b *testing.B) {
				m := icon(b)
				data.ZeroShotHead = head(b, m)
				o := Options{
					Method: method, LambdaTCA: 1, LambdaITA: 1, BatchSize: 64, Epochs: b.N, LR: 1e-5, Negatives: Mask,
					Augment: imaging.Augment{ScaleMin: 0.9, ScaleMax: 1}, Precision: precision, StopAfter: b.N,
				}
				b.ReportAllocs()
				b.ResetTimer()
				if _, err := Run(context.Background(), m, data, o); err != nil && !errors.Is(err, context.Canceled) {
					b.Fatal(err)
				}
				b.ReportMetric(float64(64*b.N)/b.Elapsed().Seconds(), "images/s")
			})
		}
	}
}

// The data side alone: what the engine would wait for if it took no time.
func BenchmarkFeed(b *testing.B) {
	o := quick(ARF)
	o.BatchSize, o.Epochs, o.Workers = 64, 1<<30, 0
	task := startTask(b, icon(b), pictures(64, 5), o, 0)
	b.ReportAllocs()
	for b.Loop() {
		batch, err := task.feed.next()
		if err != nil || batch == nil {
			b.Fatal(err)
		}
		task.feed.recycle(batch)
	}
}
