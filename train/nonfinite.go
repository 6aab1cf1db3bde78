package train

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"arf/checkpoint"
	"arf/nn"
	"arf/torch"
)

// nonFiniteFolder of a run holds what ended it: step-N/ with the weights that
// the step began with, and its batch.
const nonFiniteFolder = "nonfinite"

// cause names what isn't finite: a term of the loss, else the first gradient.
func cause(loss Loss, params []nn.Param) string {
	names := make([]string, 0, len(loss.Terms))
	for name, term := range loss.Terms {
		if !finite(term.Item()) {
			names = append(names, "loss_"+name)
		}
	}
	if len(names) > 0 {
		return slices.Min(names)
	}
	if !finite(loss.Total.Item()) {
		return "loss"
	}
	for _, p := range params {
		if !p.Buffer {
			if g := p.Tensor.Grad(); g != nil && !g.AllFinite() {
				return "gradient of " + p.Name
			}
		}
	}
	return "norm of the gradient"
}

// buffers are a model's running statistics, which a forward pass moves. They
// must be read and put back in the same torch.Scope.
type buffers struct{ now, before []*torch.Tensor }

func copyBuffers(params []nn.Param) (b buffers) {
	torch.NoGrad(func() {
		for _, p := range params {
			if p.Buffer {
				b.now = append(b.now, p.Tensor)
				b.before = append(b.before, p.Tensor.ZerosLike().Copy_(p.Tensor))
			}
		}
	})
	return b
}

func (b buffers) restore() {
	torch.NoGrad(func() {
		for i, t := range b.now {
			t.Copy_(b.before[i])
		}
	})
}

// saveNonFinite writes what a step was computed from into the run folder, in
// place of an earlier one, and gives the folder.
func saveNonFinite(runDir string, step int, params []nn.Param, task Task) (dir string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("save the batch of step %d: %w", step, err)
		}
	}()
	all := filepath.Join(runDir, nonFiniteFolder)
	if err := os.RemoveAll(all); err != nil {
		return "", err
	}
	dir = stepDir(all, step)
	partial := dir + partialSuffix
	if err := os.MkdirAll(partial, 0o755); err != nil {
		return "", err
	}
	weights := checkpoint.Tensors{}
	for _, p := range params {
		weights[p.Name] = checkpoint.FromTorch(p.Tensor)
	}
	if err := checkpoint.WriteSafetensors(filepath.Join(partial, modelFile), weights, nil); err != nil {
		return "", err
	}
	if saver, ok := task.(BatchSaver); ok {
		if err := saver.SaveBatch(partial); err != nil {
			return "", err
		}
	}
	return dir, os.Rename(partial, dir)
}
