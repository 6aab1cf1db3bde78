package results

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"arf/report"

	"github.com/goccy/go-yaml"
)

// Settings is a Markdown table of runs that differ in their config: a row for
// every run and finetuned method, with the keys that differ and the axes.
func Settings(dirs ...string) (string, error) {
	var runs []*Table
	var configs []map[string]string
	for _, dir := range dirs {
		t, err := Load(dir)
		if err != nil {
			return "", err
		}
		flat, err := settings(t.Runs[0])
		if err != nil {
			return "", err
		}
		// What every run has of its own, and the methods, which have their rows.
		delete(flat, "name")
		delete(flat, "methods")
		runs, configs = append(runs, t), append(configs, flat)
	}
	keys := differing(configs)
	columns := keys
	if len(keys) > maxColumns {
		columns = []string{"setting"}
	}
	var b strings.Builder
	titles := slices.Concat([]string{"run"}, columns, []string{"method", "models", "ID", "average shift", "zero-shot", "mean of the three"})
	b.WriteString(header(titles...))
	seen := map[string]bool{} // rows of pretrained models
	for i, t := range runs {
		for _, method := range t.Methods {
			if isWise(method) {
				continue
			}
			var row strings.Builder
			name, config := t.Runs[0].Name, configs[i]
			if method == report.Pretrained {
				name = "" // several runs may share it
				config = maps.Clone(config)
				for _, k := range keys {
					if trains(k) {
						config[k] = ""
					}
				}
			}
			fmt.Fprintf(&row, "| %s |", name)
			if len(keys) > maxColumns {
				fmt.Fprintf(&row, " %s |", changes(configs[0], config, keys))
			} else {
				for _, k := range keys {
					fmt.Fprintf(&row, " %s |", config[k])
				}
			}
			fmt.Fprintf(&row, " %s | %d |", method, len(t.models[method]))
			sum := 0.0
			for _, axis := range axes {
				s := t.Score(method, t.on(axis))
				fmt.Fprintf(&row, " %s |", s)
				sum += s.Mean / float64(len(axes))
			}
			fmt.Fprintf(&row, " %s |\n", points(sum))
			if line := row.String(); method != report.Pretrained || !seen[line] {
				b.WriteString(line)
				seen[line] = true
			}
		}
	}
	return b.String(), nil
}

// maxColumns is how many settings have a column each. Of more, one column shows
// what a run changes from the first.
const maxColumns = 3

func changes(from, to map[string]string, keys []string) string {
	var out []string
	for _, k := range keys {
		if to[k] != from[k] && to[k] != "" {
			out = append(out, k+"="+to[k])
		}
	}
	return strings.Join(out, " ")
}

// trains tells whether a key is about training only, so that the pretrained
// model's results don't depend on it.
func trains(key string) bool {
	first, _, _ := strings.Cut(key, ".")
	return first == "train" || first == "anchors" || first == "seeds"
}

// settings are a run's config, by dotted keys.
func settings(r *report.Run) (map[string]string, error) {
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(r.Config), &tree); err != nil {
		return nil, fmt.Errorf("results: %s/config.yaml: %w", r.Dir, err)
	}
	flat := map[string]string{}
	flatten(flat, "", tree)
	return flat, nil
}

// flatten writes a config's values by their dotted keys.
func flatten(to map[string]string, prefix string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, value := range v {
			flatten(to, strings.TrimPrefix(prefix+"."+k, "."), value)
		}
	case []any:
		if len(v) == 0 { // one that the default stands for, unlike a missing key
			to[prefix] = "[]"
		}
		for i, value := range v {
			if _, ok := value.(map[string]any); ok { // the test sets, which Load compares
				flatten(to, fmt.Sprintf("%s[%d]", prefix, i), value)
				continue
			}
			to[prefix] = fmt.Sprint(v)
		}
	default:
		to[prefix] = fmt.Sprint(v)
	}
}

func differing(configs []map[string]string) []string {
	all := map[string]bool{}
	for _, c := range configs {
		for k := range c {
			all[k] = true
		}
	}
	var keys []string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		// A key that one config lacks came with a later version; its default did what was done before.
		missing := slices.ContainsFunc(configs, func(c map[string]string) bool { _, ok := c[k]; return !ok })
		if !missing && slices.ContainsFunc(configs, func(c map[string]string) bool { return c[k] != configs[0][k] }) {
			keys = append(keys, k)
		}
	}
	return keys
}
