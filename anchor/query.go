package anchor

import (
	"context"
	"fmt"
	"strings"

	"arf/index"
)

// Query weighs what of a finetune image is compared with what of a pair; the
// score is the weighted mean of the cosines. The zero value is image with image.
type Query struct {
	Image       float64 `json:"image"`        // image with image
	ImageText   float64 `json:"image_text"`   // image with text
	ClassText   float64 `json:"class_text"`   // class prompt with text
	CaptionText float64 `json:"caption_text"` // captions with text
	// Random draws pairs in place of the nearest, a control; the score is the
	// weighted mean all the same.
	Random bool `json:"random,omitempty"`
}

// Queries are the named ones; "mix" is the mean of the first three.
var Queries = map[string]Query{
	"image":        {Image: 1},
	"image-text":   {ImageText: 1},
	"class-text":   {ClassText: 1},
	"caption-text": {CaptionText: 1},
	"mix":          {Image: 1, ImageText: 1, ClassText: 1},
	"random":       {Image: 1, Random: true},
}

// String is a named query's name, or says how a mix weighs: "mix of image 1 and class-text 0.5".
func (q Query) String() string {
	if q.Random {
		return "random"
	}
	var names, parts []string
	for _, part := range []struct {
		name   string
		weight float64
	}{{"image", q.Image}, {"image-text", q.ImageText}, {"class-text", q.ClassText}, {"caption-text", q.CaptionText}} {
		if part.weight != 0 {
			names, parts = append(names, part.name), append(parts, fmt.Sprintf("%s %g", part.name, part.weight))
		}
	}
	switch last := len(parts) - 1; last {
	case -1:
		return "image" // the zero value
	case 0:
		return names[0]
	default:
		return "mix of " + strings.Join(parts[:last], ", ") + " and " + parts[last]
	}
}

// ParseQuery finds a named query; "" is "image".
func ParseQuery(name string) (Query, error) {
	if name == "" {
		name = "image"
	}
	q, ok := Queries[name]
	if !ok {
		return q, fmt.Errorf("query %q is not known; known are image, image-text, class-text, caption-text, mix and random", name)
	}
	return q, nil
}

func (q Query) check() error {
	for _, w := range []float64{q.Image, q.ImageText, q.ClassText, q.CaptionText} {
		if !(w >= 0 && w <= 1e6) {
			return fmt.Errorf("query: weight %v must be between 0 and 1e6", w)
		}
	}
	return nil
}

// space is where queries and pairs are compared. A pair is the row
// [image | text | bias], a query [image part | text part | 1]: their product is
// the weighted mean of the cosines plus the pair's bias. Parts that no query
// uses are left out.
type space struct {
	image, text bool
	dim         int // of a feature
}

func (q Query) space(dim int) space {
	return space{image: q.Image > 0, text: q.ImageText+q.ClassText+q.CaptionText > 0, dim: dim}
}

func (s space) columns() int {
	n := 1
	if s.image {
		n += s.dim
	}
	if s.text {
		n += s.dim
	}
	return n
}

// candidates are the pool's rows in the space.
type candidates struct {
	space
	images, texts index.Vectors
	bias          []float32 // by row; nil is 0
}

func (c *candidates) Len() int { return c.images.Len() }
func (c *candidates) Dim() int { return c.columns() }

func (c *candidates) Read(dst []float32, from int) error {
	columns := c.columns()
	n := len(dst) / columns
	part := make([]float32, n*c.dim)
	at := 0
	for _, of := range []struct {
		used bool
		v    index.Vectors
	}{{c.image, c.images}, {c.text, c.texts}} {
		if !of.used {
			continue
		}
		if err := of.v.Read(part, from); err != nil {
			return err
		}
		for i := range n {
			copy(dst[i*columns+at:], part[i*c.dim:(i+1)*c.dim])
		}
		at += c.dim
	}
	for i := range n {
		dst[i*columns+at] = 0
		if c.bias != nil {
			dst[i*columns+at] = c.bias[from+i]
		}
	}
	return nil
}

// queryVectors makes the queries' rows. An image without captions has the other
// parts of its query only; without any part it asks nothing, and with[i] is false.
func queryVectors(ctx context.Context, in *PairInput, q Query, rows []index.Row, o PairOptions) (vectors index.Dense, with []bool, err error) {
	images, err := index.Load(in.Finetune.Images())
	if err != nil {
		return vectors, nil, err
	}
	s := q.space(images.Columns)
	classes, err := in.classFeatures(ctx, q, rows, o)
	if err != nil {
		return vectors, nil, err
	}
	captions, err := in.captionFeatures(ctx, q, rows, o)
	if err != nil {
		return vectors, nil, err
	}
	vectors = index.Dense{Columns: s.columns(), Data: make([]float32, len(rows)*s.columns())}
	with = make([]bool, len(rows))
	for i, r := range rows {
		row := vectors.Row(i)
		caption := captions[r.Key]
		total := q.Image + q.ImageText + q.ClassText
		if caption != nil {
			total += q.CaptionText
		}
		if total == 0 {
			continue
		}
		with[i] = true
		text := row
		if s.image {
			add(row, images.Row(i), q.Image/total)
			text = row[s.dim:]
		}
		if s.text {
			add(text, images.Row(i), q.ImageText/total)
			add(text, classes[r.Class], q.ClassText/total)
			add(text, caption, q.CaptionText/total)
		}
		row[len(row)-1] = 1
	}
	return vectors, with, nil
}

func add(to, from []float32, weight float64) {
	if weight == 0 {
		return
	}
	for i, v := range from {
		to[i] += float32(weight * float64(v))
	}
}

// classFeatures are the features of the class prompts, by class.
func (in *PairInput) classFeatures(ctx context.Context, q Query, rows []index.Row, o PairOptions) (map[string][]float32, error) {
	if q.ClassText == 0 {
		return nil, nil
	}
	var classes []string
	var names [][]string
	seen := map[string]bool{}
	for _, r := range rows {
		if seen[r.Class] {
			continue
		}
		seen[r.Class] = true
		if r.Class == "" {
			return nil, fmt.Errorf("finetune image %s has no class, which the query class-text needs", r.Key)
		}
		classes = append(classes, r.Class)
		names = append(names, []string{r.Class})
	}
	features, err := in.Model.ClassFeatures(ctx, names, in.Templates, o.Precision)
	if err != nil {
		return nil, err
	}
	dim := in.Model.Config.EmbedDim
	out := map[string][]float32{}
	for i, c := range classes {
		out[c] = features[i*dim : (i+1)*dim]
	}
	return out, nil
}

// captionFeatures are the normalised means of each image's captions' features, by key.
func (in *PairInput) captionFeatures(ctx context.Context, q Query, rows []index.Row, o PairOptions) (map[string][]float32, error) {
	if q.CaptionText == 0 {
		return nil, nil
	}
	var keys []string
	var captions [][]string
	for _, r := range rows {
		if own := in.Captions[r.Key]; len(own) > 0 {
			keys, captions = append(keys, r.Key), append(captions, own)
		}
	}
	// The captions of an image are averaged as the names of a class are.
	features, err := in.Model.ClassFeatures(ctx, captions, []string{"{}"}, o.Precision)
	if err != nil {
		return nil, fmt.Errorf("captions: %w", err)
	}
	dim := in.Model.Config.EmbedDim
	out := make(map[string][]float32, len(keys))
	for i, key := range keys {
		out[key] = features[i*dim : (i+1)*dim]
	}
	return out, nil
}
