// Package imaging turns encoded pictures into the square RGB pixels that a
// CLIP image tower reads, the way Pillow and torchvision do it, so that
// checkpoints trained elsewhere see the pixels that they were trained on.
//
// Everything before normalisation is uint8 in rows × columns × RGB; the
// normalisation (x/255 − mean)/std is the model's.
//
// The resampler is Pillow's (separable, antialiased, 22-bit fixed point; the
// order of passes up to Pillow 12) and agrees with it bit for bit. libvips' and
// x/image's don't: on noisy pictures they are off by up to 130 and 8 grey
// levels. PNG and GIF are decoded by the standard library, which on small
// pictures is four times as fast as libvips; JPEG by libjpeg-turbo, six times as
// fast; CMYK JPEG, WebP, TIFF, BMP, AVIF and HEIF by libvips.
//
// As in Pillow's convert("RGB"), which comes first: transparency is dropped, not
// composited (a black icon on a transparent ground becomes all black; see
// [Preprocess.Background]), EXIF rotation and colour profiles are ignored, and
// only the first frame or page is read. Unlike there, 16-bit grey is scaled to
// 8 bits (Pillow clips it to white).
package imaging

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Values of [Preprocess.Interpolation], [Preprocess.ResizeMode] and
// [Preprocess.Background].
const (
	Bicubic  = "bicubic"
	Bilinear = "bilinear"

	Shortest = "shortest"
	Squash   = "squash"

	White = "white"
	Black = "black"
)

// Preprocess says how pictures become model input. The zero values of the
// strings are CLIP's.
type Preprocess struct {
	// ImageSize is the side of the square output in pixels.
	ImageSize int
	// Mean and Std are per channel (R, G, B), in units of the 0–1 range.
	Mean, Std [3]float32
	// Interpolation is "bicubic" (default) or "bilinear", both antialiased.
	Interpolation string
	// ResizeMode is "shortest" (default: the shorter side becomes ImageSize,
	// then a centre crop) or "squash" (both sides, without regard to shape).
	ResizeMode string
	// Background is "" (default: transparency is dropped, as in Pillow),
	// "white" or "black" (transparent pictures are composited on that colour).
	Background string
}

// CLIP is the preprocessing of OpenAI's models (clip/clip.py, _transform).
func CLIP(size int) Preprocess {
	return Preprocess{
		ImageSize:     size,
		Mean:          [3]float32{0.48145466, 0.4578275, 0.40821073},
		Std:           [3]float32{0.26862954, 0.26130258, 0.27577711},
		Interpolation: Bicubic,
		ResizeMode:    Shortest,
	}
}

// SigLIP is the preprocessing of Google's SigLIP models (transformers,
// image_processing_siglip.py).
func SigLIP(size int) Preprocess {
	half := [3]float32{0.5, 0.5, 0.5}
	return Preprocess{ImageSize: size, Mean: half, Std: half, Interpolation: Bicubic, ResizeMode: Squash}
}

// Validate names the first field that can't be used.
func (p Preprocess) Validate() error {
	if p.ImageSize < 1 || p.ImageSize > 1<<14 {
		return fmt.Errorf("preprocess: image size %d: must be 1 to %d pixels", p.ImageSize, 1<<14)
	}
	if _, err := p.filter(); err != nil {
		return err
	}
	switch p.ResizeMode {
	case "", Shortest, Squash:
	default:
		return fmt.Errorf("preprocess: resize mode %q: must be %q or %q", p.ResizeMode, Shortest, Squash)
	}
	switch p.Background {
	case "", White, Black:
	default:
		return fmt.Errorf("preprocess: background %q: must be empty, %q or %q", p.Background, White, Black)
	}
	for i, s := range p.Std {
		if !(s > 0) || math.IsInf(float64(s), 0) {
			return fmt.Errorf("preprocess: std[%d] is %g: must be positive", i, s)
		}
	}
	return nil
}

func (p Preprocess) filter() (filter, error) {
	switch p.Interpolation {
	case "", Bicubic:
		return bicubic, nil
	case Bilinear:
		return bilinear, nil
	}
	return filter{}, fmt.Errorf("preprocess: interpolation %q: must be %q or %q", p.Interpolation, Bicubic, Bilinear)
}

// Bytes is the length of one output: ImageSize²·3.
func (p Preprocess) Bytes() int { return p.ImageSize * p.ImageSize * 3 }

