package imaging

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Augment is what happens to training pictures. The zero value is evaluation's
// resize and centre crop.
type Augment struct {
	// ScaleMin and ScaleMax bound the crop's share of the picture's area
	// (RandomResizedCrop); both 0 means no random crop. CLIP uses 0.9 to 1.
	ScaleMin, ScaleMax float64
	// RatioMin and RatioMax bound the crop's width:height; both 0 means
	// torchvision's 3/4 to 4/3.
	RatioMin, RatioMax float64
	// Flip is the probability that left and right are swapped.
	Flip float64
}

// Validate names the first field that can't be used.
func (a Augment) Validate() error {
	if a.ScaleMin != 0 || a.ScaleMax != 0 {
		if !(0 < a.ScaleMin && a.ScaleMin <= a.ScaleMax && a.ScaleMax <= 1) {
			return fmt.Errorf("augment: scale %g to %g: must be 0 < min ≤ max ≤ 1 (shares of the area)", a.ScaleMin, a.ScaleMax)
		}
	}
	if a.RatioMin != 0 || a.RatioMax != 0 {
		if !(0 < a.RatioMin && a.RatioMin <= a.RatioMax && a.RatioMax <= 100) {
			return fmt.Errorf("augment: ratio %g to %g: must be 0 < min ≤ max ≤ 100 (width:height)", a.RatioMin, a.RatioMax)
		}
	}
	if !(0 <= a.Flip && a.Flip <= 1) {
		return fmt.Errorf("augment: flip %g: must be a probability, 0 to 1", a.Flip)
	}
	return nil
}

// Train decodes and augments. The result has Eval's shape; the same rng state
// gives the same pixels.
func (p Preprocess) Train(encoded []byte, a Augment, rng *rand.Rand) ([]uint8, error) {
	img, err := p.Decode(encoded)
	if err != nil {
		return nil, err
	}
	dst := make([]uint8, p.Bytes())
	if err := p.TrainInto(dst, img, a, rng); err != nil {
		return nil, err
	}
	return dst, nil
}

// TrainInto is Train of an already decoded picture into dst, whose length must
// be [Preprocess.Bytes].
func (p Preprocess) TrainInto(dst []uint8, img *Image, a Augment, rng *rand.Rand) error {
	if err := a.Validate(); err != nil {
		return err
	}
	if a == (Augment{}) {
		return p.EvalInto(dst, img)
	}
	if a.ScaleMax == 0 {
		return p.evalInto(dst, img, rng.Float64() < a.Flip)
	}
	f, err := p.ready(dst, img)
	if err != nil {
		return err
	}
	x, y, w, h := a.crop(img.Width, img.Height, rng)
	resample(dst, img, job{
		x: x, y: y, srcW: w, srcH: h,
		fullW: p.ImageSize, fullH: p.ImageSize, size: p.ImageSize,
		mirror: a.Flip > 0 && rng.Float64() < a.Flip,
	}, f)
	return nil
}

// crop draws a box as torchvision's RandomResizedCrop.get_params does: ten
// tries, then the largest centred box within the ratios.
func (a Augment) crop(width, height int, rng *rand.Rand) (x, y, w, h int) {
	ratioMin, ratioMax := a.RatioMin, a.RatioMax
	if ratioMax == 0 {
		ratioMin, ratioMax = 3.0/4, 4.0/3
	}
	area := float64(width) * float64(height)
	logMin, logMax := math.Log(ratioMin), math.Log(ratioMax)
	for range 10 {
		target := area * uniform(rng, a.ScaleMin, a.ScaleMax)
		aspect := math.Exp(uniform(rng, logMin, logMax))
		w = int(math.RoundToEven(math.Sqrt(target * aspect)))
		h = int(math.RoundToEven(math.Sqrt(target / aspect)))
		if 0 < w && w <= width && 0 < h && h <= height {
			return rng.IntN(width - w + 1), rng.IntN(height - h + 1), w, h
		}
	}
	w, h = width, height
	switch ratio := float64(width) / float64(height); {
	case ratio < ratioMin:
		h = min(int(math.RoundToEven(float64(w)/ratioMin)), height)
	case ratio > ratioMax:
		w = min(int(math.RoundToEven(float64(h)*ratioMax)), width)
	}
	// A picture of one pixel's height would otherwise round to nothing.
	w, h = max(w, 1), max(h, 1)
	return (width - w) / 2, (height - h) / 2, w, h
}

func uniform(rng *rand.Rand, lo, hi float64) float64 {
	return lo + (hi-lo)*rng.Float64()
}
