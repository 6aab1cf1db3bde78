package config

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// Keys lists every key in the order of the structs, for shell completion and documentation. Keys of list elements
// are written eval.suites[].name.
func Keys() []string { return keysOf(reflect.TypeFor[Config](), "") }

func keysOf(t reflect.Type, prefix string) []string {
	var keys []string
	for _, f := range reflect.VisibleFields(t) {
		name := keyName(f)
		if name == "" {
			continue
		}
		key := join(prefix, name)
		ft := f.Type
		if ft.Kind() == reflect.Slice {
			ft, key = ft.Elem(), key+"[]"
		}
		if ft.Kind() == reflect.Struct && ft != reflect.TypeFor[List]() {
			keys = append(keys, keysOf(ft, key)...)
		} else {
			keys = append(keys, strings.TrimSuffix(key, "[]"))
		}
	}
	return keys
}

// Settings gives each key of a section, a struct of this package, with its value as text: "train.lr" with "1e-05". Lists
// are written [a, b], elements of lists of sections have keys of their own: "sources[0].path".
func Settings(section string, v any) map[string]string {
	out := map[string]string{}
	settings(section, reflect.ValueOf(v), out)
	return out
}

func settings(key string, v reflect.Value, out map[string]string) {
	list, isList := reflect.TypeAssert[List](v)
	switch {
	case isList && list.Ref != "":
		out[key] = list.Ref
	case isList:
		settings(key, reflect.ValueOf(list.Items), out)
	case v.Kind() == reflect.Struct:
		for _, name := range fieldNames(v.Type()) {
			field, _ := fieldByName(v, name)
			settings(join(key, name), field, out)
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			settings(fmt.Sprintf("%s[%d]", key, i), v.Index(i), out)
		}
	case v.Kind() == reflect.Slice:
		var items []string
		for i := range v.Len() {
			items = append(items, fmt.Sprint(v.Index(i)))
		}
		out[key] = "[" + strings.Join(items, ", ") + "]"
	default:
		out[key] = fmt.Sprint(v)
	}
}

// keyName is what a field is called in YAML: its tag's name, by default the lower-cased Go name; "" for fields that
// YAML doesn't have.
func keyName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if !f.IsExported() || name == "-" {
		return ""
	}
	return cmp.Or(name, strings.ToLower(f.Name))
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for _, f := range reflect.VisibleFields(t) {
		if name := keyName(f); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func fieldByName(v reflect.Value, name string) (reflect.Value, bool) {
	for _, f := range reflect.VisibleFields(v.Type()) {
		if key := keyName(f); key != "" && key == name {
			return v.FieldByIndex(f.Index), true
		}
	}
	return reflect.Value{}, false
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

// unknownKey says which key was probably meant: a similar one beside it, the same one elsewhere, or any of those
// that are known here.
func unknownKey(root, t reflect.Type, prefix, name string) string {
	names := fieldNames(t)
	if near := Nearest(name, names); near != "" {
		return fmt.Sprintf("unknown key; did you mean %s?", join(prefix, near))
	}
	var elsewhere []string
	for _, key := range keysOf(root, "") {
		if key == name || strings.HasSuffix(key, "."+name) {
			elsewhere = append(elsewhere, key)
		}
	}
	if len(elsewhere) > 0 && len(elsewhere) <= 3 {
		return fmt.Sprintf("unknown key; did you mean %s?", strings.Join(elsewhere, " or "))
	}
	return fmt.Sprintf("unknown key; known here: %s", strings.Join(names, ", "))
}

// Nearest is the name that needs the fewest edits to become like text, or "" when none is similar.
func Nearest(text string, names []string) string {
	fold := func(s string) string {
		return strings.NewReplacer("-", "", "_", "", " ", "").Replace(strings.ToLower(s))
	}
	distance := func(name string) int { return levenshtein.ComputeDistance(fold(text), fold(name)) }
	names = slices.DeleteFunc(slices.Clone(names), func(s string) bool { return s == "" })
	if len(names) == 0 {
		return ""
	}
	best := slices.MinFunc(names, func(a, b string) int { return distance(a) - distance(b) })
	if distance(best) > max(1, len(fold(text))/3) {
		return ""
	}
	return best
}
