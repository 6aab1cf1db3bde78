package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"arf/anchor"
	"arf/config"
	"arf/dataset"
	"arf/remote"
)

// ComparePairs is a Markdown table of what the retrieved pairs of runs consist
// of: a row for every pairs*.parquet and for the runs' pool. by names a property
// in the pool's metadata, such as "license", whose values become columns of
// shares; "" leaves them out.
func ComparePairs(ctx context.Context, by string, dirs ...string) (string, error) {
	type row struct {
		name string
		anchor.Composition
	}
	var pools, rows []row
	properties := map[string][]property{} // of each pool, by row
	for _, dir := range dirs {
		cfg, err := config.Load(filepath.Join(dir, "config.yaml"))
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("%s is no run folder; give one, such as runs/icons (arf run CONFIG makes it)", dir)
		} else if err != nil {
			return "", err
		}
		var values []property
		var of func(int) string
		if by != "" {
			source := fmt.Sprintf("%+v", cfg.Data.Pool)
			var ok bool
			if values, ok = properties[source]; !ok {
				if values, err = poolProperty(ctx, cfg.Data.Pool, by); err != nil {
					return "", fmt.Errorf("%s: data.pool: %w", dir, err)
				}
				properties[source] = values
				pools = append(pools, row{remote.RedactedText(cfg.Data.Pool.Path), anchor.Composition{Distinct: len(values), Shares: shares(values)}})
			}
			of = func(i int) string { return values[i].value }
		}
		paths, err := fs.Glob(os.DirFS(dir), "anchors/pairs*.parquet")
		if err != nil || len(paths) == 0 {
			return "", cmp.Or(err, fmt.Errorf("%s has no retrieved pairs; arf retrieve CONFIG finds them", dir))
		}
		for _, path := range paths {
			pairs, err := anchor.ReadPairs(filepath.Join(dir, path))
			if err != nil {
				return "", err
			}
			for _, p := range pairs {
				if by != "" && (p.Row >= int64(len(values)) || values[p.Row].key != p.PairKey) {
					return "", fmt.Errorf("%s: pair %s isn't row %d of data.pool any more; the pool changed, so run arf retrieve again", filepath.Join(dir, path), p.PairKey, p.Row)
				}
			}
			name := dir + " " + strings.TrimSuffix(filepath.Base(path), ".parquet")
			rows = append(rows, row{name, anchor.Compose(pairs, of)})
		}
	}
	rows = append(pools, rows...)
	all := map[string]float64{} // the most that any row has of a value
	for _, r := range rows {
		for value, share := range r.Shares {
			all[value] = max(all[value], share)
		}
	}
	values := slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Or(cmp.Compare(all[b], all[a]), strings.Compare(a, b)) })
	if len(values) > maxValues {
		values = values[:maxValues]
	}
	var b strings.Builder
	titles := []string{"pairs of", "pairs", "different", "different texts", "name the class"}
	for _, v := range values {
		titles = append(titles, cmp.Or(v, "no "+by))
	}
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(titles, " | "), strings.Repeat("---|", len(titles)))
	for i, r := range rows {
		if i < len(pools) {
			fmt.Fprintf(&b, "| pool %s | | %d | | |", r.name, r.Distinct)
		} else {
			fmt.Fprintf(&b, "| %s | %d | %d | %d | %.0f%% |", r.name, r.Pairs, r.Distinct, r.DistinctTexts, 100*r.NamesClass)
		}
		for _, v := range values {
			fmt.Fprintf(&b, " %.1f%% |", 100*r.Shares[v])
		}
		b.WriteString("\n")
	}
	return b.String(), nil
}

// maxValues bounds the columns; the most frequent values have them.
const maxValues = 12

// property is a pair's key and what the pool's metadata say of it.
type property struct{ key, value string }

// poolProperty reads a property of every pair of a pool.
func poolProperty(ctx context.Context, source config.Source, by string) ([]property, error) {
	pool, err := openPairs(ctx, source)
	if err != nil {
		return nil, err
	}
	values, known := make([]property, pool.Len()), map[string]bool{}
	found := false
	for i := range values {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		s, err := dataset.Describe(pool, i)
		if err != nil {
			if dataset.Gone(err) {
				return nil, err
			}
			continue // a broken pair, which no one retrieved
		}
		v, ok := s.Meta[by]
		values[i], found = property{s.Key, v}, found || ok
		for name := range s.Meta {
			known[name] = true
		}
	}
	if !found {
		return nil, fmt.Errorf("its metadata have no %q; they have: %s", by, cmp.Or(strings.Join(slices.Sorted(maps.Keys(known)), ", "), "nothing"))
	}
	return values, nil
}

func shares(values []property) map[string]float64 {
	out := map[string]float64{}
	for _, v := range values {
		out[v.value] += 1 / float64(len(values))
	}
	return out
}
