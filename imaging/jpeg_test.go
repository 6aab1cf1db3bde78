package imaging

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestJPEGAsVips compares with libvips: the same pixels, and of files that are
// cut short the same refusals.
func TestJPEGAsVips(t *testing.T) {
	files, err := filepath.Glob("testdata/*.jpg")
	if err != nil || len(files) < 4 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		whole := read(t, filepath.Base(file))
		for n := len(whole); n > len(whole)/20; n -= max(len(whole)/50, 1) {
			cut := whole[:n]
			got, err := decodeJPEG(cut, "")
			want, wantErr := decodeVips(cut, "")
			if (err == nil) != (wantErr == nil) {
				t.Fatalf("%s, %d of %d bytes: error %v, of libvips %v", file, n, len(whole), err, wantErr)
			}
			if n == len(whole) && err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			if err == nil && (got.Width != want.Width || got.Channels != want.Channels || !slices.Equal(got.Pix, want.Pix)) {
				t.Fatalf("%s, %d of %d bytes: other pixels than libvips", file, n, len(whole))
			}
		}
	}
}

// TestJPEGScans refuses a progressive file whose last scan is repeated until decoding would take for ever.
func TestJPEGScans(t *testing.T) {
	whole := read(t, "photos/coffee-progressive.jpg")
	if _, err := Decode(whole); err != nil {
		t.Fatal(err)
	}
	last := bytes.LastIndex(whole, []byte{0xff, 0xda}) // start of scan
	end := len(whole) - 2                              // end of image
	many := slices.Concat(whole[:end], bytes.Repeat(whole[last:end], 200), whole[end:])
	if _, err := Decode(many); err == nil || !strings.Contains(err.Error(), "scans") {
		t.Errorf("200 scans more: error %v", err)
	}
}

// TestColourless changes each byte of a grey picture.
func TestColourless(t *testing.T) {
	for pixels := range 40 {
		p := bytes.Repeat([]byte{7, 7, 7}, pixels)
		for i := range pixels {
			copy(p[3*i:], bytes.Repeat([]byte{byte(i)}, 3))
		}
		if !colourless(p) {
			t.Fatalf("%d grey pixels have a colour", pixels)
		}
		for i := range p {
			p[i]++
			if colourless(p) {
				t.Fatalf("%d pixels, byte %d differs and isn't seen", pixels, i)
			}
			p[i]--
		}
	}
}

func BenchmarkDecodeJPEG(b *testing.B) {
	data := read(b, "photos/astronaut-420.jpg")
	for _, c := range []struct {
		name   string
		decode func([]byte, string) (*Image, error)
	}{{"libjpeg", decodeJPEG}, {"libvips", decodeVips}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.decode(data, ""); err != nil {
					b.Fatal(err)
				}
			}
			perSecond(b)
		})
	}
}
