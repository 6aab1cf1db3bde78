package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// Set applies one override as the command line gives it: "train.lr=1e-5", "seeds=[0, 1, 2]",
// "eval.suites[0].source.path=data/x". Keys and types are checked as strictly as in a file; the whole is not
// validated, since one override may need another.
func (c *Config) Set(override string) error {
	return set(reflect.ValueOf(c).Elem(), c.origin, override)
}

func set(v reflect.Value, origin map[string]string, override string) error {
	where := fmt.Sprintf("--set %q", override)
	key, text, ok := strings.Cut(override, "=")
	if !ok {
		return &Error{Where: where, Problem: "want key=value, such as train.lr=1e-5"}
	}
	key = strings.TrimSpace(key)
	root, prefix := v.Type(), ""
	for part := range strings.SplitSeq(key, ".") {
		name, indices, _ := strings.Cut(part, "[")
		if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[List]() {
			return &Error{Where: where, Key: prefix, Problem: "has no keys of its own"}
		}
		field, ok := fieldByName(v, name)
		if !ok {
			return &Error{Where: where, Key: join(prefix, name), Problem: unknownKey(root, v.Type(), prefix, name)}
		}
		v, prefix = field, join(prefix, name)
		if indices == "" {
			continue
		}
		i, err := strconv.Atoi(strings.TrimSuffix(indices, "]"))
		if v.Kind() != reflect.Slice || err != nil || i < 0 || i >= v.Len() {
			n := 0
			if v.Kind() == reflect.Slice {
				n = v.Len()
			}
			return &Error{Where: where, Key: prefix, Problem: fmt.Sprintf("has %d elements, no [%s", n, indices)}
		}
		v, prefix = v.Index(i), fmt.Sprintf("%s[%d]", prefix, i)
	}

	d := decoder{root: root, origin: origin, where: func(ast.Node) string { return where }}
	structured := strings.HasPrefix(strings.TrimSpace(text), "[")
	isList := v.Type() == reflect.TypeFor[List]()
	switch {
	case v.Kind() == reflect.Struct && !isList:
		return &Error{Where: where, Key: prefix, Problem: "is a section; set its keys: " + strings.Join(fieldNames(v.Type()), ", ")}
	case isList && !structured:
		v.Set(reflect.ValueOf(List{Ref: text}))
		d.note(prefix, nil)
	case v.Kind() == reflect.Slice || isList:
		list, err := parseYAML([]byte(text))
		if err != nil || list == nil {
			return &Error{Where: where, Key: prefix, Problem: "want a list such as [a, b]"}
		}
		d.value(v, list, prefix)
	default:
		// Taken literally: a path may hold characters that YAML would read as its own.
		if problem := setScalar(v, text); problem != "" {
			return &Error{Where: where, Key: prefix, Problem: problem}
		}
		d.note(prefix, nil)
	}
	return errors.Join(d.errs...)
}
