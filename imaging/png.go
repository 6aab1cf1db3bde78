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
	release, err := reserve(head.Width, head.Height)
	if err != nil {
		return nil, err
	}
	defer release()
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
	release, err := reserve(head.Width, head.Height)
	if err != nil {
		return nil, err
	}
	defer release()
	decoded, err := gif.Decode(bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	m, ok := decoded.(*image.Paletted)
	if !ok {
		return nil, fmt.Errorf("GIF with unknown colour model %T", decoded)
	}
	table := colours(m.Palette, background)
	fill := table[0]
	if at, c, ok := gifTransparent(encoded); ok {
		if background == "" {
			table[at] = c // the decoder has emptied it
		}
		fill = table[at]
	}
	// The frame may be smaller than the picture, whose rest is then transparent,
	// or without that of the first colour, as in Pillow.
	img := &Image{Width: head.Width, Height: head.Height, Channels: 3, Pix: make([]uint8, 3*head.Width*head.Height)}
	box := m.Rect.Intersect(image.Rect(0, 0, img.Width, img.Height))
	if box.Dx() < img.Width || box.Dy() < img.Height {
		for i := 0; i < len(img.Pix); i += 3 {
			copy(img.Pix[i:i+3], fill[:])
		}
	}
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			copy(img.Pix[3*(y*img.Width+x):], table[m.ColorIndexAt(x, y)][:])
		}
	}
	return img, nil
}

// gifTransparent gives the index and the colour of the first frame's transparent
// pixels (GIF89a, sections 18 to 23). The file has been decoded already.
func gifTransparent(encoded []byte) (index uint8, colour [3]uint8, ok bool) {
	table := func(at int, flags byte) []byte { // of colours, if the flags say that there's one
		if flags&0x80 == 0 || at > len(encoded) {
			return nil
		}
		return encoded[at:min(len(encoded), at+3<<(flags&7+1))]
	}
	const header = 13
	if len(encoded) < header {
		return 0, colour, false
	}
	colours := table(header, encoded[10])
	for at := header + len(colours); at+10 <= len(encoded); {
		switch encoded[at] {
		case 0x21: // an extension
			if encoded[at+1] == 0xF9 && encoded[at+2] == 4 {
				ok, index = encoded[at+3]&1 != 0, encoded[at+6]
			}
			for at += 2; at < len(encoded) && encoded[at] != 0; {
				at += 1 + int(encoded[at])
			}
			at++
		case 0x2C: // the frame
			if local := table(at+10, encoded[at+9]); local != nil {
				colours = local
			}
			if i := 3 * int(index); ok && i+3 <= len(colours) {
				return index, [3]uint8(colours[i : i+3]), true
			}
			return 0, colour, false
		default:
			return 0, colour, false
		}
	}
	return 0, colour, false
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
