package dataset

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Names that are looked for in a table's header, in this order, when the
// source names no column. Case doesn't matter.
var (
	imageColumns = []string{"image", "image_path", "filepath", "path", "file", "filename"}
	textColumns  = []string{"text", "caption", "title", "description"}
	classColumns = []string{"class", "class_name", "classname", "category"}
	labelColumns = []string{"label", "class_id", "class_index"}
)

type table struct {
	root    string
	rows    []tableRow
	classes []string
	columns []string // their names
	more    []int    // columns that are none of image, text, class and label
}

type tableRow struct {
	image, text, class string
	label              int
	more               []string
}

func openCSV(source Source) (Dataset, error) {
	f, err := os.Open(source.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	root := source.Root
	if root == "" {
		root = filepath.Dir(source.Path)
	}
	d, err := readCSV(f, source)
	if err != nil {
		return nil, err
	}
	d.root = root
	return d, checkRoot(d, source)
}

// checkRoot catches tables whose paths start at the current folder, as
// open_clip reads them, before every image is missing.
func checkRoot(d *table, source Source) error {
	if len(d.rows) == 0 || source.Root != "" || filepath.IsAbs(d.rows[0].image) {
		return nil
	}
	first := filepath.FromSlash(d.rows[0].image)
	if _, err := os.Stat(filepath.Join(d.root, first)); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if _, err := os.Stat(first); err != nil {
		return nil //nolint:nilerr // missing images are counted when they are read
	}
	return fmt.Errorf("its first image, %s, isn't below %s but is below the current folder; give root \".\" (--root, or root in the config)", d.rows[0].image, d.root)
}

func readCSV(r io.Reader, source Source) (*table, error) {
	buffered := bufio.NewReaderSize(r, 64<<10)
	comma, err := separator(source, buffered)
	if err != nil {
		return nil, err
	}
	reader := csv.NewReader(buffered)
	reader.Comma = comma
	reader.LazyQuotes = comma == '\t' // TSV texts have bare quotes
	reader.ReuseRecord = true
	header, err := reader.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("empty file: it must begin with a header of column names")
	}
	if err != nil {
		return nil, csvError(err)
	}
	columns, err := findColumns(header, comma, source)
	if err != nil {
		return nil, err
	}
	d := &table{columns: columns.names}
	for c, name := range columns.names {
		if name != "" && !slices.Contains([]int{columns.image, columns.text, columns.class, columns.label}, c) {
			d.more = append(d.more, c)
		}
	}
	at := func(c int) string {
		line, column := reader.FieldPos(c)
		return fmt.Sprintf("line %d, column %d (%s)", line, column, columns.names[c])
	}
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, csvError(err)
		}
		row := tableRow{label: -1}
		for _, c := range []struct {
			column int
			to     *string
		}{{columns.image, &row.image}, {columns.text, &row.text}, {columns.class, &row.class}} {
			if c.column < 0 {
				continue
			}
			if !utf8.ValidString(record[c.column]) {
				return nil, fmt.Errorf("%s: not UTF-8", at(c.column))
			}
			*c.to = strings.Clone(strings.TrimSpace(record[c.column]))
		}
		switch {
		case row.image == "":
			return nil, fmt.Errorf("%s: no image path", at(columns.image))
		case strings.Contains(row.image, "://"):
			return nil, fmt.Errorf("%s: %q is a URL; download the images first, for example with img2dataset", at(columns.image), row.image)
		case columns.class >= 0 && row.class == "":
			return nil, fmt.Errorf("%s: no class", at(columns.class))
		}
		if c := columns.label; c >= 0 {
			row.label, err = strconv.Atoi(strings.TrimSpace(record[c]))
			if err != nil || row.label < 0 {
				return nil, fmt.Errorf("%s: %q isn't a class number (0, 1, …)", at(c), record[c])
			}
		}
		for _, c := range d.more {
			row.more = append(row.more, strings.Clone(strings.ToValidUTF8(strings.TrimSpace(record[c]), "\uFFFD")))
		}
		d.rows = append(d.rows, row)
	}
	return d, d.setClasses(columns, source)
}

// csvError puts the position first, as in our own messages.
func csvError(err error) error {
	var parse *csv.ParseError
	if !errors.As(err, &parse) {
		return err
	}
	if errors.Is(parse.Err, csv.ErrFieldCount) {
		return fmt.Errorf("line %d: not as many columns as the header has", parse.Line)
	}
	if errors.Is(parse.Err, csv.ErrQuote) {
		const mend = `close it, and double the quotes inside a text ("")`
		if parse.StartLine < parse.Line { // it swallowed lines up to where it could be no text any more
			return fmt.Errorf("line %d: a quote that is opened in the row that begins here isn't closed, or not rightly, up to line %d, column %d; %s", parse.StartLine, parse.Line, parse.Column, mend)
		}
		return fmt.Errorf("line %d, column %d: a quote before here isn't closed, or not rightly; %s", parse.Line, parse.Column, mend)
	}
	return fmt.Errorf("line %d, column %d: %w", parse.Line, parse.Column, parse.Err)
}

