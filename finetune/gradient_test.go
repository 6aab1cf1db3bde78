package finetune

import (
	"math"
	"slices"
	"testing"

	"arf/clip"
	"arf/nn"
	"arf/torch"
)

// The step's single calls of the towers against a term by term computation
// that encodes every image and every text where it is used.
func TestGradientEqualsThatOfSeparateCalls(t *testing.T) {
	for _, negatives := range []Negatives{Diag, Mask, Soft} {
		t.Run(string(negatives), func(t *testing.T) {
			m := tiny(t)
			data := pictures(16, 3)
			o := quick(ARF)
			o.BatchSize, o.Negatives = 12, negatives
			task := startTask(t, m, data, o, 0)
			b, err := task.feed.next()
			if err != nil {
				t.Fatal(err)
			}
			if len(b.Rows) != 12 || len(b.Tokens) >= 3*12 {
				t.Fatalf("%d pairs and %d different texts: want 12 pairs, and some texts equal", len(b.Rows), len(b.Tokens))
			}
			loss, gradients := gradientsOf(m, func() *torch.Tensor { return task.loss(task.encode(b)).Total })
			wantLoss, want := gradientsOf(m, func() *torch.Tensor { return separately(m, b, o) })
			if math.Abs(loss-wantLoss) > 1e-5*wantLoss {
				t.Errorf("loss %.8f, want %.8f", loss, wantLoss)
			}
			total := 0.0
			for _, g := range want {
				for _, v := range g {
					total += float64(v) * float64(v)
				}
			}
			for name, g := range want {
				difference, norm := 0.0, 0.0
				for i, v := range g {
					d := float64(v - gradients[name][i])
					difference += d * d
					norm += float64(v) * float64(v)
				}
				// Keys' biases have no gradient but rounding, hence the share of
				// the whole gradient.
				if math.Sqrt(difference) > 1e-5*math.Max(math.Sqrt(norm), 1e-2*math.Sqrt(total)) {
					t.Errorf("%s: gradients differ by %.3g of %.3g", name, math.Sqrt(difference), math.Sqrt(norm))
				}
			}
		})
	}
}

// Resume is exact only if a step is: kernels that split their work between
// threads must sum in one order. The sizes are those at which they do split it.
func TestAStepIsReproducibleOnSeveralThreads(t *testing.T) {
	torch.SetThreads(2)
	defer torch.SetThreads(1)
	for _, precision := range []torch.DType{torch.Float32, torch.BFloat16} {
		m := icon(t)
		o := quick(ARF)
		o.BatchSize, o.Precision, o.Negatives = 16, precision, Soft
		task := startTask(t, m, pictures(16, 3), o, 0)
		b, err := task.feed.next()
		if err != nil {
			t.Fatal(err)
		}
		loss, want := gradientsOf(m, func() *torch.Tensor { return task.loss(task.encode(b)).Total })
		again, got := gradientsOf(m, func() *torch.Tensor { return task.loss(task.encode(b)).Total })
		if again != loss {
			t.Errorf("%v: loss %v, then %v", precision, loss, again)
		}
		for name, g := range want {
			if !slices.Equal(g, got[name]) {
				t.Errorf("%v: the gradient of %s varies", precision, name)
			}
		}
	}
}

func gradientsOf(m *clip.Model, loss func() *torch.Tensor) (float64, map[string][]float32) {
	gradients := map[string][]float32{}
	value := 0.0
	torch.Scope(func() {
		for _, p := range m.Trainable() {
			p.Tensor.SetRequiresGrad(true)
		}
		l := loss()
		l.Backward()
		value = l.Item()
		for _, p := range nn.Params(m) {
			if g := p.Tensor.Grad(); g != nil {
				gradients[p.Name] = torch.To[float32](g)
			}
			p.Tensor.SetGrad(nil)
			p.Tensor.SetRequiresGrad(false)
		}
	})
	return value, gradients
}

func separately(m *clip.Model, b *Batch, o Options) *torch.Tensor {
	size := m.Preprocess.Bytes()
	n := len(b.Samples)
	term := func(from, to int, texts, groups []int64) *torch.Tensor {
		images := m.EncodeImage(m.Pixels(b.Pixels[from*size:to*size], to-from))
		ids := make([][]int32, len(texts))
		for i, row := range texts {
			ids[i] = b.Tokens[row]
		}
		k := len(texts)
		target, excluded := make([]float32, k*k), make([]uint8, k*k)
		for i := range k {
			same := 0
			for j := range k {
				if texts[i] == texts[j] || groups[i] == groups[j] {
					same++
				}
			}
			for j := range k {
				if texts[i] == texts[j] || groups[i] == groups[j] {
					target[i*k+j] = 1 / float32(same)
					if i != j {
						excluded[i*k+j] = 1
					}
				}
			}
		}
		var t, e *torch.Tensor
		switch o.Negatives {
		case Soft:
			t = torch.From(torch.CPU, target, k, k)
		case Mask:
			e = torch.From(torch.CPU, excluded, k, k).Cast(torch.Bool)
		}
		return m.ContrastiveLoss(images, m.EncodeText(ids), t, e)
	}
	return term(0, n, b.Prompts, b.Labels).
		Add(term(0, n, b.Captions, b.Labels).Scale(o.LambdaTCA)).
		Add(term(n, n+len(b.Rows), b.PairTexts, b.Rows).Scale(o.LambdaITA))
}
