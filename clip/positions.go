package clip

import (
	"fmt"

	"arf/checkpoint"
	"arf/torch"
)

const positionsName = "vision_model.embeddings.position_embedding.weight"

// resize fits a ViT to images of another size, in pixels a side, by
// interpolating its positional embeddings.
func (p *parts) resize(imageSize int) error {
	v := &p.config.Vision
	if imageSize == v.ImageSize {
		return nil
	}
	if v.IsResNet() {
		return fmt.Errorf("image size %d: a ModifiedResNet's positions are not interpolated (open_clip has no rule for it either); its image size is %d", imageSize, v.ImageSize)
	}
	if imageSize < v.PatchSize || imageSize > 1<<14 {
		return fmt.Errorf("image size %d: want %d, one patch, to %d pixels", imageSize, v.PatchSize, 1<<14)
	}
	from, to := v.ImageSize/v.PatchSize, imageSize/v.PatchSize
	if t, ok := p.tensors[positionsName]; ok && from != to {
		if len(t.Shape) != 2 || t.Shape[0] != v.classTokens()+from*from {
			return fmt.Errorf("tensor %s has shape %v, the architecture needs [%d %d]", positionsName, t.Shape, v.classTokens()+from*from, v.Width)
		}
		p.tensors[positionsName] = interpolate(t, v.classTokens(), from, to)
	}
	v.ImageSize, p.preprocess.ImageSize = imageSize, imageSize
	return nil
}

// interpolate resizes positions [class+from², width] to [class+to², width] in
// float32: the class token's stays, the grid is resized by the antialiased bicubic
// filter. The rule is open_clip's resize_pos_embed (model.py), whose defaults
// are bicubic and antialias=True; transformers' interpolate_pos_encoding doesn't
// antialias and gives other numbers.
func interpolate(t checkpoint.Tensor, class, from, to int) checkpoint.Tensor {
	var out checkpoint.Tensor
	torch.Scope(func() {
		torch.NoGrad(func() {
			x := t.ToTorch(torch.CPU).Cast(torch.Float32)
			width := x.Dim(1)
			grid := x.Narrow(0, class, from*from).Reshape(1, from, from, width).Permute(0, 3, 1, 2)
			grid = torch.ResizeBicubic(grid, to, to).Permute(0, 2, 3, 1).Reshape(to*to, width)
			out = checkpoint.FromTorch(torch.Cat(0, x.Narrow(0, 0, class), grid).Contiguous())
		})
	})
	return out
}
