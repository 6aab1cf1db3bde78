package checkpoint

import (
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"arf/torch"
)

// FuzzDecode: any bytes give an error, or tensors that are as long as their
// shapes say and come back from a file as they are.
func FuzzDecode(f *testing.F) {
	path := filepath.Join(f.TempDir(), "seed.safetensors")
	for _, tensors := range []Tensors{
		{},
		{"logit_scale": {DType: torch.Float32, Shape: []int{}, Data: []byte{0, 0, 128, 63}}},
		{
			"a.weight": {DType: torch.Float16, Shape: []int{2, 3}, Data: make([]byte, 12)},
			"empty":    {DType: torch.Int64, Shape: []int{0, 4}, Data: []byte{}},
			"mask":     {DType: torch.Bool, Shape: []int{1}, Data: []byte{1}},
		},
	} {
		if err := WriteSafetensors(path, tensors, map[string]string{"format": "pt"}); err != nil {
			f.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tensors, metadata, err := decode(data)
		if err != nil {
			return
		}
		total := 0
		for name, tensor := range tensors {
			want := tensor.DType.Size()
			for _, n := range tensor.Shape {
				want *= n
			}
			if len(tensor.Data) != want {
				t.Fatalf("%s: %d bytes for %v of %v", name, len(tensor.Data), tensor.Shape, tensor.DType)
			}
			total += want
		}
		if total > len(data) {
			t.Fatalf("%d bytes of tensors in a file of %d", total, len(data))
		}
		path := filepath.Join(t.TempDir(), "again.safetensors")
		if err := WriteSafetensors(path, tensors, metadata); err != nil {
			t.Fatal(err)
		}
		again, same, err := ReadSafetensors(path)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(again, tensors) || !maps.Equal(same, metadata) {
			t.Errorf("%v and %v come back as %v and %v", tensors, metadata, again, same)
		}
	})
}
