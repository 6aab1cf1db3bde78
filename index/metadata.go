package index

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"arf/internal/parquetfile"
)

// maxMeta bounds the columns that samples' metadata become.
const maxMeta = 256

// plainName is a column name that needs no care in other programs, nor in the
// struct tag that it becomes here.
var plainName = regexp.MustCompile(`^[\pL\pN_][\pL\pN_.:@/ -]*$`)

// writeRows writes rows with a column for each name in their Meta, as
// clip-retrieval does: names that Row has already are left out.
func writeRows(path string, rows []Row) error {
	names, err := metaNames(rows)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if len(names) == 0 {
		return parquetfile.Write(path, rows)
	}
	var fields []reflect.StructField
	var from []int // Row's fields
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Row]()) {
		if f.Tag.Get("parquet") != "-" {
			fields, from = append(fields, reflect.StructField{Name: f.Name, Type: f.Type, Tag: f.Tag}), append(from, f.Index[0])
		}
	}
	for i, name := range names {
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("Meta%d", i), Type: reflect.TypeFor[string](), Tag: reflect.StructTag(`parquet:"` + name + `,optional"`),
		})
	}
	kind := reflect.StructOf(fields)
	return parquetfile.WriteOf(path, kind, func(yield func(any) bool) {
		for i := range rows {
			row := reflect.New(kind).Elem()
			for k, f := range from {
				row.Field(k).Set(reflect.ValueOf(&rows[i]).Elem().Field(f))
			}
			for k, name := range names {
				row.Field(len(from) + k).SetString(rows[i].Meta[name])
			}
			if !yield(row.Addr().Interface()) {
				return
			}
		}
	})
}

// metaNames are the columns that Row lacks.
func metaNames(rows []Row) ([]string, error) {
	taken := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Row]()) {
		name, _, _ := strings.Cut(f.Tag.Get("parquet"), ",")
		taken[name] = true
	}
	found := map[string]bool{}
	for _, r := range rows {
		for name := range r.Meta {
			if !taken[name] && plainName.MatchString(name) {
				found[name] = true
			}
		}
		if len(found) > maxMeta {
			return nil, fmt.Errorf("the samples' metadata have more than %d different names", maxMeta)
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}
