package report

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	_ "image/gif" // decoders of what data sets hold
	"image/jpeg"
	"image/png"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp"
)

// Pictures up to these limits are embedded as they are.
const (
	thumbSide  = 192      // pixels, twice the size on the page
	thumbBytes = 16 << 10 // encoded
	// A header that claims more pixels than this isn't decoded.
	mostPixels = 100 << 20
)

// dataURI makes an encoded picture into a URI that a page can show, scaled down
// when it is larger than the page needs.
func dataURI(encoded []byte) (string, error) {
	config, format, err := image.DecodeConfig(bytes.NewReader(encoded))
	if err != nil {
		return "", fmt.Errorf("decode picture: %w", err)
	}
	if max(config.Width, config.Height) <= thumbSide && len(encoded) <= thumbBytes {
		return uri(format, encoded), nil
	}
	if config.Width*config.Height > mostPixels {
		return "", fmt.Errorf("decode picture: %d×%d pixels are too many", config.Width, config.Height)
	}
	src, _, err := image.Decode(bytes.NewReader(encoded))
	if err != nil {
		return "", fmt.Errorf("decode picture: %w", err)
	}
	size := src.Bounds().Size()
	scale := min(1, float64(thumbSide)/float64(max(size.X, size.Y)))
	dst := image.NewRGBA(image.Rect(0, 0, max(1, int(float64(size.X)*scale)), max(1, int(float64(size.Y)*scale))))
	draw.Draw(dst, dst.Bounds(), image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.CatmullRom.Scale(dst, dst.Bounds(), src, src.Bounds(), draw.Over, nil)
	var out bytes.Buffer
	if format == "jpeg" || format == "webp" {
		err = jpeg.Encode(&out, dst, &jpeg.Options{Quality: 82})
		format = "jpeg"
	} else {
		err = png.Encode(&out, dst)
		format = "png"
	}
	return uri(format, out.Bytes()), err
}

func uri(format string, data []byte) string {
	return "data:image/" + format + ";base64," + base64.StdEncoding.EncodeToString(data)
}
