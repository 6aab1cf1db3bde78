package checkpoint

import (
	"path/filepath"
	"strings"
	"testing"

	"arf/torch"
)

// The first byte of a safetensors file is its header's length modulo 256: none
// makes it look like another format.
func TestReadOfEveryHeaderLength(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	tensor := Tensor{DType: torch.Float32, Shape: []int{1}, Data: make([]byte, 4)}
	for n := range 256 {
		name := strings.Repeat("a", n+1)
		if err := WriteSafetensors(path, Tensors{name: tensor}, nil); err != nil {
			t.Fatal(err)
		}
		if got, _, err := Read(path); err != nil || len(got) != 1 {
			t.Fatalf("a name of %d letters: %v", n+1, err)
		}
	}
}
