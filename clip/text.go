package clip

import (
	"fmt"
	"math/bits"
	"slices"

	"arf/nn"
	"arf/torch"
)

// TextTransformer is CLIP's text tower: causal, its feature taken at the end-of-text token.
type TextTransformer struct {
	Embeddings *TextEmbeddings `weight:"embeddings"`
	Blocks     []*nn.Block     `weight:"encoder.layers"`
	FinalNorm  *nn.LayerNorm   `weight:"final_layer_norm"`
	Head       *nn.Linear      `weight:"head"` // SigLIP's; CLIP's is TextProjection
	config     TextConfig

	checkpoints *nn.Checkpoints
}

// TextEmbeddings adds token and position vectors.
type TextEmbeddings struct {
	Token    *nn.Embedding `weight:"token_embedding"`    // [vocabulary, width]
	Position *nn.Embedding `weight:"position_embedding"` // [contextLength, width]
}

func newTextTransformer(c TextConfig) *TextTransformer {
	t := &TextTransformer{
		Embeddings: &TextEmbeddings{Token: nn.NewEmbedding(c.VocabSize, c.Width), Position: nn.NewEmbedding(c.ContextLength, c.Width)},
		FinalNorm:  nn.NewLayerNorm(c.Width, c.Eps),
		config:     c,
	}
	for range c.Layers {
		t.Blocks = append(t.Blocks, newBlock(c.Width, c.MLPWidth, c.Heads, c.Activation, c.Eps, c.LayerScale))
	}
	return t
}

// Forward maps token ids, rows of any length up to the context, to features
// [B, width], or the head's [B, embedDim]. What follows the end-of-text token
// can't change its feature in a causal tower; its rows go through in groups of
// like length, each padded to its longest only.
func (t *TextTransformer) Forward(ids [][]int32) *torch.Tensor {
	var groups [][]int
	if t.config.NonCausal || t.config.LastPooling {
		groups = [][]int{rowNumbers(len(ids))}
	} else {
		groups = byLength(ids)
	}
	if len(groups) == 1 && rounded(len(ids)) == len(ids) {
		return t.forward(ids)
	}
	var parts []*torch.Tensor
	back := make([]int64, len(ids)) // row of the joined parts that each text became
	n := int64(0)
	for _, group := range groups {
		rows := make([][]int32, rounded(len(group)))
		for i := range rows {
			rows[i] = ids[group[min(i, len(group)-1)]]
		}
		for i, row := range group {
			back[row] = n + int64(i)
		}
		n += int64(len(rows))
		parts = append(parts, t.forward(rows))
	}
	joined := torch.Cat(0, parts...)
	return joined.IndexSelect(0, torch.From(joined.Device(), back, len(back)))
}

// rounded is a number of rows, n or up to an eighth more, that comes again from step to step: libtorch
// compiles kernels for each shape that it meets. The rows that this adds are left out of the result.
func rounded(n int) int {
	step := 1 << max(0, bits.Len(uint(n-1))-4)
	return (n + step - 1) / step * step
}

// smallestGroup is how many texts are worth a pass of their own.
const smallestGroup = 32

// byLength groups rows whose lengths lie between the same powers of two, short
// ones first; those of a small group join the next longer one.
func byLength(ids [][]int32) [][]int {
	order := rowNumbers(len(ids))
	class := func(row int) int { return bits.Len(uint(max(len(ids[row])-1, 7))) } // ≤ 8, ≤ 16, ≤ 32 …
	slices.SortStableFunc(order, func(a, b int) int { return class(a) - class(b) })
	var groups [][]int
	start := 0
	for i := range order {
		if i+1 < len(order) && (class(order[i+1]) == class(order[i]) || i+1-start < smallestGroup) {
			continue
		}
		groups = append(groups, order[start:i+1])
		start = i + 1
	}
	return groups
}

func rowNumbers(n int) []int {
	rows := make([]int, n)
	for i := range rows {
		rows[i] = i
	}
	return rows
}

func (t *TextTransformer) forward(ids [][]int32) *torch.Tensor {
	d := t.FinalNorm.Weight.Device()
	tokens, ends, length := t.pad(ids)
	x := t.Embeddings.Token.Forward(torch.From(d, tokens, len(ids), length)).
		Add(t.Embeddings.Position.Weight.Narrow(0, 0, length))
	var mask *torch.Tensor
	if !t.config.NonCausal {
		mask = nn.CausalMask(d, length)
	}
	x = nn.Chain(t.checkpoints, x, t.Blocks, func(b *nn.Block, x *torch.Tensor) *torch.Tensor { return b.Forward(x, mask) })
	rows := torch.Arange(d, len(ids))
	x = t.FinalNorm.Forward(x.Index2(rows, torch.From(d, ends, len(ends))))
	if t.Head != nil {
		x = t.Head.Forward(x)
	}
	return x
}

// pad lays rows out as one matrix and finds where each row's feature is taken.
func (t *TextTransformer) pad(ids [][]int32) (tokens, ends []int64, length int) {
	for i, row := range ids {
		if len(row) == 0 || len(row) > t.config.ContextLength {
			panic(&torch.Error{Op: "text", Message: fmt.Sprintf("text %d has %d tokens, the context takes 1 to %d", i, len(row), t.config.ContextLength)})
		}
		length = max(length, len(row))
	}
	if t.config.NonCausal || t.config.LastPooling {
		length = t.config.ContextLength
	}
	padding := int64(0) // any token where it isn't seen: configs may name one that the vocabulary lacks
	if t.config.seesPadding() {
		padding = int64(t.config.PadID)
	}
	tokens, ends = make([]int64, len(ids)*length), make([]int64, len(ids))
	for i, row := range ids {
		out := tokens[i*length : (i+1)*length]
		for j := range out {
			out[j] = padding
		}
		end, greatest := -1, int32(-1)
		for j, id := range row {
			if t.config.StripEOS && j == len(row)-1 {
				continue // Encode's rows end in it
			}
			out[j] = int64(id)
			if t.config.ArgmaxPooling && id > greatest {
				end, greatest = j, id
			}
			if !t.config.ArgmaxPooling && int(id) == t.config.EOS && end < 0 {
				end = j
			}
		}
		if t.config.LastPooling {
			end = length - 1
		}
		ends[i] = int64(max(end, 0)) // the reference's argmax of all-false is 0 too
	}
	return tokens, ends, length
}
