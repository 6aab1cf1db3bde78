package imaging

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/semaphore"
)

// MaxPixels is the largest width×height that is decoded; Pillow's limit for
// decompression bombs. It's checked on the header, before any pixel is decoded.
const MaxPixels = 178_956_970

// MaxSide is the largest width or height: what a resize takes grows with the
// sides, not with the pixels.
const MaxSide = 1 << 20

// ErrTooLarge is wrapped by errors about pictures above [MaxPixels] or [MaxSide].
var ErrTooLarge = errors.New("too many pixels")

// Decode decodes a picture as Pillow's convert("RGB") does; see the package
// comment and [Preprocess.Background].
func (p Preprocess) Decode(encoded []byte) (*Image, error) {
	var img *Image
	var err error
	switch {
	case len(encoded) == 0:
		return nil, errors.New("decode image: empty file")
	case bytes.HasPrefix(encoded, []byte(pngSignature)):
		img, err = decodePNG(encoded, p.Background)
	case bytes.HasPrefix(encoded, []byte("GIF8")):
		img, err = decodeGIF(encoded, p.Background)
	case bytes.HasPrefix(encoded, jpegSignature):
		img, err = decodeJPEG(encoded, p.Background)
	default:
		img, err = decodeVips(encoded, p.Background)
	}
	if err != nil {
		return nil, fmt.Errorf("decode image: %w", err)
	}
	return img.compact(), nil
}

// Decode decodes a picture with transparency dropped.
func Decode(encoded []byte) (*Image, error) { return Preprocess{}.Decode(encoded) }

// DecodeRGB decodes a picture into [height, width, 3].
func DecodeRGB(encoded []byte) (pix []uint8, width, height int, err error) {
	img, err := Decode(encoded)
	if err != nil {
		return nil, 0, 0, err
	}
	return img.RGB(), img.Width, img.Height, nil
}

func checkSize(w, h int) error {
	if w < 1 || h < 1 {
		return fmt.Errorf("%d×%d pixels", w, h)
	}
	if w > MaxSide || h > MaxSide || int64(w)*int64(h) > MaxPixels {
		return fmt.Errorf("%d×%d: %w: the limits are %d, and %d a side", w, h, ErrTooLarge, MaxPixels, MaxSide)
	}
	return nil
}

// Decoding takes up to so many bytes a pixel: 16-bit RGBA and our RGB.
const pixelBytes = 8 + 3

// decoding bounds what all pictures take that are being decoded at one time to
// a little more than the largest does: many workers, each with a picture near
// MaxPixels, could otherwise fill any memory.
var decoding = semaphore.NewWeighted(MaxPixels*pixelBytes + 256<<20)

// reserve checks a picture's size and waits until there is memory for it.
// release is called when it's decoded.
func reserve(w, h int) (release func(), err error) {
	if err := checkSize(w, h); err != nil {
		return nil, err
	}
	n := int64(w) * int64(h) * pixelBytes
	if err := decoding.Acquire(context.Background(), n); err != nil {
		return nil, err
	}
	return func() { decoding.Release(n) }, nil
}

// blend composites one channel on white or black, rounding to nearest.
func blend(c, alpha uint8, background string) uint8 {
	under := 0
	if background == White {
		under = 255
	}
	return uint8((int(c)*int(alpha) + under*(255-int(alpha)) + 127) / 255)
}
