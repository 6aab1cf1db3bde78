package anchor

import "strings"

// Composition says what a list of pairs consists of.
type Composition struct {
	Pairs         int     // with repetitions: one pair serves several images
	Distinct      int     // different pairs
	DistinctTexts int     // different texts, in lower case
	NamesClass    float64 // share of which a text names the query's class
	// Shares are those of the values that a property of the pool has, the
	// unknown under "".
	Shares map[string]float64
}

// Compose counts pairs. property gives a property of a row of the pool, such as
// its style; nil leaves Shares empty.
func Compose(pairs []Pair, property func(row int) string) Composition {
	c := Composition{Pairs: len(pairs), Shares: map[string]float64{}}
	rows, texts := map[int64]bool{}, map[string]bool{}
	k := 0
	for _, p := range pairs {
		rows[p.Row], texts[strings.ToLower(p.Text)] = true, true
		k = max(k, int(p.Rank))
		if property != nil {
			c.Shares[property(int(p.Row))] += 1 / float64(len(pairs))
		}
	}
	c.Distinct, c.DistinctTexts = len(rows), len(texts)
	c.NamesClass = namesClass(pairs, k)["@k"]
	return c
}
