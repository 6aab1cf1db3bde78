package eval

import (
	"context"
	"strings"

	"arf/clip"
	"arf/torch"
)

// classFeatures remembers the rows of zero-shot heads, as ImageNet's thousand
// classes in 80 templates serve half a dozen suites.
type classFeatures struct {
	model     *clip.Model
	precision torch.DType
	progress  func(done, total int)
	of        map[string][]float32 // by templates and names
}

// rows gives [len(classes), EmbedDim]; see ZeroShotHead.
func (f *classFeatures) rows(ctx context.Context, classes []Class, templates []string) ([]float32, error) {
	const between = "\x00"
	prefix := strings.Join(templates, between) + between + between
	key := func(c *Class) string { return prefix + strings.Join(c.prompts(), between) }
	var unknown []Class
	asked := map[string]bool{}
	for i := range classes {
		k := key(&classes[i])
		if f.of[k] == nil && !asked[k] {
			unknown, asked[k] = append(unknown, classes[i]), true
		}
	}
	dim := f.model.Config.EmbedDim
	// Pieces keep the memory down and the progress moving.
	const prompts = 4096
	piece := max(1, prompts/max(1, len(templates)))
	for from := 0; from < len(unknown); from += piece {
		part := unknown[from:min(from+piece, len(unknown))]
		h, err := ZeroShotHead(ctx, f.model, part, templates, f.precision)
		if err != nil {
			return nil, err
		}
		for i := range part {
			f.of[key(&part[i])] = h.Weight[i*dim : (i+1)*dim]
		}
		if f.progress != nil {
			f.progress(from+len(part), len(unknown))
		}
	}
	out := make([]float32, 0, len(classes)*dim)
	for i := range classes {
		out = append(out, f.of[key(&classes[i])]...)
	}
	return out, nil
}
