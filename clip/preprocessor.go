package clip

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"arf/imaging"
)

// preprocessor is preprocessor_config.json of a Hugging Face CLIPImageProcessor
// or SiglipImageProcessor.
type preprocessor struct {
	Type         string    `json:"image_processor_type"`
	Mean         []float32 `json:"image_mean"`
	Std          []float32 `json:"image_std"`
	Resample     int       `json:"resample"` // Pillow's number: 2 bilinear, 3 bicubic
	Size         *hfSize   `json:"size"`
	Crop         *hfSize   `json:"crop_size,omitempty"`
	DoResize     bool      `json:"do_resize"`
	DoCenterCrop bool      `json:"do_center_crop"`
	DoRescale    bool      `json:"do_rescale"`
	Factor       float64   `json:"rescale_factor,omitempty"` // 0: 1/255
	DoNormalize  bool      `json:"do_normalize"`
	DoConvertRGB bool      `json:"do_convert_rgb"`
}

// hfSize is the length that the shorter side gets, or the shape of the result,
// whatever the picture's own. Old files have the length alone.
type hfSize struct {
	ShortestEdge int `json:"shortest_edge,omitempty"`
	Height       int `json:"height,omitempty"`
	Width        int `json:"width,omitempty"`
}

func (s *hfSize) UnmarshalJSON(data []byte) error {
	if err := json.Unmarshal(data, &s.ShortestEdge); err == nil {
		return nil
	}
	type plain hfSize
	return json.Unmarshal(data, (*plain)(s))
}

// fits tells whether it makes the side n of the model's square input.
func (s *hfSize) fits(n int) bool {
	return *s == hfSize{ShortestEdge: n} || *s == hfSize{Height: n, Width: n}
}

// ReadPreprocessor reads the settings that differ between models; what the files
// leave out, or all if there are none, is p's. As in transformers 5,
// processor_config.json comes first, if it has image_processor in it.
func ReadPreprocessor(dir string, p imaging.Preprocess) (imaging.Preprocess, error) {
	for _, name := range []string{processorFile, preprocessorFile} {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return p, err
		}
		if name == processorFile {
			var file struct {
				Images json.RawMessage `json:"image_processor"`
			}
			if err := json.Unmarshal(data, &file); err != nil {
				return p, fmt.Errorf("%s: %w", path, err)
			}
			if data = file.Images; len(data) == 0 || string(data) == "null" {
				continue
			}
		}
		if p, err = parsePreprocessor(data, p); err != nil {
			return p, fmt.Errorf("%s: %w", path, err)
		}
		return p, nil
	}
	return p, nil
}

func parsePreprocessor(data []byte, p imaging.Preprocess) (imaging.Preprocess, error) {
	// What a file leaves out is on, as in transformers.
	file := preprocessor{Resample: 3, DoResize: true, DoCenterCrop: true, DoRescale: true, DoNormalize: true}
	if err := json.Unmarshal(data, &file); err != nil {
		return p, err
	}
	for _, f := range []struct {
		name string
		size *hfSize
	}{{"size", file.Size}, {"crop_size", file.Crop}} {
		if f.size != nil && !f.size.fits(p.ImageSize) {
			return p, fmt.Errorf("%s %+v is not supported; supported is the model's image_size, %d", f.name, *f.size, p.ImageSize)
		}
	}
	if file.Size != nil {
		if p.ResizeMode = imaging.Shortest; file.Size.ShortestEdge == 0 {
			p.ResizeMode = imaging.Squash
		}
	}
	for _, f := range []struct {
		name string
		off  bool
	}{
		{"do_resize", !file.DoResize}, {"do_rescale", !file.DoRescale}, {"do_normalize", !file.DoNormalize},
		{"do_center_crop", !file.DoCenterCrop && p.ResizeMode != imaging.Squash},
	} {
		if f.off {
			return p, fmt.Errorf("%s false is not supported; supported is true", f.name)
		}
	}
	if file.Factor != 0 && math.Abs(255*file.Factor-1) > 1e-3 {
		return p, fmt.Errorf("rescale_factor %g is not supported; supported is 1/255", file.Factor)
	}
	if err := setNormalization(&p, file.Mean, file.Std, "image_mean", "image_std"); err != nil {
		return p, err
	}
	switch file.Resample {
	case 2:
		p.Interpolation = imaging.Bilinear
	case 3:
		p.Interpolation = imaging.Bicubic
	default:
		return p, fmt.Errorf("resample %d is not supported; supported are 2 (bilinear) and 3 (bicubic)", file.Resample)
	}
	return p, p.Validate()
}

// setNormalization takes what a file gives, one number for each channel; what is
// missing stays. The keys are the file's, for errors.
func setNormalization(p *imaging.Preprocess, mean, std []float32, meanKey, stdKey string) error {
	for _, f := range []struct {
		key  string
		from []float32
		to   *[3]float32
	}{{meanKey, mean, &p.Mean}, {stdKey, std, &p.Std}} {
		switch len(f.from) {
		case 0:
		case 3:
			*f.to = [3]float32(f.from)
		default:
			return fmt.Errorf("%s has %d numbers, want 3, of R, G and B", f.key, len(f.from))
		}
	}
	return nil
}

func formatPreprocessor(p imaging.Preprocess, siglip bool) ([]byte, error) {
	file := preprocessor{
		Type: "CLIPImageProcessor", Mean: p.Mean[:], Std: p.Std[:], Resample: 3,
		Size: &hfSize{ShortestEdge: p.ImageSize}, Crop: &hfSize{Height: p.ImageSize, Width: p.ImageSize},
		DoResize: true, DoCenterCrop: true, DoRescale: true, DoNormalize: true, DoConvertRGB: true,
	}
	if siglip && p.ResizeMode == imaging.Squash {
		file.Type, file.Crop, file.DoCenterCrop = "SiglipImageProcessor", nil, false
	}
	if p.ResizeMode == imaging.Squash {
		file.Size = &hfSize{Height: p.ImageSize, Width: p.ImageSize}
	}
	if p.Interpolation == imaging.Bilinear {
		file.Resample = 2
	}
	return json.MarshalIndent(file, "", "  ")
}
