package dataset

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// Names that are looked for in Parquet files, beside those of tables.
var (
	embeddedImages = []string{"image", "img", "picture", "photo", "jpg", "jpeg", "png", "webp", "image_bytes", "bytes"}
	labelNames     = []string{"label", "labels", "fine_label"}
	captionNames   = append(slices.Clone(textColumns), "captions", "texts", "sentences", "txt")
)

// parquetColumns are the leaves that make a sample; nil for none.
type parquetColumns struct {
	image *parquet.Column // encoded
	path  *parquet.Column // of an image file
	text  *parquet.Column // one, or a list of them
	class *parquet.Column // name
	label *parquet.Column // number
	meta  []*parquet.Column
}

// hfFeature is a column in the metadata that Hugging Face's datasets writes
// (key "huggingface": {"info": {"features": {…}}}).
type hfFeature struct {
	Type  string   `json:"_type"`
	Names []string `json:"names"`
}

// hfFeatures reads the metadata; features of other forms, such as lists, are
// left out.
func hfFeatures(metadata string) (map[string]hfFeature, error) {
	if metadata == "" {
		return nil, nil
	}
	var head struct {
		Info struct {
			Features map[string]json.RawMessage `json:"features"`
		} `json:"info"`
	}
	if err := json.Unmarshal([]byte(metadata), &head); err != nil {
		return nil, fmt.Errorf("metadata of Hugging Face's datasets: %w", err)
	}
	features := map[string]hfFeature{}
	for name, raw := range head.Info.Features {
		var f hfFeature
		if json.Unmarshal(raw, &f) != nil || f.Type == "" {
			continue
		}
		seen := map[string]bool{}
		for i, class := range f.Names {
			if strings.TrimSpace(class) == "" || seen[class] {
				return nil, fmt.Errorf("column %q: class %d, %q, is empty or listed twice", name, i, class)
			}
			seen[class] = true
		}
		features[name] = f
	}
	return features, nil
}

// parquetFinder finds columns by name or kind.
type parquetFinder struct {
	root     *parquet.Column
	features map[string]hfFeature
}

func findParquetColumns(file *parquet.File, source Source) (c parquetColumns, names []string, err error) {
	metadata, _ := file.Lookup("huggingface")
	features, err := hfFeatures(metadata)
	if err != nil {
		return c, nil, err
	}
	find := parquetFinder{file.Root(), features}
	image, err := find.column("image", source.ImageColumn, "Image", slices.Concat(embeddedImages, imageColumns), isImage)
	switch {
	case err != nil:
		return c, nil, err
	case image == nil:
		return c, nil, fmt.Errorf("no column with images among %s; name it with image_column (--image-column, or image_column in the config)", quoted(find.names()))
	case !image.Leaf():
		c.image, c.path = image.Column("bytes"), image.Column("path")
		if c.path != nil && !isText(c.path) {
			c.path = nil
		}
	case isText(image):
		c.path = image
	default:
		c.image = image
	}
	text, err := find.column("text", source.TextColumn, "", captionNames, func(c *parquet.Column) bool { return textLeaf(c) != nil })
	if err != nil {
		return c, nil, err
	}
	if text != nil {
		c.text = textLeaf(text)
	}
	if c.label, err = find.column("label", source.LabelColumn, "ClassLabel", slices.Concat(labelNames, labelColumns), isInteger); err != nil {
		return c, nil, err
	}
	if c.label != nil && source.ClassColumn == "" && features[c.label.Name()].Names != nil {
		// It says the class; what else looks like one may be a coarser one.
	} else if c.class, err = find.column("class", source.ClassColumn, "", slices.Concat(classColumns, labelNames), isText); err != nil {
		return c, nil, err
	}
	if c.label != nil {
		names = features[c.label.Name()].Names
		// Numbers are of the names that are given, if any.
		if names == nil && c.class == nil {
			names = source.Classes
		}
	}
	for _, column := range find.root.Columns() {
		if column != image && column != text && column != c.class && column != c.label && isScalar(column) {
			c.meta = append(c.meta, column)
		}
	}
	return c, names, nil
}

func (f parquetFinder) names() []string {
	var names []string
	for _, c := range f.root.Columns() {
		names = append(names, c.Name())
	}
	return names
}

// column finds a column by the name that is wanted; else by its feature's type
// if only one has it, else by the usual names. fits tells columns that can be
// it.
func (f parquetFinder) column(what, wanted, feature string, usual []string, fits func(*parquet.Column) bool) (*parquet.Column, error) {
	if wanted != "" {
		c := f.root.Column(wanted)
		if c == nil {
			return nil, fmt.Errorf("no column %q for the %s; the columns are %s", wanted, what, quoted(f.names()))
		}
		if !fits(c) {
			return nil, fmt.Errorf("column %q can't be the %s: it is %s", wanted, what, c.String())
		}
		return c, nil
	}
	var typed []*parquet.Column
	for _, c := range f.root.Columns() {
		if feature != "" && f.features[c.Name()].Type == feature && fits(c) {
			typed = append(typed, c)
		}
	}
	if len(typed) == 1 {
		return typed[0], nil
	}
	for _, u := range usual {
		for _, c := range f.root.Columns() {
			if strings.EqualFold(c.Name(), u) && fits(c) && (len(typed) == 0 || slices.Contains(typed, c)) {
				return c, nil
			}
		}
	}
	if len(typed) > 1 {
		var names []string
		for _, c := range typed {
			names = append(names, c.Name())
		}
		return nil, fmt.Errorf("several columns could be the %s: %s; choose one with %s_column (--%s-column, or %s_column in the config)", what, quoted(names), what, what, what)
	}
	return nil, nil
}

// isImage: bytes, a structure with bytes, or the path of a file.
func isImage(c *parquet.Column) bool {
	if c.Leaf() {
		return c.MaxRepetitionLevel() == 0 && isBytes(c)
	}
	bytes := c.Column("bytes")
	return bytes != nil && bytes.Leaf() && bytes.MaxRepetitionLevel() == 0 && isBytes(bytes)
}

func isBytes(c *parquet.Column) bool { return c.Type().Kind() == parquet.ByteArray }

func isText(c *parquet.Column) bool {
	if !c.Leaf() || c.MaxRepetitionLevel() > 0 || !isBytes(c) {
		return false
	}
	return isString(c)
}

func isString(c *parquet.Column) bool {
	if t := c.Type().LogicalType(); t != nil {
		_, ok := t.Value.(*format.StringType)
		return ok
	}
	converted := c.Type().ConvertedType()
	return converted != nil && *converted == 0 // deprecated.UTF8
}

// textLeaf is the column of texts in a text or in a list of texts.
func textLeaf(c *parquet.Column) *parquet.Column {
	for !c.Leaf() {
		if len(c.Columns()) != 1 {
			return nil
		}
		c = c.Columns()[0]
	}
	if c.MaxRepetitionLevel() > 1 || !isBytes(c) || !isString(c) {
		return nil
	}
	return c
}

func isInteger(c *parquet.Column) bool {
	if !c.Leaf() || c.MaxRepetitionLevel() > 0 {
		return false
	}
	kind := c.Type().Kind()
	return kind == parquet.Int32 || kind == parquet.Int64
}

// isScalar tells columns that become a sample's metadata.
func isScalar(c *parquet.Column) bool {
	if !c.Leaf() || c.MaxRepetitionLevel() > 0 {
		return false
	}
	switch c.Type().Kind() {
	case parquet.Boolean, parquet.Int32, parquet.Int64, parquet.Float, parquet.Double:
		return true
	}
	return isText(c)
}

var errShape = errors.New("broken Parquet: columns of different lengths")