// Eval decodes, resizes and centre-crops. The result is [ImageSize, ImageSize,
// 3] in rows, RGB, 0–255.
func (p Preprocess) Eval(encoded []byte) ([]uint8, error) {
	img, err := p.Decode(encoded)
	if err != nil {
		return nil, err
	}
	dst := make([]uint8, p.Bytes())
	if err := p.EvalInto(dst, img); err != nil {
		return nil, err
	}
	return dst, nil
}

// EvalInto is Eval of an already decoded picture into dst, whose length must
// be [Preprocess.Bytes].
func (p Preprocess) EvalInto(dst []uint8, img *Image) error {
	return p.evalInto(dst, img, false)
}

func (p Preprocess) evalInto(dst []uint8, img *Image, mirror bool) error {
	f, err := p.ready(dst, img)
	if err != nil {
		return err
	}
	s := p.ImageSize
	w, h := s, s
	if p.ResizeMode != Squash {
		w, h = shortestSide(img.Width, img.Height, s)
	}
	// torchvision's center_crop: Python's round is half to even.
	left := int(math.RoundToEven(float64(w-s) / 2))
	top := int(math.RoundToEven(float64(h-s) / 2))
	resample(dst, img, job{
		srcW: img.Width, srcH: img.Height,
		fullW: w, fullH: h, left: left, top: top, size: s, mirror: mirror,
	}, f)
	return nil
}

func (p Preprocess) ready(dst []uint8, img *Image) (filter, error) {
	f, err := p.filter()
	if err != nil {
		return f, err
	}
	if p.ImageSize < 1 {
		return f, p.Validate()
	}
	if len(dst) != p.Bytes() {
		return f, fmt.Errorf("preprocess: destination has %d bytes, image size %d needs %d", len(dst), p.ImageSize, p.Bytes())
	}
	return f, img.check()
}

// shortestSide gives the size after torchvision's resize(size): the shorter
// side is size, the longer one is truncated.
func shortestSide(w, h, size int) (int, int) {
	if w <= h {
		return size, int(float64(size*h) / float64(w))
	}
	return int(float64(size*w) / float64(h)), size
}

// Image is a decoded picture, rows first, 8 bits a channel. Pictures that are
// grey throughout are kept with one channel: a third of the memory and of the
// resampling work.
type Image struct {
	Width, Height int
	Channels      int // 1 (grey) or 3 (RGB)
	Pix           []uint8
}

// Bytes is the memory that the pixels take.
func (m *Image) Bytes() int { return len(m.Pix) }

// RGB gives [Height, Width, 3]. It shares memory with m if m has 3 channels.
func (m *Image) RGB() []uint8 {
	if m.Channels == 3 {
		return m.Pix
	}
	out := make([]uint8, 3*len(m.Pix))
	for i, v := range m.Pix {
		out[3*i], out[3*i+1], out[3*i+2] = v, v, v
	}
	return out
}

func (m *Image) check() error {
	if m == nil {
		return errors.New("preprocess: no image")
	}
	if m.Width < 1 || m.Height < 1 || m.Channels != 1 && m.Channels != 3 || len(m.Pix) != m.Width*m.Height*m.Channels {
		return fmt.Errorf("preprocess: malformed image: %d×%d×%d with %d bytes", m.Width, m.Height, m.Channels, len(m.Pix))
	}
	return nil
}

// compact drops the colour channels of a picture that has no colour.
func (m *Image) compact() *Image {
	if m.Channels != 3 {
		return m
	}
	if !colourless(m.Pix) {
		return m
	}
	p := m.Pix
	grey := make([]uint8, len(p)/3)
	for i := range grey {
		grey[i] = p[3*i]
	}
	return &Image{Width: m.Width, Height: m.Height, Channels: 1, Pix: grey}
}

// colourless tells whether the three bytes of each pixel are the same, eight
// pixels at a time: each byte is compared with the next, but a pixel's last.
func colourless(p []uint8) bool {
	word := binary.LittleEndian.Uint64
	i := 0
	for ; i+25 <= len(p); i += 24 {
		a := (word(p[i:]) ^ word(p[i+1:])) & 0xFFFF00FF_FF00FFFF
		b := (word(p[i+8:]) ^ word(p[i+9:])) & 0xFF00FFFF_00FFFF00
		c := (word(p[i+16:]) ^ word(p[i+17:])) & 0x00FFFF00_FFFF00FF
		if a|b|c != 0 {
			return false
		}
	}
	for ; i+2 < len(p); i += 3 {
		if p[i] != p[i+1] || p[i] != p[i+2] {
			return false
		}
	}
	return true
}
