package anchor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"arf/dataset"
	"arf/index"
)

// Ready-made features are checked on so many rows, which must have at least this
// median cosine with features that are computed now. Other decoders and
// precisions cost about 0.01; another model's features have about 0.
const (
	rowsChecked  = 16
	leastOfModel = 0.95
)

// CheckFeatures tells whether a store's features are those that the encoder
// computes of a dataset's samples, row by row: of the same model, of length 1 and
// in the same order. It looks at a few rows.
func CheckFeatures(ctx context.Context, store *index.Store, data dataset.Dataset, encoder Encoder) error {
	const mend = "give features of this model, or the pool's images themselves, which are embedded then"
	switch {
	case store.Images() == nil || store.Texts() == nil:
		return fmt.Errorf("%s has features of images or of texts only; pairs need both, img_emb and text_emb", store.Dir)
	case store.Dim() != encoder.Dim():
		return fmt.Errorf("%s has features of %d numbers, the model's have %d; %s", store.Dir, store.Dim(), encoder.Dim(), mend)
	case store.Len() != data.Len():
		return fmt.Errorf("%s has %d rows of features and %d of metadata; embed again", store.Dir, store.Len(), data.Len())
	}
	var rows []int
	for i := range rowsChecked {
		if row := i * data.Len() / rowsChecked; !slices.Contains(rows, row) {
			rows = append(rows, row)
		}
	}
	some, err := dataset.Subset(data, rows)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "arf-check-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// In a folder of its own, beside which Embed puts its lock.
	now, err := index.Embed(ctx, filepath.Join(dir, "features"), some, encoder, index.EmbedOptions{Texts: true})
	if errors.Is(err, dataset.ErrAllBroken) {
		return fmt.Errorf("%s: none of %d images that its metadata name can be read: %w", store.Dir, len(rows), err)
	}
	if err != nil {
		return err
	}
	found, err := now.Rows()
	if err != nil {
		return err
	}
	for i, r := range found {
		rows[i] = rows[r.Number-1] // images that can't be read are left out
	}
	for _, of := range []struct {
		name       string
		then, made index.Vectors
	}{{"images", store.Images(), now.Images()}, {"texts", store.Texts(), now.Texts()}} {
		then, err := index.Pick(of.then, rows[:len(found)])
		if err != nil {
			return err
		}
		made, err := index.Load(of.made)
		if err != nil {
			return err
		}
		var cosines []float64
		for i := range found {
			length := dot(then.Row(i), then.Row(i))
			if length == 0 && of.name == "texts" {
				continue // without text
			}
			if length < 0.98 || length > 1.02 {
				return fmt.Errorf("%s: the features of %s have squared length %.3g in row %d, must be 1; normalise them", store.Dir, of.name, length, rows[i])
			}
			cosines = append(cosines, dot(then.Row(i), made.Row(i)))
		}
		if len(cosines) == 0 {
			continue
		}
		slices.Sort(cosines)
		if median := cosines[len(cosines)/2]; !(median >= leastOfModel) {
			return fmt.Errorf("%s: its features of %s are not this model's: computed now, those of %d rows have a median cosine of %.2f with them, should be above %.2f; %s", store.Dir, of.name, len(cosines), median, leastOfModel, mend)
		}
	}
	return nil
}
