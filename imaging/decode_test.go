package imaging

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"strings"
	"sync"
	"testing"
)

// pngHeader is a PNG that promises w × h pixels and has none.
func pngHeader(w, h uint32) []byte {
	ihdr := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
	ihdr = binary.BigEndian.AppendUint32(ihdr, h)
	ihdr = append(ihdr, 8, 2, 0, 0, 0)
	out := append([]byte(pngSignature), 0, 0, 0, 13)
	out = append(out, ihdr...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(ihdr))
}

// bigJPEG is a JPEG whose header promises 65,500 × 65,500 pixels.
func bigJPEG(t testing.TB) []byte {
	b := bytes.Clone(read(t, "444.jpg"))
	at := bytes.Index(b, []byte{0xFF, 0xC0})
	if at < 0 {
		t.Fatal("no frame header in 444.jpg")
	}
	binary.BigEndian.PutUint16(b[at+5:], 65500)
	binary.BigEndian.PutUint16(b[at+7:], 65500)
	return b
}

func TestDecodeErrors(t *testing.T) {
	half := func(name string) []byte { b := read(t, name); return b[:len(b)/2] }
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "empty file", nil},
		{"text", "not a JPEG, PNG", []byte("just some words, no picture")},
		{"page", "not a JPEG, PNG", []byte("<!DOCTYPE html><html><body>404 Not Found</body></html>")},
		{"pdf", "not a JPEG, PNG", []byte("%PDF-1.4\n1 0 obj\n<<>>\nendobj\n")},
		{"bomb.png", "too many pixels", pngHeader(60000, 60000)},
		{"bomb.jpg", "too many pixels", bigJPEG(t)},
		{"bomb.gif", "too many pixels", []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00;")},
		{"drawing.svg", "SVG", []byte(`<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="9" height="9"/></svg>`)},
		{"empty bomb.png", "cut short", pngHeader(13000, 13000)},
		{"none.png", "", pngHeader(5, 5)},
		{"half.png", "", half("rgb.png")},
		{"half.jpg", "jpeg", half("420.jpg")},
		{"half.webp", "webp", half("lossy.webp")},
		{"half.tif", "tiff", half("rgb.tif")},
		{"half.gif", "gif", half("still.gif")},
		{"half.bmp", "", half("rgb.bmp")},
		{"start.jpg", "", []byte("\xff\xd8\xff\xe0")},
		{"signature.png", "", []byte(pngSignature)},
	} {
		_, err := CLIP(8).Eval(c.data)
		if err == nil {
			t.Errorf("%s: no error", c.name)
			continue
		}
		if s := err.Error(); !strings.HasPrefix(s, "decode image: ") || !strings.Contains(s, c.want) || strings.ContainsAny(s, "\n\t") || len(s) > 300 {
			t.Errorf("%s: %q; want one line with %q", c.name, s, c.want)
		}
		if strings.HasPrefix(c.name, "bomb.") != errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: ErrTooLarge or not? %v", c.name, err)
		}
	}
}

func TestBackground(t *testing.T) {
	for _, name := range []string{"rgba.png", "grey-alpha.png", "palette-alpha.png", "alpha.webp", "alpha.gif"} {
		plain, err := Decode(read(t, name))
		if err != nil {
			t.Fatal(err)
		}
		white, err := Preprocess{Background: White}.Decode(read(t, name))
		if err != nil {
			t.Fatal(err)
		}
		black, err := Preprocess{Background: Black}.Decode(read(t, name))
		if err != nil {
			t.Fatal(err)
		}
		a, w, b := plain.RGB(), white.RGB(), black.RGB()
		differs := false
		for i := range a {
			if w[i] < b[i] || w[i] < a[i] || b[i] > a[i] {
				t.Fatalf("%s: byte %d: %d, on white %d, on black %d", name, i, a[i], w[i], b[i])
			}
			differs = differs || w[i] != b[i]
		}
		if !differs {
			t.Errorf("%s: the same on white and on black", name)
		}
	}
	for _, c := range [][3]uint8{{200, 255, 200}, {200, 0, 255}, {0, 128, 127}, {255, 1, 255}} {
		if got := blend(c[0], c[1], White); got != c[2] {
			t.Errorf("%d at alpha %d on white: %d, want %d", c[0], c[1], got, c[2])
		}
	}
}

func TestEncodePNG(t *testing.T) {
	m := noise(7, 5, 3, 0)
	b, err := EncodePNG(m.Pix, 7, 5)
	if err != nil {
		t.Fatal(err)
	}
	pix, w, h, err := DecodeRGB(b)
	if err != nil || w != 7 || h != 5 || !bytes.Equal(pix, m.Pix) {
		t.Errorf("not the pixels that were written: %d×%d, %v", w, h, err)
	}
	if _, err := EncodePNG(m.Pix, 8, 5); err == nil {
		t.Error("a wrong size was accepted")
	}
}

func TestConcurrent(t *testing.T) {
	names := []string{"rgb.png", "420.jpg", "lossy.webp", "rgb.tif", "half"}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 40 {
				name := names[(i+j)%len(names)]
				if name == "half" {
					if _, err := Decode(read(t, "420.jpg")[:900]); err == nil {
						t.Error("half a JPEG was accepted")
					}
					continue
				}
				if _, err := CLIP(32).Eval(read(t, name)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzDecode: no input may crash, and what is decoded is well formed. libvips'
// decoders are fuzzed by their authors; here it's about what we do with them.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{
		"rgb.png", "palette-alpha.png", "rgb16.png", "bits.png", "420.jpg", "cmyk.jpg", "lossy.webp",
		"moving.gif", "alpha.gif", "rgb.tif", "cmyk.tif", "rgb.bmp", "lossless.webp", "alpha.webp", "photo.avif", "444.jpg",
	} {
		f.Add(read(f, name))
	}
	for name, bomb := range bombs(f) {
		if len(bomb) < 1<<16 {
			f.Add(bomb)
		} else if name != "png chunks" {
			f.Fatalf("%s has %d bytes", name, len(bomb))
		}
	}
	f.Add([]byte(`<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		img, err := Preprocess{Background: White}.Decode(data)
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		if err := img.check(); err != nil {
			t.Error(err)
		}
	})
}
