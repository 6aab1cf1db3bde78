package imaging

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/png"
)

const pngSignature = "\x89PNG\r\n\x1a\n"

func decodePNG(encoded []byte, background string) (*Image, error) {
	head, err := png.DecodeConfig(bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	if err := checkSize(head.Width, head.Height); err != nil {
		return nil, err
	}
	// Deflate shrinks by 1032 at most. The decoder takes memory for all pixels
	// before it sees that they aren't there.
	if bits := pngBits(encoded) * head.Width * head.Height; bits/8/1032 > len(encoded) {
		return nil, fmt.Errorf("cut short: %d bytes can't hold %d×%d pixels", len(encoded), head.Width, head.Height)
	}
	decoded, err := png.Decode(bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	w, h := head.Width, head.Height
	img := &Image{Width: w, Height: h, Channels: 3}
	if m, ok := decoded.(*image.Gray); ok {
		img.Channels, img.Pix = 1, m.Pix[:w*h]
		return img, nil
	}
	img.Pix = make([]uint8, 3*w*h)
	switch m := decoded.(type) {
	case *image.Gray16:
		for i := range w * h {
			v := m.Pix[2*i]
			img.Pix[3*i], img.Pix[3*i+1], img.Pix[3*i+2] = v, v, v
		}
	case *image.RGBA: // opaque
		pack(img.Pix, m.Pix, 4, 1, "")
	case *image.NRGBA:
		pack(img.Pix, m.Pix, 4, 1, background)
	case *image.RGBA64: // opaque
		pack(img.Pix, m.Pix, 8, 2, "")
	case *image.NRGBA64:
		pack(img.Pix, m.Pix, 8, 2, background)
	case *image.Paletted:
		table := colours(m.Palette, background)
		for i, v := range m.Pix[:w*h] {
			copy(img.Pix[3*i:3*i+3], table[v][:])
		}
	default:
		return nil, fmt.Errorf("PNG with unknown colour model %T", decoded)
	}
	return img, nil
}

// pngBits is the bits of a pixel by the header, which has been checked.
func pngBits(encoded []byte) int {
	const depth, colourType = 24, 25
	channels := [7]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
	return int(encoded[depth]) * channels[encoded[colourType]%7]
}

// decodeGIF reads the first frame. libvips would take a file that is cut short
// for a whole one.
func decodeGIF(encoded []byte, background string) (*Image, error) {
	head, err := gif.DecodeConfig(bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	if err := checkSize(head.Width, head.Height); err != nil {
		return nil, err
	}
	decoded, err := gif.Decode(bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	m, ok := decoded.(*image.Paletted)
	if !ok {
		return nil, fmt.Errorf("GIF with unknown colour model %T", decoded)
	}
	// The frame may be smaller than the picture, whose rest is then black, or
	// what was asked for.
	img := &Image{Width: head.Width, Height: head.Height, Channels: 3, Pix: make([]uint8, 3*head.Width*head.Height)}
	if background == White {
		for i := range img.Pix {
			img.Pix[i] = 255
		}
	}
	table := colours(m.Palette, background)
	box := m.Rect.Intersect(image.Rect(0, 0, img.Width, img.Height))
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			copy(img.Pix[3*(y*img.Width+x):], table[m.ColorIndexAt(x, y)][:])
		}
	}
	return img, nil
}

// colours is a palette in RGB.
func colours(palette color.Palette, background string) (table [256][3]uint8) {
	for i, c := range palette {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		if background != "" {
			n.R, n.G, n.B = blend(n.R, n.A, background), blend(n.G, n.A, background), blend(n.B, n.A, background)
		}
		table[i] = [3]uint8{n.R, n.G, n.B}
	}
	return table
}

// pack copies the high bytes of pixels of RGB and alpha, each channel step
// bytes wide.
func pack(dst, src []uint8, pixel, step int, background string) {
	for i := range len(dst) / 3 {
		s, d := src[i*pixel:i*pixel+pixel], dst[3*i:3*i+3]
		d[0], d[1], d[2] = s[0], s[step], s[2*step]
		if a := s[3*step]; a != 255 && background != "" {
			d[0], d[1], d[2] = blend(d[0], a, background), blend(d[1], a, background), blend(d[2], a, background)
		}
	}
}

// EncodePNG writes [height, width, 3] pixels as a PNG.
func EncodePNG(pix []uint8, width, height int) ([]byte, error) {
	if err := checkSize(width, height); err != nil {
		return nil, fmt.Errorf("encode PNG: %w", err)
	}
	if len(pix) != width*height*3 {
		return nil, fmt.Errorf("encode PNG: %d×%d RGB needs %d bytes, got %d", width, height, width*height*3, len(pix))
	}
	m := image.NewNRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		m.Pix[4*i], m.Pix[4*i+1], m.Pix[4*i+2], m.Pix[4*i+3] = pix[3*i], pix[3*i+1], pix[3*i+2], 255
	}
	var out bytes.Buffer
	if err := png.Encode(&out, m); err != nil {
		return nil, fmt.Errorf("encode PNG: %w", err)
	}
	return out.Bytes(), nil
}
