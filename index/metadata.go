package index

import (
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"arf/internal/parquetfile"
)

// maxMeta bounds the columns that samples' metadata become, which strangers name.
// More are left out: the most frequent names stay.
const maxMeta = 256

// plainName is a column name that needs no care in other programs, nor in the
// struct tag that it becomes here.
var plainName = regexp.MustCompile(`^[\pL\pN_][\pL\pN_.:@/ -]*$`)

// writeRows writes rows with a column for each name in their Meta, as
// clip-retrieval does: names that Row has already are left out.
func writeRows(path string, rows []Row) error {
	names, left := metaNames(rows)
	if len(left) > 0 {
		slog.Warn("the samples' metadata have more names than there can be columns; the rarest are left out", "columns", len(names), "left out", len(left), "such as", left[0], "file", path)
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

// metaNames are the columns that Row lacks, sorted, and those left out.
func metaNames(rows []Row) (names, left []string) {
	taken := map[string]bool{}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Row]()) {
		name, _, _ := strings.Cut(f.Tag.Get("parquet"), ",")
		taken[name] = true
	}
	found := map[string]int{}
	for _, r := range rows {
		for name := range r.Meta {
			if !taken[name] && plainName.MatchString(name) {
				found[name]++
			}
		}
	}
	names = slices.Sorted(maps.Keys(found))
	if len(names) > maxMeta {
		slices.SortStableFunc(names, func(a, b string) int { return found[b] - found[a] })
		names, left = names[:maxMeta], names[maxMeta:]
		slices.Sort(names)
	}
	return names, left
}
