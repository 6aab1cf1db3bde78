package pretrain

import (
	"arf/clip"
	"arf/nn"
	"arf/torch"
)

// newWordHead maps image embeddings to a logit for every token.
func newWordHead(m *clip.Model, d torch.Device) *nn.Linear {
	head := nn.NewLinear(m.Config.EmbedDim, m.Config.Text.VocabSize, true)
	nn.Move(head, d)
	return head
}

// wordLoss is the cross-entropy between softmax(head(embedding)) and the uniform
// distribution over a text's tokens, bos and eos left out, averaged over the
// batch: bag-of-words prediction (Joulin et al. 2016, "Learning Visual Features
// from Large Weakly Supervised Data", §3).
func wordLoss(head *nn.Linear, embedding *torch.Tensor, ids [][]int32) *torch.Tensor {
	d := embedding.Device()
	var rows, columns []int64
	var weights []float32
	for i, row := range ids {
		if len(row) <= 2 {
			continue
		}
		words := row[1 : len(row)-1]
		for _, id := range words {
			rows, columns = append(rows, int64(i)), append(columns, int64(id))
			weights = append(weights, -1/float32(len(words)*len(ids)))
		}
	}
	if len(rows) == 0 {
		return torch.Full(d, 0)
	}
	logs := head.Forward(embedding).LogSoftmax(-1)
	picked := logs.Index2(torch.From(d, rows, len(rows)), torch.From(d, columns, len(columns)))
	return picked.Mul(torch.From(d, weights, len(weights))).Sum()
}
