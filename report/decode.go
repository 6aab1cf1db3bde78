package report

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// decode reads one JSON value. Its errors name the file, the line and the field.
// firstLine is the line number at which data starts in the file.
func decode(file string, firstLine int, data []byte, v any) error {
	err := json.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	var pointer jsontext.Pointer
	var offset int64
	var syntactic *jsontext.SyntacticError
	var semantic *json.SemanticError
	reason := err.Error()
	switch {
	case errors.As(err, &syntactic):
		pointer, offset = syntactic.JSONPointer, syntactic.ByteOffset
		reason = "is not JSON: " + syntactic.Err.Error()
		if rest := data[min(offset, int64(len(data))):]; bytes.HasPrefix(rest, []byte("NaN")) || bytes.HasPrefix(bytes.TrimLeft(rest, "-"), []byte("Inf")) {
			reason = "is NaN or infinite, which JSON cannot say: write null"
		}
	case errors.As(err, &semantic):
		pointer, offset = semantic.JSONPointer, semantic.ByteOffset
		reason = fmt.Sprintf("holds %s, want %v", semantic.JSONKind, semantic.GoType)
		if semantic.Err != nil {
			reason += ": " + semantic.Err.Error()
		}
	}
	line := firstLine + bytes.Count(data[:min(offset, int64(len(data)))], []byte("\n"))
	return fmt.Errorf("%s, line %d: field %s %s", file, line, fieldName(pointer), reason)
}

// fieldName is a JSON pointer in the dotted form that people write.
func fieldName(p jsontext.Pointer) string {
	var names []string
	for name := range p.Tokens() {
		names = append(names, name)
	}
	if len(names) == 0 {
		return "(top level)"
	}
	return strings.Join(names, ".")
}
