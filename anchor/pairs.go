package anchor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/renameio/v2"
	"github.com/parquet-go/parquet-go"
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
func WritePairs(path string, pairs []Pair) error {
	f, err := renameio.NewPendingFile(path, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer f.Cleanup()
	w := parquet.NewGenericWriter[Pair](f, parquet.Compression(&parquet.Zstd))
	if _, err = w.Write(pairs); err == nil {
		err = w.Close()
	}
	if err == nil {
		err = f.CloseAtomicallyReplace()
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// ReadPairs reads pairs.parquet.
func ReadPairs(path string) (pairs []Pair, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	defer func() { // the library panics on some broken pages
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
		if err != nil {
			pairs, err = nil, fmt.Errorf("%s: %w; run arf retrieve again", path, err)
		}
	}()
	f, err := parquet.OpenFile(file, info.Size())
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, column := range []string{"query_key", "rank", "pair_key", "row", "text", "score"} {
		if _, ok := f.Schema().Lookup(column); !ok {
			missing = append(missing, column)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("no column %s", strings.Join(missing, ", "))
	}
	r := parquet.NewGenericReader[Pair](f)
	defer r.Close()
	pairs = make([]Pair, f.NumRows())
	for n := 0; n < len(pairs); {
		m, err := r.Read(pairs[n:])
		if n += m; n < len(pairs) && (err != nil || m == 0) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return pairs, nil
}
