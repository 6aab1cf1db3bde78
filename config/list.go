package config

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

// maxList bounds the files of lists.
const maxList = 64 << 20

// List is a list of texts that a config gives either itself (`[cat, dog]`) or by a single text (`classes.txt`): the
// path of a file with one item a line, or a keyword where the field has some. The zero List is empty.
type List struct {
	Ref   string
	Items []string
}

// IsZero reports whether nothing was given.
func (l List) IsZero() bool { return l.Ref == "" && len(l.Items) == 0 }

// Read gives the items, from the file if Ref names one. Empty lines and lines that start with # don't count.
// The caller has handled the field's keywords before.
func (l List) Read() ([]string, error) {
	if l.Ref == "" {
		return l.Items, nil
	}
	info, err := os.Stat(l.Ref)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxList) {
		err = fmt.Errorf("%s isn't a text file of at most %d MB", l.Ref, maxList>>20)
	}
	if err != nil {
		return nil, fmt.Errorf("read list: %w; give an existing text file with one item a line, or a list [a, b]", err)
	}
	data, err := os.ReadFile(l.Ref)
	if err != nil {
		return nil, fmt.Errorf("read list: %w", err)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("read list: %s is not UTF-8; save it as such", l.Ref)
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF")) // Windows' mark
	var items []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			items = append(items, line)
		}
	}
	if len(items) == 0 {
		return nil, fmt.Errorf("read list: %s holds no item; write one a line", l.Ref)
	}
	return items, nil
}

// MarshalYAML writes the form that was given.
func (l List) MarshalYAML() (any, error) {
	if l.Ref != "" {
		return l.Ref, nil
	}
	if l.Items == nil {
		return []string{}, nil
	}
	return l.Items, nil
}

// Keywords of a suite's lists.
const (
	ClassesFinetune = "finetune"   // Suite.Classes: the classes of training
	ClassesFolder   = "folder"     // Suite.Classes: the suite's own
	ClassesTexts    = "texts"      // Suite.Classes: the suite's different texts, each image's own being right
	MaskPresent     = "present"    // Suite.ClassMask: the classes that occur in the suite
	SuiteValidation = "validation" // names the results on data.validation
)
