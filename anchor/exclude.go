package anchor

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"arf/index"
)

// excludedRows tells which of the pool's rows the exclusions name, each
// "column=value", and how many each of them names; nil without any. A column that
// the pool's metadata lack, or that is empty throughout, is an error, and a value
// that no row has a warning: a filter that finds nothing would pass unseen.
func excludedRows(pool *index.Store, exclude []string) (excluded []bool, counts map[string]int, err error) {
	if len(exclude) == 0 {
		return nil, nil, nil
	}
	excluded, counts = make([]bool, pool.Len()), map[string]int{}
	columns := map[string][]string{} // read once
	for _, e := range exclude {
		column, value, ok := strings.Cut(e, "=")
		if !ok {
			return nil, nil, fmt.Errorf("exclude %q must be column=value, such as license=CC-BY-NC-4.0", e)
		}
		texts, read := columns[column]
		if !read {
			if texts, err = pool.Column(column); err != nil {
				return nil, nil, fmt.Errorf("anchors.pairs.exclude: %w", err)
			}
			columns[column] = texts
		}
		counts[e] = 0
		for i, text := range texts {
			if text == value {
				excluded[i] = true
				counts[e]++
			}
		}
		if counts[e] > 0 || value == "" {
			continue
		}
		found := values(texts)
		if len(found) == 0 {
			return nil, nil, fmt.Errorf("anchors.pairs.exclude: %s: the column %s is empty in all %d rows of the pool; is it another column (upper and lower case count)?%s", e, column, len(texts), others(pool, column))
		}
		slog.Warn("anchors.pairs.exclude leaves out nothing: no pair of the pool has this value", "filter", e, "values", found)
	}
	return excluded, counts, nil
}

// valuesShown bounds what is listed of a column.
const valuesShown = 10

// values are the first different ones, without "".
func values(texts []string) (found []string) {
	for _, text := range texts {
		if text != "" && !slices.Contains(found, text) {
			if found = append(found, text); len(found) == valuesShown {
				break
			}
		}
	}
	return found
}

// others says what columns of the same name in other letters there are.
func others(pool *index.Store, column string) string {
	names, err := pool.Columns()
	if err != nil {
		return ""
	}
	for _, name := range names {
		if name != column && strings.EqualFold(name, column) {
			return " There is " + name + "."
		}
	}
	return " There are " + strings.Join(names, ", ") + "."
}