// separator is the source's, or told from the file's name and header.
func separator(source Source, r *bufio.Reader) (rune, error) {
	switch s := source.Separator; {
	case s == "tab" || s == `\t`:
		return '\t', nil
	case s == "" && strings.EqualFold(filepath.Ext(source.Path), ".tsv"):
		return '\t', nil
	case s == "":
		// open_clip's tables have tabs (--csv-separator), whatever their name.
		start, _ := r.Peek(r.Size())
		header, _, _ := bytes.Cut(start, []byte("\n"))
		if bytes.ContainsRune(header, '\t') {
			return '\t', nil
		}
		return ',', nil
	case utf8.RuneCountInString(s) == 1 && !strings.ContainsAny(s, "\"\r\n\uFFFD"):
		r, _ := utf8.DecodeRuneInString(s)
		return r, nil
	}
	return 0, fmt.Errorf("separator %q: must be one character, or \"tab\"", source.Separator)
}

// tableColumns are positions in the header, −1 for none.
type tableColumns struct {
	image, text, class, label int
	names                     []string
}

func findColumns(header []string, comma rune, source Source) (c tableColumns, err error) {
	for i, name := range header {
		if i == 0 {
			name = strings.TrimPrefix(name, "\uFEFF") // Excel's mark
		}
		c.names = append(c.names, strings.Clone(strings.TrimSpace(name)))
	}
	find := func(what, wanted string, usual []string) int {
		if wanted != "" {
			i := slices.Index(c.names, wanted)
			if i < 0 && err == nil {
				err = fmt.Errorf("line 1: no column %q for the %s; the columns are %s", wanted, what, quoted(c.names))
			}
			return i
		}
		for _, u := range usual {
			if i := slices.IndexFunc(c.names, func(n string) bool { return strings.EqualFold(n, u) }); i >= 0 {
				return i
			}
		}
		return -1
	}
	c.image = find("image path", source.ImageColumn, imageColumns)
	c.text = find("text", source.TextColumn, textColumns)
	c.class = find("class", source.ClassColumn, classColumns)
	c.label = find("label", source.LabelColumn, labelColumns)
	if err != nil {
		return c, err
	}
	if c.image < 0 {
		return c, fmt.Errorf("line 1: no column for the image path among %s (separator %q); name it with image_column (--image-column, or image_column in the config)", quoted(c.names), comma)
	}
	return c, nil
}

// setClasses gives rows with a class name their label, and the reverse.
func (d *table) setClasses(columns tableColumns, source Source) error {
	switch {
	case columns.class >= 0:
		pairs := map[string]int{}
		for _, r := range d.rows {
			if old, ok := pairs[r.class]; ok && old != r.label {
				return fmt.Errorf("class %q has the labels %d and %d", r.class, old, r.label)
			}
			pairs[r.class] = r.label
		}
		found := make([]string, 0, len(pairs))
		for c := range pairs {
			found = append(found, c)
		}
		classes, err := d.order(found, pairs, columns, source)
		if err != nil {
			return err
		}
		d.classes = classes
		label := make(map[string]int, len(classes))
		for i, c := range classes {
			label[c] = i
		}
		for i := range d.rows {
			d.rows[i].label = label[d.rows[i].class]
		}
	case columns.label >= 0 && len(source.Classes) > 0:
		d.classes = source.Classes
		for i := range d.rows {
			r := &d.rows[i]
			if r.label >= len(d.classes) {
				return fmt.Errorf("%s: label %d, but there are %d classes", r.image, r.label, len(d.classes))
			}
			r.class = d.classes[r.label]
		}
	}
	return nil
}

// order is the classes by label: the source's, the table's own, or sorted.
func (d *table) order(found []string, labels map[string]int, columns tableColumns, source Source) ([]string, error) {
	if columns.label < 0 || len(source.Classes) > 0 {
		return chooseClasses(found, source)
	}
	classes := make([]string, 0, len(found))
	for class, label := range labels {
		if label >= maxExpansion {
			return nil, fmt.Errorf("class %q has label %d", class, label)
		}
		if missing := label + 1 - len(classes); missing > 0 {
			classes = append(classes, make([]string, missing)...)
		}
		if classes[label] != "" {
			return nil, fmt.Errorf("classes %q and %q share label %d", min(classes[label], class), max(classes[label], class), label)
		}
		classes[label] = class
	}
	for label, class := range classes {
		if class == "" {
			return nil, fmt.Errorf("no class has label %d, but there are higher ones; number the classes without gaps", label)
		}
	}
	return classes, nil
}

func (d *table) Len() int          { return len(d.rows) }
func (d *table) Classes() []string { return d.classes }
func (d *table) Columns() []string { return d.columns }

func (d *table) describe(i int) (Sample, error) { return d.row(i), nil } //nolint:unparam // describer

func (d *table) row(i int) Sample {
	r := d.rows[i]
	s := Sample{Key: r.image, Text: r.text, Label: r.label, Class: r.class}
	if s.Text != "" {
		s.Texts = []string{s.Text}
	}
	for k, c := range d.more {
		if r.more[k] != "" {
			if s.Meta == nil {
				s.Meta = map[string]string{}
			}
			s.Meta[d.columns[c]] = r.more[k]
		}
	}
	return s
}

func (d *table) Sample(i int) (Sample, error) {
	s := d.row(i)
	path := s.Key
	if !filepath.IsAbs(path) {
		path = filepath.Join(d.root, filepath.FromSlash(path))
	}
	var err error
	s.Image, err = readImage(path)
	return s, err
}
