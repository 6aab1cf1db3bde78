package imaging

import (
	"math/rand/v2"
	"testing"
)

// icon is a 64-pixel PNG as in the icon corpus: black shape on white.
func icon(b *testing.B) []byte {
	m := make([]uint8, 64*64*3)
	for y := range 64 {
		for x := range 64 {
			v := uint8(255)
			switch d := (x-32)*(x-32) + (y-32)*(y-32); {
			case d < 400:
				v = 0
			case d < 440:
				v = uint8((d - 400) * 6)
			}
			for c := range 3 {
				m[(y*64+x)*3+c] = v
			}
		}
	}
	encoded, err := EncodePNG(m, 64, 64)
	if err != nil {
		b.Fatal(err)
	}
	return encoded
}

func perSecond(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "images/s")
}

func BenchmarkEval(b *testing.B) {
	for _, c := range []struct {
		name string
		data []byte
		size int
	}{
		{"icon64", icon(b), 64},
		{"jpeg90to64", read(b, "420.jpg"), 64},
		{"png90to224", read(b, "rgb.png"), 224},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := CLIP(c.size)
			for b.Loop() {
				if _, err := p.Eval(c.data); err != nil {
					b.Fatal(err)
				}
			}
			perSecond(b)
		})
	}
}

var train = Augment{ScaleMin: 0.6, ScaleMax: 1, Flip: 0.5}

func BenchmarkTrain(b *testing.B) {
	data, p, rng := icon(b), CLIP(64), rand.New(rand.NewPCG(1, 1))
	for b.Loop() {
		if _, err := p.Train(data, train, rng); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b)
}

func BenchmarkTrainDecoded(b *testing.B) {
	for name, m := range map[string]*Image{
		"grey64": noise(64, 64, 1, 0), "rgb64": noise(64, 64, 3, 0), "rgb500x375": noise(500, 375, 3, 0),
	} {
		b.Run(name, func(b *testing.B) {
			p, rng := CLIP(64), rand.New(rand.NewPCG(1, 1))
			if m.Width > 64 {
				p = CLIP(224)
			}
			dst := make([]uint8, p.Bytes())
			b.ReportAllocs()
			for b.Loop() {
				if err := p.TrainInto(dst, m, train, rng); err != nil {
					b.Fatal(err)
				}
			}
			perSecond(b)
		})
	}
}
