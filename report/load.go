package report

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"arf/remote"
)

// Load reads a run folder. Missing parts are no error; a file that is there and
// can't be understood is one, which names the file and the field. A folder
// without any evaluation gives ErrNoResults.
func Load(runDir string) (*Run, error) {
	r, err := newRun(runDir)
	if err != nil {
		return nil, err
	}
	for _, load := range []func() error{r.loadInfo, r.loadEvals, r.loadTraining, r.loadAnchors} {
		if err := load(); err != nil {
			return nil, fmt.Errorf("report: %w", err)
		}
	}
	if len(r.evals) == 0 {
		return nil, fmt.Errorf("report: %s: %w; run arf eval first", filepath.Join(runDir, "eval"), ErrNoResults)
	}
	r.usePretrainedOfWiSE()
	r.order()
	r.warn()
	return r, nil
}

func newRun(dir string) (*Run, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return &Run{
		Dir: filepath.Clean(dir), Name: filepath.Base(abs), leastCaption: -1,
		evals:    map[evalKey]map[int]*Evaluation{},
		drifts:   map[string]map[int]*Drift{},
		training: map[string]map[int]*training{},
	}, nil
}

func (r *Run) loadInfo() error {
	path := filepath.Join(r.Dir, "run.json")
	data, err := os.ReadFile(path)
	if err == nil {
		err = decode(path, 1, data, &r.Info)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	config, err := os.ReadFile(filepath.Join(r.Dir, "config.yaml"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	r.Config = remote.RedactedText(string(config)) // reports are passed on
	r.named = readNamed(r.Config)
	return nil
}

func (r *Run) loadEvals() error {
	for _, pattern := range []string{"eval/*/seed-*/*.json", "eval/*/seed-*/wise-*/*.json"} {
		files, err := fs.Glob(os.DirFS(r.Dir), pattern)
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := r.loadEval(file); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Run) loadEval(file string) error {
	name := filepath.Join(r.Dir, filepath.FromSlash(file))
	parts := strings.Split(file, "/") // eval, method, seed, [wise], suite.json
	method := parts[1]
	seed, err := folderNumber(name, parts[2], "seed-", strconv.Atoi)
	if err != nil {
		return err
	}
	if !r.named.has(method, seed) {
		r.unnamed++
		return nil
	}
	key := evalKey{method: method, alpha: 1, suite: strings.TrimSuffix(parts[len(parts)-1], ".json")}
	if len(parts) == 5 {
		parse := func(s string) (float64, error) { return strconv.ParseFloat(s, 64) }
		if key.alpha, err = folderNumber(name, parts[3], "wise-", parse); err != nil {
			return err
		}
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if key.suite == "drift" {
		if len(parts) == 5 {
			return nil
		}
		drift, err := decodeDrift(name, data)
		if err == nil {
			put(r.drifts, method, seed, drift)
		}
		return err
	}
	e := &Evaluation{file: name}
	if err := decode(name, 1, data, e); err != nil {
		return err
	}
	if err := e.check(); err != nil {
		return err
	}
	// The files' places win over what they say: a folder is renamed more often
	// than a JSON file is edited.
	if e.Method != "" && e.Method != method {
		r.warnf("%s says method %q; the folder's name is used.", name, e.Method)
	}
	if old := r.evals[key][seed]; old != nil {
		return nil // wise-1 repeats the finetuned model, which came first
	}
	put(r.evals, key, seed, e)
	return nil
}

func folderNumber[T any](path, name, prefix string, parse func(string) (T, error)) (T, error) {
	n, err := parse(strings.TrimPrefix(name, prefix))
	if err != nil {
		return n, fmt.Errorf("%s: folder %q: want %s and a number", path, name, prefix)
	}
	return n, nil
}

func put[K comparable, V any](m map[K]map[int]V, k K, seed int, v V) {
	if m[k] == nil {
		m[k] = map[int]V{}
	}
	m[k][seed] = v
}

// usePretrainedOfWiSE takes the curves' alpha 0 for the pretrained model where
// it has no evaluation of its own.
func (r *Run) usePretrainedOfWiSE() {
	var keys []evalKey
	for key := range r.evals {
		if key.alpha == 0 {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b evalKey) int { return compareMethods(a.method, b.method) })
	for _, key := range keys {
		own := evalKey{Pretrained, 1, key.suite}
		if seeds := sortedKeys(r.evals[key]); r.evals[own] == nil {
			put(r.evals, own, seeds[0], r.evals[key][seeds[0]])
		}
	}
}

// order fills Methods, Seeds and Suites.
func (r *Run) order() {
	suites := map[string]Suite{}
	for key, bySeed := range r.evals {
		if !slices.Contains(r.Methods, key.method) {
			r.Methods = append(r.Methods, key.method)
		}
		for seed := range bySeed {
			if key.method != Pretrained && !slices.Contains(r.Seeds, seed) {
				r.Seeds = append(r.Seeds, seed)
			}
		}
		suites[key.suite] = Suite{Name: key.suite}
	}
	slices.SortFunc(r.Methods, compareMethods)
	slices.Sort(r.Seeds)
	for name := range suites {
		r.Suites = append(r.Suites, r.describe(name))
	}
	slices.SortFunc(r.Suites, func(a, b Suite) int {
		return cmp.Or(
			cmp.Compare(slices.Index(roles, a.Role), slices.Index(roles, b.Role)),
			cmp.Compare(r.dataIndex(a.Name), r.dataIndex(b.Name)),
			strings.Compare(a.Name, b.Name))
	})
}

// describe takes what is known of a test set from its first evaluation.
func (r *Run) describe(suite string) Suite {
	s := Suite{Name: suite}
	for key, bySeed := range r.evals {
		if key.suite != suite {
			continue
		}
		for _, e := range bySeed {
			if s.Role == "" || slices.Index(roles, e.Role) < slices.Index(roles, s.Role) {
				s.Role = e.Role
			}
			if len(e.Templates) > len(s.Templates) {
				s.Templates = e.Templates
			}
			s.Images, s.Classes = max(s.Images, e.Images), max(s.Classes, e.Classes)
		}
	}
	return s
}

// dataIndex is the place of a test set in run.json's data, so that the report
// keeps the order of the config.
func (r *Run) dataIndex(suite string) int {
	for i, d := range r.Info.Data {
		if d.Role == suite || path.Base(d.Role) == suite || path.Base(d.Path) == suite {
			return i
		}
	}
	return len(r.Info.Data)
}

// warnf notes a warning, with paths as seen from the run folder.
func (r *Run) warnf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.Warnings = append(r.Warnings, strings.ReplaceAll(text, r.Dir+string(filepath.Separator), ""))
}

// warn notes what makes numbers missing or not comparable.
func (r *Run) warn() {
	if r.unnamed > 0 {
		r.warnf("The folder has %d more evaluations, of methods or seeds that config.yaml doesn't name; they are left out.", r.unnamed)
	}
	if !slices.Contains(r.Methods, Pretrained) {
		r.warnf("The pretrained model (%s) was not evaluated: nothing can be said about losses. Add %s to methods and run arf eval again.", Pretrained, Pretrained)
	}
	for _, method := range r.Methods {
		for _, s := range r.Suites {
			bySeed := r.evals[evalKey{method, 1, s.Name}]
			if len(bySeed) == 0 {
				r.warnf("%s was not evaluated on %s.", method, s.Name)
				continue
			}
			for _, seed := range sortedKeys(bySeed) {
				e := bySeed[seed]
				if e.Metrics.Acc1 == nil {
					r.warnf("%s: field metrics.acc1 is not a number; %s, seed %d, has no accuracy on %s.", e.file, method, seed, s.Name)
				}
				if e.Role != s.Role {
					r.warnf("%s says role %q; other files say %q.", e.file, e.Role, s.Role)
				}
				if e.Images != s.Images || e.Classes != s.Classes {
					r.warnf("%s: %d images of %d classes; other models saw %d of %d on %s. Their numbers are not comparable.",
						e.file, e.Images, e.Classes, s.Images, s.Classes, s.Name)
				}
			}
		}
	}
}

func sortedKeys[V any](m map[int]V) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
