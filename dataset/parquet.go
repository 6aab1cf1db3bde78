package dataset

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"arf/internal/parquetfile"

	"github.com/parquet-go/parquet-go"
)

// parquetSet is samples in Parquet files as Hugging Face's datasets writes
// them. Row groups are read when a sample of theirs is asked for; what was read
// last is kept, up to blockBytes.
type parquetSet struct {
	files   []*parquetFile
	ends    []int // of the files, in samples
	classes []string
	label   map[string]int
	blocks  *blockCache
}

type parquetFile struct {
	shard  *shard
	name   string // in keys
	root   string // where paths of images start
	file   *parquet.File
	ends   []int // of the row groups, in rows
	names  []string
	column parquetColumns
}

// maxRowsPerByte bounds the samples that a file may say it has, since lists of
// their numbers are made before they are read. Nulls take next to no room.
const maxRowsPerByte = 64

func openParquet(source Source) (Dataset, error) {
	paths, err := parquetPaths(source)
	if err != nil {
		return nil, err
	}
	d, err := openParquetFiles(source, paths)
	if err != nil {
		return nil, err
	}
	return d, d.setClasses(source)
}

// openParquetFiles opens files in the given order, and leaves classes aside.
func openParquetFiles(source Source, paths []string) (*parquetSet, error) {
	d := &parquetSet{blocks: newBlockCache(blockBytes)}
	names := shortNames(paths)
	for i, path := range paths {
		f, err := openParquetFile(path, names[i], source, len(paths) <= shardsOpen)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if i > 0 && !slices.Equal(f.names, d.files[0].names) {
			return nil, fmt.Errorf("%s has other class names than %s; open them apart", path, paths[0])
		}
		before := 0
		if i > 0 {
			before = d.ends[i-1]
		}
		d.files = append(d.files, f)
		d.ends = append(d.ends, before+int(f.file.NumRows()))
	}
	return d, nil
}

// hfShard is a file name of the Hub: the split, then which of how many.
var hfShard = regexp.MustCompile(`^(.*?)-\d{5}-of-\d{5}(-[0-9a-f]+)?$`)

// parquetPaths writes out a file, folder, glob or range, and keeps the split's
// files. A folder's files are in it, in data/, or in a folder for each split.
func parquetPaths(source Source) ([]string, error) {
	var paths []string
	info, err := os.Stat(source.Path)
	isDir := err == nil && info.IsDir()
	if isDir {
		for _, pattern := range []string{"*.parquet", "data/*.parquet", "*/*.parquet"} {
			if paths, err = filepath.Glob(filepath.Join(globQuote(source.Path), pattern)); err != nil {
				return nil, err
			}
			if len(paths) > 0 {
				break
			}
		}
		if len(paths) == 0 {
			return nil, errors.New("the folder has no .parquet files")
		}
	} else if paths, err = shardPaths(source.Path); err != nil {
		return nil, err
	}
	if source.Split == "" && !isDir {
		return paths, nil // just these
	}
	bySplit := map[string][]string{}
	for _, p := range paths {
		bySplit[splitOf(p)] = append(bySplit[splitOf(p)], p)
	}
	splits := make([]string, 0, len(bySplit))
	for s := range bySplit {
		if s != "" {
			splits = append(splits, s)
		}
	}
	slices.Sort(splits)
	if len(splits) == 0 && source.Split == "" {
		return paths, nil
	}
	split, err := chooseSplit(source.Split, splits)
	return bySplit[split], err
}

var usualSplits = []string{"train", "test", "validation", "val", "valid", "dev", "eval"}

// splitOf tells a file's split by its name, or by its folder's where the name
// is only a number; "" if neither says one.
func splitOf(path string) string {
	name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	if m := hfShard.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	if _, err := strconv.Atoi(name); err == nil {
		name = filepath.Base(filepath.Dir(path))
		// The Hub's conversion of large sets says that it isn't all of them.
		return strings.TrimPrefix(name, "partial-")
	}
	if name = strings.TrimRight(name, "-_0123456789"); slices.Contains(usualSplits, name) {
		return name
	}
	return ""
}

// shortNames are the files' names, with their folders where names repeat.
func shortNames(paths []string) []string {
	names := make([]string, len(paths))
	seen := map[string]bool{}
	for i, p := range paths {
		names[i] = filepath.Base(p)
		if seen[names[i]] {
			for i, p := range paths {
				names[i] = filepath.ToSlash(p)
			}
			return names
		}
		seen[names[i]] = true
	}
	return names
}

func openParquetFile(path, name string, source Source, keep bool) (*parquetFile, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f := &parquetFile{shard: &shard{path: path, keep: keep}, name: name, root: source.Root}
	if f.root == "" {
		f.root = filepath.Dir(path)
	}
	if f.file, err = parquetfile.OpenAt(f.shard, info.Size()); err != nil {
		return nil, err
	}
	rows := 0
	for _, g := range f.file.RowGroups() {
		n := g.NumRows()
		if n > math.MaxInt32 || n > 0 && len(g.ColumnChunks()) != len(f.file.Metadata().RowGroups[0].Columns) {
			return nil, fmt.Errorf("broken Parquet: a group of %d rows and %d columns", n, len(g.ColumnChunks()))
		}
		rows += int(n)
		f.ends = append(f.ends, rows)
	}
	if int64(rows) != f.file.NumRows() {
		return nil, fmt.Errorf("broken Parquet: %d rows in groups, %d altogether", rows, f.file.NumRows())
	}
	if int64(rows) > maxRowsPerByte*info.Size() {
		return nil, fmt.Errorf("broken Parquet: it says that it has %d rows, in %d bytes", rows, info.Size())
	}
	f.column, f.names, err = findParquetColumns(f.file, source)
	return f, err
}

