package captioner

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"

	"arf/imaging"

	xdraw "golang.org/x/image/draw"
)

// shrink decodes a picture of any format, transparent parts on white, makes its
// longer side at most size pixels, and gives it as a JPEG.
func shrink(encoded []byte, size int) ([]byte, error) {
	m, err := imaging.Preprocess{Background: imaging.White}.Decode(encoded)
	if err != nil {
		return nil, err
	}
	rgb := m.RGB()
	source := image.NewRGBA(image.Rect(0, 0, m.Width, m.Height))
	for i := range m.Width * m.Height {
		copy(source.Pix[4*i:], rgb[3*i:3*i+3])
		source.Pix[4*i+3] = 255
	}
	out := source
	if longer := max(m.Width, m.Height); longer > size {
		w, h := max(1, m.Width*size/longer), max(1, m.Height*size/longer)
		out = image.NewRGBA(image.Rect(0, 0, w, h))
		xdraw.CatmullRom.Scale(out, out.Bounds(), source, source.Bounds(), xdraw.Src, nil)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, out, &jpeg.Options{Quality: 90}); err != nil {
		return nil, fmt.Errorf("encode JPEG: %w", err)
	}
	return b.Bytes(), nil
}
