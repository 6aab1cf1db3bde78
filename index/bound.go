package index

import (
	"math"

	"arf/torch"
)

// bounds finds the rows of a block that may be better than what each query has,
// by one product in bfloat16. Rounding moves a product by less than the
// rounded-off parts are long: with x̂ the rounded x, δ = x − x̂, and y likewise,
//
//	x·y = x̂·ŷ + δx·y + x·δy − δx·δy ≤ x̂·ŷ + |δx|·(|y| + |δy|) + |x|·|δy|.
//
// So a row whose right side isn't above a query's k-th best score can't be
// among its best, and the others, a few, are scored in full. The right side less
// that score is itself a product, of [x̂ |δx| |x| 1 1] and [ŷ |y|+|δy| |δy| −c₁ −c₂],
// c₁+c₂ being the score: its sign says all, and rounding doesn't change it,
// since the device adds up in float32 and rounds once. What adding up loses is
// in |δx| and c (see losses).
type bounds struct {
	columns *torch.Tensor // bfloat16 [dim+4, rows, to a multiple of groupRows]
	rows    int
}

const (
	boundColumns = 4
	// groupRows are looked at together first: whole groups have no row to find.
	groupRows = 64
	// mostNominated is the share of a block's pairs of query and row up to which it's
	// quicker to score them one by one than to compute the block in float32.
	mostNominated = 1.0 / 64
	// loss bounds what a sum in float32 loses with each term, of the sum of the terms'
	// sizes: 2⁻²⁴ by rounding, 2⁻²³ by cutting off as GPUs do; the rest is
	// for scores, which the caller computes in another order.
	loss = 0x1p-22
)

// newBounds takes the rows of a block, float32 [rows, dim].
func newBounds(rows *torch.Tensor) *bounds {
	b := &bounds{rows: rows.Dim(0)}
	half, length, lost := halves(rows)
	lost = lost.Add(length.Scale(losses(rows)))
	ones := torch.Full(rows.Device(), 1, b.rows, 2).Cast(torch.BFloat16)
	all := torch.Cat(1, half, roundUp(lost), roundUp(length), ones)
	if fill := (groupRows - b.rows%groupRows) % groupRows; fill > 0 {
		// More of the last row, which are found when it is.
		all = torch.Cat(0, all, all.Narrow(0, b.rows-1, 1).Expand(fill, -1))
	}
	b.columns = all.Transpose(0, 1)
	return b
}

// losses is the share that a sum of a row's products may lose.
func losses(rows *torch.Tensor) float64 { return loss * float64(rows.Dim(1)+boundColumns) }

// halves rounds rows [n, dim], and gives the lengths of the rows and of what was
// rounded off, both float32 [n, 1].
func halves(rows *torch.Tensor) (half, length, lost *torch.Tensor) {
	half = rows.Cast(torch.BFloat16)
	return half, rows.Norm(1, true), rows.Sub(half.Cast(torch.Float32)).Norm(1, true)
}

// roundUp rounds lengths to bfloat16 that aren't less: the nearest is at most
// 2⁻⁸ away, the norm's own rounding is far below the other 2⁻⁸.
func roundUp(length *torch.Tensor) *torch.Tensor {
	return length.Scale(1 + 0x1p-7).Cast(torch.BFloat16)
}

// pair is a query and a row, by their places in their blocks.
type pair struct{ query, row int }

// above gives the pairs of which the score may be above the query's threshold, by
// query; all that are, and some more. It's false where those are so many
// that computing all scores is quicker. queries is float32 [len(thresholds), dim].
func (b *bounds) above(queries *torch.Tensor, thresholds []float32) (pairs []pair, few bool) {
	half, length, lost := halves(queries)
	limits := make([]float32, 0, 2*len(thresholds))
	for _, c := range thresholds {
		first, second := split(float64(c) - math.Abs(float64(c))*losses(queries))
		limits = append(limits, -first, -second)
	}
	product := torch.Cat(1, half, roundUp(length.Add(lost)), roundUp(lost),
		torch.From(queries.Device(), limits, len(thresholds), 2).Cast(torch.BFloat16)).MatMul(b.columns)
	// A group is every so-many-th row, whose greatest are quicker to find than
	// those of neighbours. "Not at most 0" lets NaN through.
	product = product.Reshape(len(thresholds), groupRows, -1)
	open := product.AMax(1).LeScalar(0).Not().NonZero() // query, group
	if open.Dim(0) == 0 {
		return nil, true
	}
	members := product.Transpose(1, 2).Index2(open.Select(1, 0), open.Select(1, 1)).LeScalar(0).Not()
	if members.Sum().Item() > mostNominated*float64(len(thresholds)*b.rows) {
		return nil, false
	}
	groups := product.Dim(2)
	at := torch.To[int64](open)
	found := torch.To[int64](members.NonZero())
	for i := 0; i < len(found); i += 2 {
		of := at[2*found[i]:]
		if row := int(found[i+1])*groups + int(of[1]); row < b.rows {
			pairs = append(pairs, pair{int(of[0]), row})
		}
	}
	return pairs, true
}

// split gives two numbers that bfloat16 has, whose sum is at most c, and above c − 2⁻¹³·|c|.
func split(c float64) (first, second float32) {
	first = floor(c)
	return first, floor(c - float64(first))
}

// floor is the greatest number up to x that bfloat16 has.
func floor(x float64) float32 {
	near := float32(x)
	if float64(near) > x {
		near = math.Nextafter32(near, float32(math.Inf(-1)))
	}
	bits := math.Float32bits(near)
	cut := bits &^ 0xffff // towards 0
	if near < 0 && cut != bits {
		cut += 1 << 16
	}
	return math.Float32frombits(cut)
}