// ReadAt makes a shard an io.ReaderAt.
func (s *shard) ReadAt(p []byte, offset int64) (int, error) {
	f, done, err := s.open()
	if err != nil {
		return 0, err
	}
	defer done()
	return f.ReadAt(p, offset)
}

// setClasses finds the class names: those of the label column, the source's, or
// the different values of the class column.
func (d *parquetSet) setClasses(source Source) error {
	first := d.files[0]
	found := slices.Clone(first.names)
	switch {
	case found != nil:
		classes, err := chooseClasses(found, keepOrder(found, source))
		if err != nil {
			return err
		}
		d.classes = classes
	case first.column.class != nil:
		classes, err := d.classesByName(source)
		if err != nil {
			return err
		}
		d.classes = classes
	case first.column.label != nil:
		d.classes = source.Classes
	}
	d.label = uniqueLabels(d.classes)
	return nil
}

// classesByName gives the different values of the class column, in the order of
// their labels if there is a column of them.
func (d *parquetSet) classesByName(source Source) ([]string, error) {
	named, label := map[int]string{}, map[string]int64{}
	for _, f := range d.files {
		numbered := f.column.label != nil
		for g := range f.ends {
			block, _, err := f.readFacts(g)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", f.shard.path, err)
			}
			for _, r := range block.rows {
				class := strings.TrimSpace(r.class)
				if class == "" {
					continue
				}
				old, ok := label[class]
				switch {
				case !ok:
					label[class] = r.label
				case old != r.label && numbered:
					return nil, fmt.Errorf("%s: class %q has the labels %d and %d", f.shard.path, class, old, r.label)
				}
				if numbered && r.label >= 0 && r.label < maxExpansion {
					if other, ok := named[int(r.label)]; ok && other != class {
						return nil, fmt.Errorf("%s: classes %q and %q share label %d", f.shard.path, other, class, r.label)
					}
					named[int(r.label)] = class
				}
			}
		}
	}
	if len(source.Classes) == 0 && len(named) == len(label) && len(named) > 0 {
		return byLabel(named)
	}
	return chooseClasses(slices.Collect(maps.Keys(label)), source)
}

func (d *parquetSet) Len() int          { return d.ends[len(d.ends)-1] }
func (d *parquetSet) Classes() []string { return d.classes }
func (d *parquetSet) Columns() []string { return parquetFinder{root: d.files[0].file.Root()}.names() }

func (d *parquetSet) Sample(i int) (Sample, error)   { return d.get(i, true) }
func (d *parquetSet) describe(i int) (Sample, error) { return d.get(i, false) }

func (d *parquetSet) get(i int, withImage bool) (Sample, error) {
	k := sort.SearchInts(d.ends, i+1)
	f := d.files[k]
	if k > 0 {
		i -= d.ends[k-1]
	}
	s := Sample{Key: f.name + "#" + strconv.Itoa(i), Label: -1}
	g := sort.SearchInts(f.ends, i+1)
	row := i
	if g > 0 {
		row -= f.ends[g-1]
	}
	facts, err := d.facts(f, g)
	if err == nil {
		err = facts.rows[row].fill(&s, f.names)
	}
	if err == nil {
		err = s.classify(d.classes, d.label)
	}
	if err == nil && withImage {
		s.Image, err = d.image(f, g, row, s.Meta["path"])
	}
	if err != nil {
		return s, fmt.Errorf("%s: row %d: %w", f.shard.path, i, err)
	}
	return s, nil
}

// fill takes a row's facts; names are the file's classes by label.
func (r *parquetRow) fill(s *Sample, names []string) error {
	for _, t := range append([]string{r.text, r.class}, r.texts...) {
		if !utf8.ValidString(t) {
			return errors.New("a text isn't UTF-8")
		}
	}
	s.Texts = append(s.Texts, r.texts...)
	if s.Text = strings.TrimSpace(r.text); s.Text != "" {
		s.Texts = []string{s.Text}
	} else if len(s.Texts) > 0 {
		s.Text = s.Texts[0]
	}
	for _, m := range r.meta {
		s.meta(m.name, m.value)
	}
	s.Class = strings.TrimSpace(r.class)
	switch {
	case r.label == noLabel: // Hugging Face's −1, or null
	case r.label < 0 || r.label > math.MaxInt32:
		return fmt.Errorf("label %d", r.label)
	case names == nil && s.Class != "": // the class is by name
	case names == nil:
		s.Label = int(r.label)
	case r.label >= int64(len(names)):
		return fmt.Errorf("label %d, but there are %d classes; %w", r.label, len(names), ErrLabel)
	case s.Class != "" && s.Class != names[r.label]:
		return fmt.Errorf("its class is %q and its label %d, which is %q; %w", s.Class, r.label, names[r.label], ErrLabel)
	default:
		s.Class = names[r.label]
	}
	return nil
}

// image gives the image of a row: its bytes, or the file that it names.
func (d *parquetSet) image(f *parquetFile, group, row int, path string) ([]byte, error) {
	if f.column.image != nil {
		image, err := d.bytes(f, group, row)
		if err != nil || image != nil {
			return image, err
		}
	}
	return readImageAt(f.root, path)
}

// readImageAt reads the file that a row names, below root if its path isn't absolute.
func readImageAt(root, path string) ([]byte, error) {
	switch {
	case path == "":
		return nil, errors.New("no image: neither bytes nor a path")
	case strings.Contains(path, "://"):
		return nil, fmt.Errorf("%q is a URL; download the images first, for example with img2dataset", path)
	case !filepath.IsAbs(path):
		path = filepath.Join(root, filepath.FromSlash(path))
	}
	return readImage(path)
}
