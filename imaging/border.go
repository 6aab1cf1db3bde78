package imaging

import "fmt"

// WithoutBorder cuts n pixels off each side, as ObjectNet's images need, whose
// outermost pixels are red (Barbu et al. 2019; WiSE-FT cuts 2). The image must
// be larger than that.
func (m *Image) WithoutBorder(n int) (*Image, error) {
	if n == 0 {
		return m, nil
	}
	width, height := m.Width-2*n, m.Height-2*n
	if n < 0 || width < 1 || height < 1 {
		return nil, fmt.Errorf("border of %d pixels: the image has %d×%d", n, m.Width, m.Height)
	}
	out := &Image{Width: width, Height: height, Channels: m.Channels, Pix: make([]uint8, width*height*m.Channels)}
	row, from := width*m.Channels, m.Width*m.Channels
	for y := range height {
		copy(out.Pix[y*row:(y+1)*row], m.Pix[(y+n)*from+n*m.Channels:])
	}
	return out, nil
}
