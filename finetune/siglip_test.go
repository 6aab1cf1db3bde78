package finetune

import (
	"fmt"
	"testing"

	"arf/clip"
	"arf/nn"
	"arf/text"
	"arf/torch"
	"arf/train"
)

// tinySigLIP has SigLIP's towers and tokenizer, and random weights.
func tinySigLIP(t testing.TB) *clip.Model {
	t.Helper()
	tok, err := text.Load("../text/testdata/siglip", 16)
	if err != nil {
		t.Fatal(err)
	}
	m, err := clip.New(clip.Config{
		SigLIP: true, EmbedDim: 32,
		Vision: clip.VisionConfig{
			ImageSize: 16, PatchSize: 4, Width: 32, Layers: 2, Heads: 2, MLPWidth: 64, Activation: nn.GELUTanh, Eps: 1e-6,
			NoPreNorm: true, Pooling: clip.MAPPooling,
		},
		Text: clip.TextConfig{
			ContextLength: 16, VocabSize: tok.VocabSize(), Width: 24, Layers: 2, Heads: 2, MLPWidth: 48, Activation: nn.GELUTanh, Eps: 1e-6,
			EOS: int(tok.EOS()), PadID: int(tok.Pad()), NonCausal: true, LastPooling: true,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	m.Init(1)
	m.Tokenizer = tok
	return m
}

// A SigLIP is finetuned with its own loss, by all three terms, and what is
// finetuned is saved and read as the same model.
func TestSigLIPIsFinetuned(t *testing.T) {
	data := pictures(16, 3)
	for name, set := range map[string]func(*Options){
		"diag": func(*Options) {},
		"mask": func(o *Options) { o.Negatives = Mask },
		"soft": func(o *Options) { o.Negatives = Soft },
		"bf16": func(o *Options) { o.Precision = torch.BFloat16 },
	} {
		t.Run(name, func(t *testing.T) {
			m := tinySigLIP(t)
			m.LogitScale.Fill_(6) // greater than CLIP's bound, as SigLIP's are
			before := map[string]string{}
			for _, p := range nn.Params(m) {
				before[p.Name] = string(p.Tensor.Bytes())
			}
			o := quick(ARF)
			o.Epochs, o.LR = 5, 3e-3
			set(&o)
			var totals []float64
			o.Progress = func(s train.Metrics) {
				for _, term := range []string{"class", "tca", "ita"} {
					if _, ok := s.Terms[term]; !ok {
						t.Errorf("step %d has no term %s", s.Step, term)
					}
				}
				totals = append(totals, s.Loss)
			}
			mustRun(t, m, data, o)
			mean := func(x []float64) (sum float64) {
				for _, v := range x {
					sum += v
				}
				return sum / float64(len(x))
			}
			first, last := mean(totals[:4]), mean(totals[len(totals)-4:])
			t.Logf("loss %.3f, then %.3f", first, last)
			if !(last < 0.7*first) {
				t.Errorf("the loss goes from %.3f to %.3f", first, last)
			}
			for _, p := range nn.Params(m) {
				if string(p.Tensor.Bytes()) == before[p.Name] {
					t.Errorf("%s has not changed", p.Name)
				}
			}
			if m.LogitScale.Item() < clip.MaxLogitScale {
				t.Errorf("logit_scale fell to %g", m.LogitScale.Item())
			}
			dir := t.TempDir()
			if err := m.Save(dir, torch.Float32, nil); err != nil {
				t.Fatal(err)
			}
			again, err := clip.Load(dir, torch.CPU)
			if err != nil {
				t.Fatal(err)
			}
			if weights(again) != weights(m) {
				t.Error("the model differs after loading")
			}
			if got, want := fmt.Sprint(head(t, again).Weight), fmt.Sprint(head(t, m).Weight); got != want {
				t.Error("its zero-shot head differs after loading")
			}
		})
	}
}

func TestSigLIPScaleAndBiasAreFrozen(t *testing.T) {
	m := tinySigLIP(t)
	scale, bias := m.LogitScale.Item(), m.LogitBias.Item()
	o := quick(FLYP)
	o.FreezeLogitScale = true
	mustRun(t, m, pictures(16, 3), o)
	if m.LogitScale.Item() != scale || m.LogitBias.Item() != bias {
		t.Errorf("scale and bias are %g and %g, were %g and %g", m.LogitScale.Item(), m.LogitBias.Item(), scale, bias)
	}
}

// Method ft trains the image tower and its pooling head.
func TestSigLIPIsFinetunedWithALinearHead(t *testing.T) {
	m := tinySigLIP(t)
	data := pictures(16, 3)
	data.ZeroShotHead = head(t, m)
	vision, probe := weights(m.ViT), string(m.ViT.Head.Probe.Bytes())
	o := quick(FT)
	result := mustRun(t, m, data, o)
	if weights(m.ViT) == vision || string(m.ViT.Head.Probe.Bytes()) == probe {
		t.Error("the image tower has not changed")
	}
	if fmt.Sprint(result.Head.Weight) == fmt.Sprint(data.ZeroShotHead.Weight) {
		t.Error("the head has not changed")
	}
}
