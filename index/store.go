package index

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"arf/internal/atomicfile"
)

// Manifest is features.json: what a folder of features was made from.
type Manifest struct {
	Hash      string   `json:"hash"`              // of model, data and options; other inputs, other features
	Model     string   `json:"model"`             // hash of the model
	Data      string   `json:"data"`              // hash of the data
	Samples   int      `json:"num_samples"`       // of the dataset
	ShardRows int      `json:"shard_rows"`        // samples a shard
	Dim       int      `json:"dim"`               // columns
	Texts     bool     `json:"texts"`             // text_emb is there
	Rows      int      `json:"rows,omitempty"`    // once complete
	Skipped   int      `json:"skipped,omitempty"` // broken samples, once complete
	Broken    []string `json:"broken,omitempty"`  // the first of them, in words
	Complete  bool     `json:"complete"`
}

const manifestName = "features.json"

// Store is a folder of features.
type Store struct {
	Dir      string
	Manifest Manifest // zero for folders made elsewhere

	image, text []*matrix // by shard; empty where there are none
	metadata    []string
	rows, dim   int
}

// Open reads the headers of all files and checks that features and metadata
// have the same rows. Errors name the file.
func Open(dir string) (*Store, error) {
	s := &Store{Dir: dir}
	var err error
	s.Manifest, err = openManifest(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist): // made elsewhere
	case err != nil:
		return nil, err
	case !s.Manifest.Complete:
		return nil, fmt.Errorf("%s: the features aren't complete; the command that makes them goes on where it stopped", dir)
	}
	if s.metadata, err = numbered(dir, "metadata", ".parquet"); err != nil {
		return nil, err
	}
	if len(s.metadata) == 0 {
		return nil, fmt.Errorf("%s: no features in it: it has no metadata/metadata_0.parquet", dir)
	}
	if s.image, err = openMatrices(dir, "img_emb", len(s.metadata)); err != nil {
		return nil, err
	}
	if s.text, err = openMatrices(dir, "text_emb", len(s.metadata)); err != nil {
		return nil, err
	}
	if len(s.image)+len(s.text) == 0 {
		return nil, fmt.Errorf("%s: no features in it: neither img_emb nor text_emb has .npy files", dir)
	}
	for i, path := range s.metadata {
		rows, err := countRows(path)
		if err != nil {
			return nil, err
		}
		for _, m := range []*matrix{at(s.image, i), at(s.text, i)} {
			if m == nil {
				continue
			}
			if m.rows != rows {
				return nil, fmt.Errorf("%s has %d rows and %s has %d; they aren't of one run: embed again", m.path, m.rows, path, rows)
			}
			if s.dim == 0 {
				s.dim = m.dim
			}
			if m.dim != s.dim {
				return nil, fmt.Errorf("%s has %d columns, the other features %d; they aren't of one model: embed again", m.path, m.dim, s.dim)
			}
		}
		s.rows += rows
	}
	if m := s.Manifest; m.Complete && m.Rows != s.Len() {
		return nil, fmt.Errorf("%s: %d rows, but %s says %d; embed again", dir, s.Len(), manifestName, m.Rows)
	}
	return s, nil
}

func at(m []*matrix, i int) *matrix {
	if i < len(m) {
		return m[i]
	}
	return nil
}

// numbered lists dir/name/name_<number><ext> by number.
func numbered(dir, name, ext string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	byNumber := map[int]string{}
	var numbers []int
	for _, e := range entries {
		digits, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), ext), name+"_")
		n, err := strconv.Atoi(digits)
		if !ok || err != nil || n < 0 || filepath.Ext(e.Name()) != ext {
			continue
		}
		if byNumber[n] != "" {
			return nil, fmt.Errorf("%s: %s and %s have the same number", filepath.Join(dir, name), byNumber[n], e.Name())
		}
		byNumber[n] = e.Name()
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	var paths []string
	for i, n := range numbers {
		if n != i {
			return nil, fmt.Errorf("%s: number %d is missing; embed again", filepath.Join(dir, name), i)
		}
		paths = append(paths, filepath.Join(dir, name, byNumber[n]))
	}
	return paths, nil
}

