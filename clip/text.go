package clip

import (
	"fmt"

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
// [B, width], or the head's [B, embedDim]. Rows of a causal tower are padded to the longest only: what
// follows the end-of-text token can't change its feature.
func (t *TextTransformer) Forward(ids [][]int32) *torch.Tensor {
	d := t.FinalNorm.Weight.Device()
	tokens, ends, length := t.pad(ids)
	x := t.Embeddings.Token.Forward(torch.From(d, tokens, len(ids), length)).
		Add(t.Embeddings.Position.Weight.Narrow(0, 0, length))
	var mask *torch.Tensor
	if !t.config.NonCausal {
		mask = nn.CausalMask(d, length)
	}
	for _, block := range t.Blocks {
		x = block.Forward(x, mask)
	}
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
