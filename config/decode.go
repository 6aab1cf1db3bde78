package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// decoder reads a YAML tree into a struct that holds the defaults. It goes its own way instead of the library's
// because a mistake should name its whole key, all mistakes should be found at once, and 1.5 is no whole number.
type decoder struct {
	root    reflect.Type // of the whole, for suggestions
	where   func(ast.Node) string
	origin  map[string]string
	anchors map[string]ast.Node
	errs    []error
}

func (d *decoder) fail(n ast.Node, key, format string, args ...any) {
	d.errs = append(d.errs, &Error{Where: d.where(n), Key: key, Problem: fmt.Sprintf(format, args...)})
}

// note remembers where a key was given.
func (d *decoder) note(key string, n ast.Node) {
	if d.origin != nil && key != "" {
		d.origin[key] = d.where(n)
	}
}

// resolve follows YAML anchors (&name) and aliases (*name).
func (d *decoder) resolve(n ast.Node, key string) ast.Node {
	switch n := n.(type) {
	case *ast.AnchorNode:
		if d.anchors == nil {
			d.anchors = map[string]ast.Node{}
		}
		d.anchors[n.Name.String()] = n.Value
		return d.resolve(n.Value, key)
	case *ast.AliasNode:
		target, ok := d.anchors[n.Value.String()]
		if !ok {
			d.fail(n, key, "*%s is not defined above; write &%s before the value it stands for", n.Value, n.Value)
			return nil
		}
		// An alias inside its own anchor would never end.
		delete(d.anchors, n.Value.String())
		defer func() { d.anchors[n.Value.String()] = target }()
		return d.resolve(target, key)
	case *ast.TagNode:
		return d.resolve(n.Value, key)
	}
	return n
}

// value decodes n into v. Nothing and null leave v as it is.
func (d *decoder) value(v reflect.Value, n ast.Node, key string) {
	n = d.resolve(n, key)
	if n == nil || n.Type() == ast.NullType {
		return
	}
	d.note(key, n)
	switch {
	case v.Type() == reflect.TypeFor[List]():
		d.list(v.Addr().Interface().(*List), n, key)
	case v.Kind() == reflect.Struct:
		d.mapping(v, n, key)
	case v.Kind() == reflect.Slice:
		d.slice(v, n, key)
	default:
		text, ok := scalar(n)
		if !ok {
			d.fail(n, key, "want %s, got %s", describe(v), kindOf(n))
			return
		}
		if problem := setScalar(v, text); problem != "" {
			d.fail(n, key, "%s", problem)
		}
	}
}

func (d *decoder) mapping(v reflect.Value, n ast.Node, key string) {
	m, ok := n.(*ast.MappingNode)
	if !ok {
		d.fail(n, key, "want keys (%s), got %s", strings.Join(fieldNames(v.Type()), ", "), kindOf(n))
		return
	}
	for _, entry := range m.Values {
		name, ok := scalar(entry.Key)
		if !ok || entry.Key.IsMergeKey() {
			d.fail(entry.Key, join(key, entry.Key.String()), "YAML merge keys are not read; repeat the keys, or name a whole value with &name and *name")
			continue
		}
		field, ok := fieldByName(v, name)
		if !ok {
			d.fail(entry.Key, join(key, name), "%s", unknownKey(d.root, v.Type(), key, name))
			continue
		}
		d.value(field, entry.Value, join(key, name))
	}
}

func (d *decoder) slice(v reflect.Value, n ast.Node, key string) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fail(n, key, "want a list such as [a, b], got %s", kindOf(n))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values)))
	for i, item := range s.Values {
		d.value(v.Index(i), item, fmt.Sprintf("%s[%d]", key, i))
	}
}

func (d *decoder) list(l *List, n ast.Node, key string) {
	if text, ok := scalar(n); ok {
		*l = List{Ref: text}
		return
	}
	var items []string
	d.slice(reflect.ValueOf(&items).Elem(), n, key)
	*l = List{Items: items}
}

// scalar gives a scalar's text as it is written: 0.10 stays 0.10.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case ast.ScalarNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// setScalar parses text into v; the result says what is wrong, if anything.
func setScalar(v reflect.Value, text string) string {
	wrong := func() string { return fmt.Sprintf("want %s, got %q", describe(v), text) }
	switch v.Kind() {
	case reflect.String:
		if c, ok := reflect.TypeAssert[choice](v); ok && !slices.Contains(c.choices(), text) {
			s := wrong()
			if near := Nearest(text, c.choices()); near != "" {
				s += fmt.Sprintf("; did you mean %s?", near)
			}
			return s
		}
		v.SetString(text)
	case reflect.Bool:
		b, ok := map[string]bool{"true": true, "false": false}[text]
		if !ok {
			return wrong()
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, err := strconv.ParseInt(text, 0, v.Type().Bits())
		if err != nil {
			return wrong()
		}
		v.SetInt(i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		u, err := strconv.ParseUint(text, 0, v.Type().Bits())
		if err != nil {
			return wrong()
		}
		v.SetUint(u)
	case reflect.Float32, reflect.Float64:
		f, err := strconv.ParseFloat(text, v.Type().Bits())
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return wrong()
		}
		v.SetFloat(f)
	default:
		panic("config: field of kind " + v.Kind().String())
	}
	return ""
}

// describe names what a field takes, for messages.
func describe(v reflect.Value) string {
	if c, ok := reflect.TypeAssert[choice](v); ok {
		names := slices.DeleteFunc(slices.Clone(c.choices()), func(s string) bool { return s == "" })
		return "one of " + strings.Join(names, ", ")
	}
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number, 0 or more"
	}
	return "a whole number"
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode:
		return "keys"
	case *ast.SequenceNode:
		return "a list"
	}
	if text, ok := scalar(n); ok {
		return strconv.Quote(text)
	}
	return n.Type().YAMLName()
}
