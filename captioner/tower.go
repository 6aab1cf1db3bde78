package captioner

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"arf/checkpoint"
	"arf/clip"
	"arf/imaging"
	"arf/nn"
	"arf/torch"
)

// Vision is what the image tower of a CLIP says about a batch of images.
type Vision struct {
	Tokens  *torch.Tensor // [B, tokens, tokenWidth]: the last map, before pooling
	Feature *torch.Tensor // [B, featureWidth]: CLIP's image feature, of length 1
}

// checkTower refuses the towers that a captioner can't look through.
func checkTower(c clip.Config) error {
	if c.SigLIP {
		return errors.New("a captioner for a SigLIP's image tower is not supported; supported are CLIP's towers (ViT and ModifiedResNet)")
	}
	return nil
}

// look runs the tower on pixels [B, 3, H, W], as clip.Model.Pixels makes them.
func look(m *clip.Model, pixels *torch.Tensor) Vision {
	if m.ResNet != nil {
		grid := m.ResNet.Features(pixels)
		return Vision{
			Tokens:  grid.Flatten(2, 3).Transpose(1, 2),
			Feature: m.ResNet.Pool.Forward(grid).Cast(torch.Float32).Normalize(),
		}
	}
	tokens := m.ViT.Tokens(pixels)
	return Vision{Tokens: tokens, Feature: m.VisualProjection.Forward(m.ViT.Pool(tokens)).Cast(torch.Float32).Normalize()}
}

// towerShape gives the sizes of Vision for a CLIP's tower.
func towerShape(c clip.Config) (tokens, tokenWidth, featureWidth int) {
	if c.Vision.IsResNet() {
		grid := c.Vision.ImageSize / 32
		return grid * grid, c.Vision.Width * 32, c.EmbedDim
	}
	grid := c.Vision.ImageSize / c.Vision.PatchSize
	return 1 + grid*grid, c.Vision.Width, c.EmbedDim
}

// TowerHash identifies a CLIP's image tower: the SHA-256 over its sizes, its
// preprocessing and its weights rounded to float16. So neither the file layout
// nor the precision of the file matter, nor does the text tower.
func TowerHash(m *clip.Model) (hash string, err error) {
	defer torch.Catch(&err)
	sum := sha256.New()
	v, p := m.Config.Vision, m.Preprocess
	// What isn't in the shapes of the weights.
	fmt.Fprintln(sum, v.ImageSize, v.Heads, p.Mean, p.Std,
		cmp.Or(p.Interpolation, imaging.Bicubic), cmp.Or(p.ResizeMode, imaging.Shortest), p.Background)
	if m.ViT != nil {
		fmt.Fprintln(sum, v.Activation, v.Eps)
	}
	if v.Pooling != "" { // so that the hashes of others stay
		fmt.Fprintln(sum, v.Pooling, v.NormAfterPool)
	}
	tower := struct {
		ViT        *clip.VisionTransformer `weight:"vision_model"`
		Projection *nn.Linear              `weight:"visual_projection"`
		ResNet     *clip.ModifiedResNet    `weight:"visual"`
	}{m.ViT, m.VisualProjection, m.ResNet}
	for _, w := range nn.Params(tower) {
		t := checkpoint.FromTorch(w.Tensor).Cast(torch.Float16)
		fmt.Fprintf(sum, "\n%s %v\n", w.Name, t.Shape)
		sum.Write(t.Data)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
