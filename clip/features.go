package clip

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"arf/nn"
	"arf/text"
	"arf/torch"
)

// ErrNotFinite is wrapped by errors about features that are NaN or infinite.
var ErrNotFinite = errors.New("features are not finite; the model's weights are damaged, or its training diverged")

// ImageFeatures computes the features [n, EmbedDim] of n images, bytes as for
// Pixels, to the host and without gradient. precision is torch.BFloat16 or
// torch.Float32 (the zero value too). Batch normalisation uses its running
// statistics. It works in pieces, so that ctx ends it within about a second.
func (m *Model) ImageFeatures(ctx context.Context, rgb []uint8, n int, precision torch.DType) ([]float32, error) {
	if training := m.ResNet != nil && m.ResNet.BN1.Training; training {
		m.SetTraining(false)
		defer m.SetTraining(true)
	}
	size := m.Config.Vision.ImageSize
	bytes := size * size * 3
	if len(rgb) != n*bytes {
		return nil, fmt.Errorf("image features: %d bytes for %d images of %d×%d pixels, want %d", len(rgb), n, size, size, n*bytes)
	}
	return m.pieces(ctx, n, m.imagePiece(), precision, func(from, to int) *torch.Tensor {
		return m.EncodeImage(m.Pixels(rgb[from*bytes:to*bytes], to-from))
	})
}

// TextFeatures computes the features [len(texts), EmbedDim] of texts; otherwise
// as ImageFeatures.
func (m *Model) TextFeatures(ctx context.Context, texts []string, precision torch.DType) ([]float32, error) {
	return m.pieces(ctx, len(texts), m.textPiece(), precision, func(from, to int) *torch.Tensor {
		return m.EncodeText(m.Tokenize(texts[from:to]))
	})
}

// ClassFeatures computes one feature of length 1 for each class,
// [len(names), EmbedDim]: the normalised mean of the features of all its names
// in all templates, "{}" standing for the name (Radford et al. 2021, §3.1.4).
func (m *Model) ClassFeatures(ctx context.Context, names [][]string, templates []string, precision torch.DType) ([]float32, error) {
	var prompts []string
	for i, all := range names {
		if len(all) == 0 || len(templates) == 0 {
			return nil, fmt.Errorf("class features: class %d has %d names and %d templates; want at least one of each", i, len(all), len(templates))
		}
		for _, name := range all {
			for _, t := range templates {
				prompts = append(prompts, strings.ReplaceAll(t, "{}", name))
			}
		}
	}
	features, err := m.TextFeatures(ctx, prompts, precision)
	if err != nil {
		return nil, err
	}
	dim := m.Config.EmbedDim
	out := make([]float32, len(names)*dim)
	mean := make([]float64, dim)
	at := 0
	for i, all := range names {
		clear(mean)
		for range len(all) * len(templates) {
			for d := range mean {
				mean[d] += float64(features[at*dim+d])
			}
			at++
		}
		norm := 0.0
		for _, v := range mean {
			norm += v * v
		}
		if norm = math.Sqrt(norm); norm == 0 {
			return nil, fmt.Errorf("class features: the prompts of %q cancel out", all[0])
		}
		for d, v := range mean {
			out[i*dim+d] = float32(v / norm)
		}
	}
	return out, nil
}

// pieces runs encode over [0, n) and gathers its rows.
func (m *Model) pieces(ctx context.Context, n, piece int, precision torch.DType, encode func(from, to int) *torch.Tensor) (out []float32, err error) {
	defer torch.Catch(&err)
	if precision == 0 {
		precision = torch.Float32
	}
	out = make([]float32, 0, n*m.Config.EmbedDim)
	// Around all pieces, so that weights are cast once.
	torch.Autocast(m.Device(), precision, func() {
		for from := 0; from < n && err == nil; from += piece {
			if err = context.Cause(ctx); err != nil {
				return
			}
			torch.Scope(func() {
				torch.NoGrad(func() {
					f := encode(from, min(from+piece, n))
					if !f.AllFinite() {
						err = ErrNotFinite
						return
					}
					out = append(out, torch.To[float32](f)...)
				})
			})
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// pieceFLOPs is what a CPU of two cores does in about a second, after which it
// can be interrupted, and enough to keep many cores busy: 34 images of ViT-B/32.
const pieceFLOPs = 3e11

// imagePiece is how many images go through the tower at once. It depends on
// nothing but the model, so that results don't either.
func (m *Model) imagePiece() int {
	if m.Device().IsCUDA() {
		return 1024
	}
	v := m.Config.Vision
	if v.IsResNet() {
		// Each stage costs about the same; the last has a weight for each of
		// its positions.
		grid := float64(v.ImageSize) / 32
		return piece(8 * 2 * parameters(m.ResNet.Layer4) * grid * grid)
	}
	grid := v.ImageSize / v.PatchSize
	return piece(2 * parameters(m.ViT.Blocks) * float64(1+grid*grid))
}

func (m *Model) textPiece() int {
	if m.Device().IsCUDA() {
		return 4096
	}
	return piece(2 * parameters(m.Text.Blocks) * float64(m.Config.Text.ContextLength))
}

func piece(flops float64) int { return int(min(max(pieceFLOPs/flops, 1), 1024)) }

func parameters(part any) float64 {
	n := 0
	for _, p := range nn.Params(part) {
		n += torch.Elements(p.Tensor.Shape())
	}
	return float64(n)
}

// Hash identifies the weights, the architecture, the preprocessing and the
// cleaning of texts, which is the layout's: features of models with the same hash
// are the same, if their vocabularies are.
func (m *Model) Hash() (hash string, err error) {
	defer torch.Catch(&err)
	h := sha256.New()
	head, err := json.Marshal(struct{ Config, Preprocess any }{m.Config, m.Preprocess})
	if err != nil {
		return "", fmt.Errorf("hash of the model: %w", err)
	}
	h.Write(head)
	if text.Cleans(m.Tokenizer) { // so that the hashes of others stay
		h.Write([]byte("texts are cleaned"))
	}
	params := nn.Params(m)
	slices.SortFunc(params, func(a, b nn.Param) int { return strings.Compare(a.Name, b.Name) })
	for _, p := range params {
		var data []byte
		torch.Scope(func() { data = p.Tensor.Detach().Bytes() })
		h.Write([]byte(p.Name))
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(data))))
		h.Write(data)
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}
