package imaging

import (
	"slices"
	"testing"
)

func TestWithoutBorder(t *testing.T) {
	for _, channels := range []int{1, 3} {
		const width, height = 7, 6
		m := &Image{Width: width, Height: height, Channels: channels}
		var want []uint8
		for y := range height {
			for x := range width {
				for c := range channels {
					v := uint8((y*width+x)*channels + c)
					m.Pix = append(m.Pix, v)
					if x >= 2 && x < width-2 && y >= 2 && y < height-2 {
						want = append(want, v)
					}
				}
			}
		}
		got, err := m.WithoutBorder(2)
		if err != nil {
			t.Fatal(err)
		}
		if got.Width != 3 || got.Height != 2 || !slices.Equal(got.Pix, want) {
			t.Errorf("%d channels: %+v, want %v", channels, got, want)
		}
		if same, err := m.WithoutBorder(0); err != nil || same != m {
			t.Error("a border of 0 makes another image")
		}
		for _, n := range []int{-1, 3, 1 << 62} {
			if _, err := m.WithoutBorder(n); err == nil {
				t.Errorf("border %d of a %d×%d image", n, width, height)
			}
		}
	}
}
