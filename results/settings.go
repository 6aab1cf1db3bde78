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
	var b strings.Builder
	b.WriteString(header(append(slices.Clone(keys), "method", "models", "ID", "average shift", "zero-shot", "mean of the three")...))
	var before string
	for i, t := range runs {
		for _, method := range t.Methods {
			if isWise(method) {
				continue
			}
			var row strings.Builder
			row.WriteString("|")
			for _, k := range keys {
				value := configs[i][k]
				if method == report.Pretrained {
					value = "" // whatever the setting
				}
				fmt.Fprintf(&row, " %s |", value)
			}
			fmt.Fprintf(&row, " %s | %d |", method, len(t.models[method]))
			sum := 0.0
			for _, axis := range axes {
				s := t.Score(method, t.on(axis))
				fmt.Fprintf(&row, " %s |", s)
				sum += s.Mean / float64(len(axes))
			}
			fmt.Fprintf(&row, " %s |\n", points(sum))
			if line := row.String(); method != report.Pretrained || line != before {
				b.WriteString(line)
				if method == report.Pretrained {
					before = line
				}
			}
		}
	}
	return b.String(), nil
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
	if tree, ok := v.(map[string]any); ok {
		for k, value := range tree {
			flatten(to, strings.TrimPrefix(prefix+"."+k, "."), value)
		}
		return
	}
	to[prefix] = fmt.Sprint(v)
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
		if slices.ContainsFunc(configs, func(c map[string]string) bool { return c[k] != configs[0][k] }) {
			keys = append(keys, k)
		}
	}
	return keys
}
