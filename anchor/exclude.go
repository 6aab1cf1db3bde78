package anchor

import (
	"fmt"
	"strings"

	"arf/index"
)

// excludedRows tells which of the pool's rows the exclusions name, each
// "column=value"; nil without any. A column that the pool's metadata lack is an
// error, as a filter that finds nothing would pass unseen.
func excludedRows(pool *index.Store, exclude []string) ([]bool, error) {
	if len(exclude) == 0 {
		return nil, nil
	}
	values := map[string]map[string]bool{} // by column
	for _, e := range exclude {
		column, value, ok := strings.Cut(e, "=")
		if !ok {
			return nil, fmt.Errorf("exclude %q must be column=value, such as license=CC-BY-NC-4.0", e)
		}
		if values[column] == nil {
			values[column] = map[string]bool{}
		}
		values[column][value] = true
	}
	out := make([]bool, pool.Len())
	for column, named := range values {
		texts, err := pool.Column(column)
		if err != nil {
			return nil, fmt.Errorf("anchors.pairs.exclude: %w", err)
		}
		for i, text := range texts {
			out[i] = out[i] || named[text]
		}
	}
	return out, nil
}
