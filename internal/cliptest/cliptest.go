// Package cliptest makes small real models and pictures for tests.
package cliptest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"arf/clip"
	"arf/imaging"
	"arf/nn"
	"arf/text"
)

// Colors and Shapes are the words that pictures and captions are made of.
var (
	Colors = []string{"red", "green", "blue", "yellow", "purple"}
	Shapes = []string{"square", "disc", "cross", "bar", "ring"}
)

// Size is the side of Model's images in pixels.
const Size = 32

// Model is a CLIP of random weights with a vocabulary of these words.
func Model(tb testing.TB, seed int64) *clip.Model {
	tb.Helper()
	words := append([]string{"a photo of the and drawing picture: no."}, slices.Concat(Colors, Shapes)...)
	tokenizer, err := text.TrainWordPiece(slices.Values(words), 200, 1, 16)
	if err != nil {
		tb.Fatal(err)
	}
	m, err := clip.New(clip.Config{
		EmbedDim: 24,
		Vision:   clip.VisionConfig{ImageSize: Size, Width: 32, Heads: 2, Activation: nn.GELU, PatchSize: 8, Layers: 2, MLPWidth: 64, Eps: 1e-5},
		Text: clip.TextConfig{
			ContextLength: 16, VocabSize: tokenizer.VocabSize(), Width: 32, Layers: 2, Heads: 2, MLPWidth: 64,
			Activation: nn.GELU, Eps: 1e-5, EOS: int(tokenizer.EOS()), PadID: int(tokenizer.Pad()),
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	m.Init(seed)
	m.Tokenizer = tokenizer
	return m
}

// Picture draws a shape as PNG; the variant moves it and changes its shade a little.
func Picture(tb testing.TB, color, shape string, variant uint64) []byte {
	tb.Helper()
	rgb := map[string][3]int{
		"red": {200, 30, 30}, "green": {30, 160, 40}, "blue": {40, 60, 200}, "yellow": {220, 200, 20}, "purple": {130, 30, 150},
	}[color]
	rng := rand.New(rand.NewPCG(variant, 1))
	const side = Size + 8
	cx, cy, r := side/2+rng.IntN(5)-2, side/2+rng.IntN(5)-2, side/3+rng.IntN(3)
	shade := rng.IntN(30)
	pix := make([]uint8, side*side*3)
	for y := range side {
		for x := range side {
			dx, dy := x-cx, y-cy
			if dx < 0 {
				dx = -dx
			}
			if dy < 0 {
				dy = -dy
			}
			inside := false
			switch shape {
			case "square":
				inside = max(dx, dy) <= r
			case "disc":
				inside = dx*dx+dy*dy <= r*r
			case "cross":
				inside = min(dx, dy) <= r/4 && max(dx, dy) <= r
			case "bar":
				inside = dx <= r && dy <= r/3
			case "ring":
				inside = dx*dx+dy*dy <= r*r && dx*dx+dy*dy >= r*r/3
			default:
				tb.Fatalf("no shape %q", shape)
			}
			for c := range 3 {
				v := 255
				if inside {
					v = rgb[c] + shade
				}
				pix[(y*side+x)*3+c] = uint8(min(v, 255))
			}
		}
	}
	png, err := imaging.EncodePNG(pix, side, side)
	if err != nil {
		tb.Fatal(err)
	}
	return png
}

// Folder writes n pictures of each shape as an image folder with a folder for
// each shape; first is the first variant.
func Folder(tb testing.TB, dir string, shapes []string, n int, first uint64) {
	tb.Helper()
	for _, shape := range shapes {
		if err := os.MkdirAll(filepath.Join(dir, shape), 0o755); err != nil {
			tb.Fatal(err)
		}
		for i := range n {
			name := filepath.Join(dir, shape, fmt.Sprintf("%03d.png", i))
			if err := os.WriteFile(name, Picture(tb, Colors[i%len(Colors)], shape, first+uint64(i)), 0o644); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// Pairs writes n pictures with captions "a <color> <shape>" and pairs.csv
// beside, whose path it gives.
func Pairs(tb testing.TB, dir string, n int, first uint64) string {
	tb.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("filepath,title\n")
	for i := range n {
		color, shape := Colors[i%len(Colors)], Shapes[i/len(Colors)%len(Shapes)]
		name := fmt.Sprintf("%04d.png", i)
		if err := os.WriteFile(filepath.Join(dir, name), Picture(tb, color, shape, first+uint64(i)), 0o644); err != nil {
			tb.Fatal(err)
		}
		fmt.Fprintf(&table, "%s,a %s %s\n", name, color, shape)
	}
	path := filepath.Join(dir, "pairs.csv")
	if err := os.WriteFile(path, []byte(table.String()), 0o644); err != nil {
		tb.Fatal(err)
	}
	return path
}

// Change decodes a picture, changes each of its numbers, and encodes it again.
func Change(tb testing.TB, png []byte, to func(i int, v uint8) uint8) []byte {
	tb.Helper()
	pix, width, height, err := imaging.DecodeRGB(png)
	if err != nil {
		tb.Fatal(err)
	}
	changed := make([]uint8, len(pix))
	for i, v := range pix {
		changed[i] = to(i, v)
	}
	out, err := imaging.EncodePNG(changed, width, height)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}
