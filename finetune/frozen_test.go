package finetune

import (
	"strings"
	"testing"

	"arf/nn"
	"arf/train"
)

// While a method trains some of the weights, the others are no part of the
// graph, and no memory is taken for their gradients.
func TestWhatIsNotTrainedTakesNoGradients(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Options)
		frozen []string // beginnings of names
	}{
		"linear head": {func(o *Options) { o.Method = FT }, []string{"text_model.", "text_projection.", "logit_scale"}},
		"logit scale": {func(o *Options) { o.Method, o.FreezeLogitScale = FLYP, true }, []string{"logit_scale"}},
	} {
		m, data, o := trainCase{"", tiny, func(_ *Data, o *Options) { c.change(o) }}.begin(t)
		o.Epochs = 1
		steps := 0
		o.Progress = func(train.Metrics) {
			steps++
			frozen := 0
			for _, p := range nn.Params(m) {
				is := false
				for _, begins := range c.frozen {
					is = is || strings.HasPrefix(p.Name, begins)
				}
				if p.Tensor.RequiresGrad() == is {
					t.Errorf("%s: that %s requires a gradient is %t", name, p.Name, !is)
				}
				if is {
					frozen++
					if p.Tensor.Grad() != nil {
						t.Errorf("%s: %s has a gradient", name, p.Name)
					}
				}
			}
			if frozen == 0 {
				t.Errorf("%s: no weight is frozen", name)
			}
		}
		mustRun(t, m, data, o)
		if steps == 0 {
			t.Errorf("%s: no step was done", name)
		}
	}
	// The frozen text tower isn't even run.
	m, data, o := trainCase{"", tiny, func(_ *Data, o *Options) { o.Method = FT }}.begin(t)
	b, err := startTask(t, m, data, o, 0).feed.next()
	if err != nil || len(b.Tokens) > 0 || len(b.Samples) == 0 {
		t.Errorf("a step of a linear head has %d texts, %d images: %v", len(b.Tokens), len(b.Samples), err)
	}
}
