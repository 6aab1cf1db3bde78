package dataset

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// embeddings is the samples of a folder of features in clip-retrieval's layout:
// sample i is row i of the features. Texts and what else is known are in
// metadata/metadata_<n>.parquet, images where image_path says.
type embeddings struct {
	dir  string
	rows *parquetSet
	root string // of paths
	// images is the source whose keys the paths are; nil where they are files.
	images Dataset
	number func() map[string]int // of keys in images
}

// EmbeddingsOf is the folder of features that a dataset lists, "" for others. Its
// samples are the features' rows, in their order.
func EmbeddingsOf(d Dataset) string {
	if e, ok := d.(*embeddings); ok {
		return e.dir
	}
	return ""
}

func openEmbeddings(ctx context.Context, source Source) (Dataset, error) {
	paths, err := metadataFiles(source.Path)
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, errors.New("no metadata/metadata_0.parquet in it; give a folder as arf embed and clip-retrieval write them")
	}
	e := &embeddings{dir: source.Path, root: source.Root}
	columns := Source{ImageColumn: source.ImageColumn, TextColumn: source.TextColumn}
	if columns.ImageColumn == "" {
		columns.ImageColumn = "image_path"
	}
	if e.rows, err = openParquetFiles(columns, paths); err != nil {
		return nil, err
	}
	// What arf embed writes has all wordings beside the first.
	if slices.Contains(e.rows.Columns(), "texts") && source.TextColumn == "" {
		columns.TextColumn = "texts"
		if e.rows, err = openParquetFiles(columns, paths); err != nil {
			return nil, err
		}
	}
	if e.Len() == 0 {
		return e, nil
	}
	if source.Root != "" {
		if info, err := os.Stat(source.Root); err != nil || !info.IsDir() || guess(Source{Path: source.Root}) == WebDataset {
			if e.images, err = OpenContext(ctx, Source{Path: source.Root, cache: source.cache}); err != nil {
				return nil, fmt.Errorf("root: %w", err)
			}
		}
	}
	e.number = sync.OnceValue(func() map[string]int {
		number := make(map[string]int, e.images.Len())
		for i := range e.images.Len() {
			if s, err := Describe(e.images, i); err == nil {
				number[s.Key] = i
			}
		}
		return number
	})
	return e, e.check()
}

// check finds a wrong root before anything else is done.
func (e *embeddings) check() error {
	var first error
	const looks = 5
	for i := range looks {
		_, err := e.Sample(i * e.Len() / looks)
		if err == nil {
			return nil
		}
		if first == nil {
			first = err
		}
	}
	return fmt.Errorf("no image of its metadata can be read; give their folder, or the tars or table that the features were made of, in root: %w", first)
}

// metadataFiles lists metadata/metadata_<n>.parquet of a folder of features, by
// number; none where there are none.
func metadataFiles(dir string) ([]string, error) {
	const name = "metadata"
	paths, err := filepath.Glob(filepath.Join(globQuote(dir), name, name+"_*.parquet"))
	if err != nil {
		return nil, err
	}
	number := func(path string) int {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), name+"_"), ".parquet"))
		if err != nil {
			return -1
		}
		return n
	}
	paths = slices.DeleteFunc(paths, func(p string) bool { return number(p) < 0 })
	slices.SortFunc(paths, func(a, b string) int { return number(a) - number(b) })
	return paths, nil
}

func (e *embeddings) Len() int { return e.rows.Len() }

func (e *embeddings) describe(i int) (Sample, error) {
	s, err := e.rows.get(i, false)
	if path := s.Meta["path"]; path != "" {
		s.Key = path
	}
	s.Class, s.Label = "", -1
	return s, err
}

func (e *embeddings) Sample(i int) (Sample, error) {
	s, err := e.describe(i)
	if err != nil {
		return s, err
	}
	if e.images == nil {
		s.Image, err = readImageAt(e.root, s.Key)
		return s, err
	}
	n, ok := e.number()[s.Key]
	if !ok {
		return s, fmt.Errorf("image %s isn't in the source that root names", s.Key)
	}
	found, err := e.images.Sample(n)
	s.Image = found.Image
	return s, err
}
