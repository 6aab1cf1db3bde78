package checkpoint

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The files of testdata are written by scripts/golden/weights.py.
type golden struct {
	Versions map[string]string
	Files    map[string]map[string]struct {
		DType string
		Shape []int
		Data  string
	}
}

func readGolden(t testing.TB) golden {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// Every tensor comes out as PyTorch has it, and no other.
func TestReadGolden(t *testing.T) {
	g := readGolden(t)
	if len(g.Files) < 11 {
		t.Fatalf("%d files", len(g.Files))
	}
	for file, want := range g.Files {
		t.Run(file, func(t *testing.T) {
			got, _, err := Read(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			for name, w := range want {
				tensor, ok := got[name]
				if !ok {
					t.Errorf("%s is missing", name)
					continue
				}
				data, err := hex.DecodeString(w.Data)
				if err != nil {
					t.Fatal(err)
				}
				if !strings.EqualFold(tensor.DType.String(), w.DType) || !slices.Equal(tensor.Shape, w.Shape) || !bytes.Equal(tensor.Data, data) {
					t.Errorf("%s: got %v, want %v", name, tensor, w)
				}
			}
			for name := range got {
				if _, ok := want[name]; !ok {
					t.Errorf("%s is no weight", name)
				}
			}
			if err := got.CheckFinite(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReadRefusesGolden(t *testing.T) {
	for file, want := range map[string]string{
		"numpy.pt":      "tensor other is made by numpy.core.multiarray._reconstruct",
		"int16.pt":      "tensor other: element type torch.int16 is not supported",
		"no_weights.pt": `its keys are "lr", "history"`,
		"one_tensor.pt": "it holds a tensor in place of a model's weights",
	} {
		path := filepath.Join("testdata", file)
		if _, _, err := Read(path); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), path) {
			t.Errorf("%s: got %v, want an error about %q", file, err, want)
		}
	}
}
