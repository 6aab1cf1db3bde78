package imaging

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/davidbyttow/govips/v2/vips"
	"golang.org/x/image/bmp"
)

var startVips = sync.OnceFunc(func() {
	// libvips may call ImageMagick and other decoders that its authors don't
	// consider safe for files from strangers.
	_ = os.Setenv("VIPS_BLOCK_UNTRUSTED", "1")
	vips.LoggingSettings(func(string, vips.LogLevel, string) {}, vips.LogLevelError)
	// One thread a picture and no cache of operations: the loader decodes many
	// pictures at once, each a single time.
	vips.Startup(&vips.Config{ConcurrencyLevel: 1})
})

// VipsVersion is the version of the libvips that is linked in.
func VipsVersion() string { return vips.Version }

func decodeVips(encoded []byte, background string) (*Image, error) {
	startVips()
	kind := vips.DetermineImageType(encoded)
	switch kind {
	case vips.ImageTypeJPEG, vips.ImageTypeWEBP, vips.ImageTypeTIFF, vips.ImageTypeBMP, vips.ImageTypeAVIF, vips.ImageTypeHEIF:
	case vips.ImageTypeSVG:
		return nil, errors.New("SVG isn't read; draw it as a PNG first")
	default:
		return nil, fmt.Errorf("not a JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF or HEIF file (it begins with % x)", encoded[:min(len(encoded), 8)])
	}
	if kind == vips.ImageTypeBMP {
		if err := checkBMP(encoded); err != nil {
			return nil, err
		}
	}
	params := vips.NewImportParams()
	params.FailOnError.Set(true) // a truncated file is an error, not a grey area
	ref, err := vips.LoadImageFromBuffer(encoded, params)
	if err != nil {
		return nil, vipsError(kind, err)
	}
	defer ref.Close()
	release, err := reserve(ref.Width(), ref.Height())
	if err != nil {
		return nil, err
	}
	defer release()
	if err := toRGB(ref, background); err != nil {
		return nil, vipsError(kind, err)
	}
	pix, err := ref.ToBytes()
	if err != nil {
		return nil, vipsError(kind, err)
	}
	img := &Image{Width: ref.Width(), Height: ref.Height(), Channels: ref.Bands(), Pix: pix}
	if img.Channels == 4 {
		img.Pix, img.Channels = fromCMYK(pix), 3
	}
	if err := img.check(); err != nil {
		return nil, err
	}
	return img, nil
}

// checkBMP looks at the header: govips takes memory for all pixels before it
// sees that they aren't there.
func checkBMP(encoded []byte) error {
	head, err := bmp.DecodeConfig(bytes.NewReader(encoded))
	if err != nil {
		return fmt.Errorf("bmp: %w", err)
	}
	if err := checkSize(head.Width, head.Height); err != nil {
		return err
	}
	if head.Width*head.Height > 8*len(encoded) { // a bit a pixel at least, as runs aren't read
		return fmt.Errorf("bmp: cut short: %d bytes can't hold %d×%d pixels", len(encoded), head.Width, head.Height)
	}
	return nil
}

// toRGB leaves 1 or 3 bands of 8 bits, or 4 of CMYK.
func toRGB(ref *vips.ImageRef, background string) error {
	if ref.Interpretation() == vips.InterpretationCMYK {
		if ref.Bands() < 4 {
			return fmt.Errorf("CMYK with %d channels", ref.Bands())
		}
		if ref.BandFormat() == vips.BandFormatUshort {
			if err := ref.Linear1(1.0/257, 0); err != nil {
				return err
			}
		}
		if ref.Bands() > 4 {
			if err := ref.ExtractBand(0, 4); err != nil {
				return err
			}
		}
		return ref.Cast(vips.BandFormatUchar)
	}
	if kind := ref.Interpretation(); kind != vips.InterpretationSRGB && kind != vips.InterpretationBW {
		if err := ref.ToColorSpace(vips.InterpretationSRGB); err != nil {
			return err
		}
	}
	if ref.BandFormat() != vips.BandFormatUchar {
		if err := ref.Cast(vips.BandFormatUchar); err != nil {
			return err
		}
	}
	if background != "" && (ref.Bands() == 2 || ref.Bands() == 4) {
		under := &vips.Color{}
		if background == White {
			under = &vips.Color{R: 255, G: 255, B: 255}
		}
		if err := ref.Flatten(under); err != nil {
			return err
		}
	}
	switch n := ref.Bands(); {
	case n == 2:
		return ref.ExtractBand(0, 1)
	case n > 3:
		return ref.ExtractBand(0, 3)
	}
	return nil
}

// fromCMYK converts as Pillow does, without a colour profile.
func fromCMYK(pix []uint8) []uint8 {
	out := make([]uint8, len(pix)/4*3)
	for i := range len(pix) / 4 {
		white := 255 - int(pix[4*i+3])
		for c := range 3 {
			t := int(pix[4*i+c])*white + 128
			out[3*i+c] = uint8(max(white-((t>>8)+t)>>8, 0))
		}
	}
	return out
}

// vipsError keeps the first line of a govips error: the rest is a Go stack.
func vipsError(kind vips.ImageType, err error) error {
	if errors.Is(err, vips.ErrUnsupportedImageFormat) {
		return fmt.Errorf("this libvips (%s) can't read %s", vips.Version, vips.ImageTypes[kind])
	}
	message, _, _ := strings.Cut(err.Error(), "\nStack:")
	message = strings.Join(strings.FieldsFunc(strings.TrimSpace(message), func(r rune) bool { return r == '\n' }), "; ")
	return fmt.Errorf("%s: %s", vips.ImageTypes[kind], message)
}
