package checkpoint

import (
	"path/filepath"
	"testing"

	"arf/torch"
)

// logit_scale is one.
func TestScalarsComeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scalar.safetensors")
	torch.Scope(func() {
		want := FromTorch(torch.Full(torch.CPU, 2.5))
		if err := WriteSafetensors(path, Tensors{"logit_scale": want}, nil); err != nil {
			t.Fatal(err)
		}
		got, _, err := ReadSafetensors(path)
		if err != nil {
			t.Fatal(err)
		}
		if s := got["logit_scale"]; len(s.Shape) != 0 || s.ToTorch(torch.CPU).Item() != 2.5 {
			t.Errorf("got %+v", s)
		}
	})
}
