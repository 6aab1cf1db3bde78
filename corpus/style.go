package corpus

import "regexp"

// Style is what a drawing looks like, read from its pixels or known of its set.
type Style string

// Styles. StylePixelHand is pixel art and hand drawing.
const (
	StyleSolid     Style = "solid"
	StyleLine      Style = "line"
	StyleDuotone   Style = "duotone"
	StyleColor     Style = "color"
	StyleEmoji     Style = "emoji"
	StylePixelHand Style = "pixel-hand"
	StyleUnclear   Style = "unclear" // between solid and line
)

// Size is the side of a drawn icon in pixels.
const Size = 64

// look are the measures that tell styles apart. All are shares in [0,1].
type look struct {
	Ink       float32 // mean darkness of the picture, 1 = black
	Colorful  float32 // of the inked pixels, those with chroma above 0.15
	MidGrey   float32 // of the inked area, flat areas of middle grey (not the edges' antialiasing)
	Surviving float32 // of the inked area, what a 7×7 erosion leaves: 0 for lines, large for solids
}

// measure looks at Size×Size RGB pixels.
func measure(rgb []byte) look {
	const n = Size * Size
	var ink [n]float32
	var total, inked, colorful float32
	for i := range n {
		r, g, b := int(rgb[3*i]), int(rgb[3*i+1]), int(rgb[3*i+2])
		ink[i] = 1 - (0.299*float32(r)+0.587*float32(g)+0.114*float32(b))/255
		total += ink[i]
		chroma := max(r, g, b) - min(r, g, b)
		if ink[i] > 0.06 || chroma > 38 {
			inked++
			if chroma > 38 {
				colorful++
			}
		}
	}
	l := look{Ink: total / n}
	if inked == 0 {
		return l
	}
	l.Colorful = colorful / inked
	var low, high, dark [n]float32 // least and most ink of the pixel and its two neighbours in the row; least of seven
	for y := range Size {
		for x := range Size {
			i := y*Size + x
			if x >= 1 && x < Size-1 {
				low[i] = min(ink[i-1], ink[i], ink[i+1])
				high[i] = max(ink[i-1], ink[i], ink[i+1])
			}
			if x >= 3 && x < Size-3 {
				dark[i] = min(ink[i-3], ink[i-2], ink[i-1], ink[i], ink[i+1], ink[i+2], ink[i+3])
			}
		}
	}
	var flat, survived float32
	for y := 1; y < Size-1; y++ {
		for x := 1; x < Size-1; x++ {
			i := y*Size + x
			c := ink[i]
			if c > 0.08 && c < 0.85 && min(low[i-Size], low[i], low[i+Size]) > c-0.06 && max(high[i-Size], high[i], high[i+Size]) < c+0.06 {
				flat++
			}
			if c > 0.5 && y >= 3 && y < Size-3 && min(dark[i-3*Size], dark[i-2*Size], dark[i-Size], dark[i], dark[i+Size], dark[i+2*Size], dark[i+3*Size]) > 0.4 {
				survived++
			}
		}
	}
	l.MidGrey = flat / inked
	l.Surviving = survived / inked
	return l
}

// style names the style of an icon; set is the style of its whole set, if known.
func (l look) style(set Style) Style {
	switch {
	case set != "":
		return set
	case l.Colorful > 0.08:
		return StyleColor
	case l.MidGrey > 0.06:
		return StyleDuotone
	case l.Surviving > 0.12:
		return StyleSolid
	case l.Surviving < 0.04:
		return StyleLine
	}
	return StyleUnclear
}

// testStyle is style with less patience, for images that stand for a style: pixels, name and set must
// agree. palette says that the set is drawn in colours, declared what the icon's name claims.
func (l look) testStyle(set Style, palette bool, declared Style) Style {
	s := l.style(set)
	switch {
	case set != "":
	case s != StyleColor && (palette || l.Colorful > 0.01):
		return StyleUnclear
	case declared == StyleDuotone && s != StyleDuotone && s != StyleColor:
		return StyleUnclear
	}
	return s
}

var duotoneName = regexp.MustCompile(`(^|-)(duotone|two-?tone|duo|duo-tone)(-|$)`)

// declaredStyle is the style that an icon's name claims, if it's one that pixels can miss.
func declaredStyle(icon string) Style {
	if duotoneName.MatchString(icon) {
		return StyleDuotone
	}
	return ""
}

// blank reports pictures with next to nothing on them, or nothing but ink.
func (l look) blank() bool { return l.Ink < 0.006 && l.Colorful < 0.01 || l.Ink > 0.97 }
