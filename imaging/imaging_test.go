package imaging

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// rgbOf decodes a golden file.
func rgbOf(t testing.TB, name string) ([]uint8, int, int) {
	t.Helper()
	img, err := decodePNG(read(t, name), "")
	if err != nil {
		t.Fatal(err)
	}
	return img.RGB(), img.Width, img.Height
}

func worst(a, b []uint8) (int, error) {
	if len(a) != len(b) {
		return 0, fmt.Errorf("%d bytes, want %d", len(a), len(b))
	}
	most := 0
	for i := range a {
		most = max(most, int(a[i])-int(b[i]), int(b[i])-int(a[i]))
	}
	return most, nil
}

// TestPillow compares with what Pillow makes of the same files.
func TestPillow(t *testing.T) {
	var cases []struct {
		File, RGB, Golden, Interpolation, Mode string
		Size, Tolerance                        int
	}
	if err := json.Unmarshal(read(t, "cases.json"), &cases); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		t.Run(c.Golden, func(t *testing.T) {
			encoded := read(t, c.File)
			pix, w, h, err := DecodeRGB(encoded)
			if err != nil {
				t.Fatal(err)
			}
			want, ww, wh := rgbOf(t, c.RGB)
			if w != ww || h != wh {
				t.Fatalf("decoded %d×%d, want %d×%d", w, h, ww, wh)
			}
			if off, err := worst(pix, want); err != nil || off > c.Tolerance {
				t.Errorf("decoded pixels differ by up to %d (%v)", off, err)
			}
			p := CLIP(c.Size)
			p.Interpolation, p.ResizeMode = c.Interpolation, c.Mode
			got, err := p.Eval(encoded)
			if err != nil {
				t.Fatal(err)
			}
			want, _, _ = rgbOf(t, c.Golden)
			if off, err := worst(got, want); err != nil || off > c.Tolerance {
				t.Errorf("preprocessed pixels differ by up to %d (%v)", off, err)
			}
		})
	}
}
