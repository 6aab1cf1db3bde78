// Package corpus builds the icon corpus: real pictograms of @iconify/json, drawn at 64 px, split by
// design family into a pretraining corpus, a candidate pool, a finetuning set and tests of
// in-distribution, domain-shift and zero-shot accuracy. docs/benchmark.md has the rules.
//
//	manifest, err := corpus.Build(ctx, corpus.Options{Out: "data/icons", PackageDir: "corpus/draw/node_modules/@iconify/json"})
//
// The package is installed by `npm ci --prefix corpus/draw`.
package corpus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Options of Build. Only Out is required.
type Options struct {
	Out        string   // folder of the finished corpus
	PackageDir string   // unpacked @iconify/json; "" = $ARF_ICONIFY, else corpus/draw/node_modules/@iconify/json
	CacheDir   string   // drawn sets, for a build that goes on or is repeated; "" = <Out>.cache, removed at the end
	Workers    int      // drawing processes; 0 = one a core
	Sets       []string // only these of the sets with a role; none = all of them
	// Progress, if any, is told of every step; calls come from one goroutine at a time.
	Progress func(stage string, done, total int)
}

// ErrNoPackage says that @iconify/json isn't installed.
var ErrNoPackage = errors.New("@iconify/json isn't installed; run `npm ci --prefix corpus/draw`")

// FindPackage returns the folder of the installed @iconify/json: $ARF_ICONIFY, or node_modules under
// corpus/draw, here or in a parent folder.
func FindPackage() (string, error) {
	if dir := os.Getenv("ARF_ICONIFY"); dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "package.json")); err != nil {
			return "", fmt.Errorf("ARF_ICONIFY=%s holds no package.json: %w", dir, ErrNoPackage)
		}
		return dir, nil
	}
	here, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for @iconify/json: %w", err)
	}
	for {
		dir := filepath.Join(here, "corpus", "draw", "node_modules", "@iconify", "json")
		if _, err := os.Stat(filepath.Join(dir, "package.json")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(here)
		if parent == here {
			return "", ErrNoPackage
		}
		here = parent
	}
}

func (o Options) withDefaults() (Options, error) {
	if o.Out == "" {
		return o, errors.New("corpus: Options.Out is empty; name the folder to build")
	}
	if o.PackageDir == "" {
		dir, err := FindPackage()
		if err != nil {
			return o, err
		}
		o.PackageDir = dir
	}
	o.CacheDir = cmp.Or(o.CacheDir, filepath.Clean(o.Out)+".cache")
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
	return o, nil
}

// Build makes the corpus in opts.Out and returns its manifest. A corpus that is there already and was
// made from the same package by the same rules is left as it is; a build that was stopped goes on
// where it was: drawn sets and finished roles aren't done again.
func Build(ctx context.Context, opts Options) (*Manifest, error) {
	keepCache := opts.CacheDir != ""
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	rules, err := loadRules()
	if err != nil {
		return nil, err
	}
	if len(opts.Sets) > 0 {
		rules.keepSets(opts.Sets)
	}
	pkg, err := openPackage(opts.PackageDir, rules)
	if err != nil {
		return nil, err
	}
	inputs := pkg.hash(rules)
	if m, err := LoadManifest(opts.Out); err == nil && m.Inputs == inputs {
		return m, nil
	}
	icons, counts, err := pkg.read(ctx, rules, opts)
	if err != nil {
		return nil, err
	}
	icons, err = drawAll(ctx, icons, counts, opts)
	if err != nil {
		return nil, err
	}
	plan, err := assign(ctx, icons, rules, counts, opts)
	if err != nil {
		return nil, err
	}
	m := &Manifest{Package: rules.Package, Version: rules.Version, Inputs: inputs, Files: pkg.files, Dropped: counts}
	if err := write(ctx, plan, rules, m, opts); err != nil {
		return nil, err
	}
	if !keepCache {
		if err := os.RemoveAll(opts.CacheDir); err != nil {
			return nil, fmt.Errorf("removing the drawings that the corpus was built from: %w", err)
		}
	}
	return m, nil
}

// sortedKeys returns the keys of m in order.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