func openMatrices(dir, name string, shards int) ([]*matrix, error) {
	paths, err := numbered(dir, name, ".npy")
	if err != nil {
		return nil, err
	}
	if len(paths) != 0 && len(paths) != shards {
		return nil, fmt.Errorf("%s has %d files, metadata has %d; embed again", filepath.Join(dir, name), len(paths), shards)
	}
	var out []*matrix
	for _, path := range paths {
		m, err := openMatrix(path)
		if err != nil {
			return nil, err
		}
		out = append(out, m)
	}
	return out, nil
}

// Len is the number of rows.
func (s *Store) Len() int { return s.rows }

// Dim is the length of a feature.
func (s *Store) Dim() int { return s.dim }

// Images are the image features, nil if there are none.
func (s *Store) Images() Vectors { return s.vectors(s.image) }

// Texts are the text features, nil if there are none.
func (s *Store) Texts() Vectors { return s.vectors(s.text) }

func (s *Store) vectors(files []*matrix) Vectors {
	if len(files) == 0 {
		return nil
	}
	parts := make([]Vectors, len(files))
	for i, m := range files {
		parts[i] = m
	}
	return Join(parts...)
}

// Rows reads the metadata of all rows.
func (s *Store) Rows() ([]Row, error) {
	rows := make([]Row, 0, s.Len())
	err := s.EachPart(func(_ int, part []Row) error {
		rows = append(rows, part...)
		return nil
	})
	return rows, err
}

// EachPart reads the rows of one metadata file after the other, of which only one
// is in memory, and hands them on with the number of the first.
func (s *Store) EachPart(do func(first int, rows []Row) error) error {
	first := 0
	for _, path := range s.metadata {
		part, err := readRows(path)
		if err != nil {
			return err
		}
		if err := do(first, part); err != nil {
			return err
		}
		first += len(part)
	}
	return nil
}

// RowsAt reads rows by their numbers, from the files that have any of them.
func (s *Store) RowsAt(numbers []int) (map[int]Row, error) {
	numbers = slices.Clone(numbers)
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	rows := make(map[int]Row, len(numbers))
	if len(numbers) > 0 && numbers[0] < 0 {
		return nil, fmt.Errorf("%s has no row %d", s.Dir, numbers[0])
	}
	first := 0
	for _, path := range s.metadata {
		n, err := countRows(path)
		if err != nil {
			return nil, err
		}
		of, _ := slices.BinarySearch(numbers, first+n)
		if of > 0 {
			part, err := readRows(path)
			if err != nil {
				return nil, err
			}
			for _, number := range numbers[:of] {
				rows[number] = part[number-first]
			}
		}
		numbers, first = numbers[of:], first+n
	}
	if len(numbers) > 0 {
		return nil, fmt.Errorf("%s has no row %d", s.Dir, numbers[0])
	}
	return rows, nil
}

// Hash identifies the content: the manifest's hash, or for features made
// elsewhere that of all files, which are read once.
func (s *Store) Hash(ctx context.Context) (string, error) {
	if s.Manifest.Hash != "" {
		return s.Manifest.Hash, nil
	}
	paths := slices.Clone(s.metadata)
	for _, m := range slices.Concat(s.image, s.text) {
		paths = append(paths, m.path)
	}
	h := sha256.New()
	for _, path := range paths {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		f, err := os.Open(path)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s\n", filepath.Base(path))
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}

func openManifest(dir string) (m Manifest, err error) {
	path := filepath.Join(dir, manifestName)
	data, err := os.ReadFile(path)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("%s: %w; remove it and embed again", path, err)
	}
	return m, nil
}

func writeManifest(dir string, m Manifest) error {
	data, err := json.MarshalIndent(m, "", "\t")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, manifestName)
	if err := atomicfile.Write(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
