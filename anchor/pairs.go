package anchor

import (
	"errors"
	"fmt"
	"os"

	"arf/internal/parquetfile"
)

// Pair is one row of pairs.parquet: a pair of the pool that a finetune image
// retrieved. Rows are in the order of the finetune set, and of rank.
type Pair struct {
	QueryKey   string   `parquet:"query_key,dict"`
	QueryClass string   `parquet:"query_class,dict"`
	Rank       int64    `parquet:"rank"` // from 1
	PairKey    string   `parquet:"pair_key,dict"`
	Row        int64    `parquet:"row"` // the pair's number in the pool
	Text       string   `parquet:"text,dict"`
	Texts      []string `parquet:"texts,list"` // alternative wordings
	Score      float64  `parquet:"score"`      // cosine of query and pair, a weighted mean for mixed queries
	CLIPScore  float64  `parquet:"clip_score"` // cosine of the pair's own image and text
	Set        string   `parquet:"set,optional,dict"`
	License    string   `parquet:"license,optional,dict"`
	URL        string   `parquet:"url,optional"`
}

// WritePairs writes pairs.parquet atomically.
func WritePairs(path string, pairs []Pair) error { return parquetfile.Write(path, pairs) }

// ReadPairs reads pairs.parquet.
func ReadPairs(path string) ([]Pair, error) {
	pairs, err := parquetfile.Read[Pair](path, "query_key", "rank", "pair_key", "row", "text", "score")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%w; run arf retrieve again", err)
	}
	return pairs, err
}
