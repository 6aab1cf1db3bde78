package checkpoint

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// In a TorchScript archive, the code of a class says which of its attributes
// are weights:
//
//	class Linear(Module):
//	  __parameters__ = ["weight", "bias", ]
//	  __buffers__ = []
var (
	classLine     = regexp.MustCompile(`(?m)^class (\w+)`)
	attributeLine = regexp.MustCompile(`(?m)^  __(?:parameters|buffers)__ = \[([^\]\n]*)\]`)
	quoted        = regexp.MustCompile(`"([^"\n]*)"`)
)

// declared gives the parameters and buffers of each class, nil where the
// archive has no code, as torch.save writes it.
func (a *archive) declared() (map[string][]string, error) {
	var files []string
	prefix := a.folder + "code/"
	for name := range a.entries {
		if strings.HasPrefix(name, prefix) && strings.HasSuffix(name, ".py") {
			files = append(files, name)
		}
	}
	if files == nil {
		return nil, nil
	}
	slices.Sort(files)
	classes := map[string][]string{}
	left := int64(maxCodeBytes)
	for _, name := range files {
		code, err := a.read(strings.TrimPrefix(name, a.folder), left)
		if err != nil {
			return nil, err
		}
		left -= int64(len(code))
		module := strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(name, prefix), ".py"), "/", ".")
		for class, attributes := range parseClasses(string(code)) {
			classes[module+"."+class] = attributes
		}
	}
	return classes, nil
}

func parseClasses(code string) map[string][]string {
	classes := map[string][]string{}
	at := classLine.FindAllStringSubmatchIndex(code, -1)
	for i, c := range at {
		body := code[c[1]:]
		if i+1 < len(at) {
			body = code[c[1]:at[i+1][0]]
		}
		var attributes []string
		for _, line := range attributeLine.FindAllStringSubmatch(body, 2) {
			for _, name := range quoted.FindAllStringSubmatch(line[1], -1) {
				attributes = append(attributes, name[1])
			}
		}
		classes[code[c[2]:c[3]]] = attributes
	}
	return classes
}

// Limits of a module's tree; real ones have some thousand nodes.
const (
	maxModuleDepth = 64
	maxModuleNodes = 1 << 18
	maxNameBytes   = 1000
)

// moduleWalk collects the weights below a module by their paths, such as
// visual.conv1.weight.
type moduleWalk struct {
	declared map[string][]string
	refs     map[string]any
	nodes    int
}

// isModule tells modules that were saved whole, by torch.jit.save or
// torch.save, from other objects.
func isModule(v any) (*object, bool) {
	o, ok := v.(*object)
	if !ok {
		return nil, false
	}
	return o, strings.HasPrefix(o.class.module, "__torch__") || get(o.state, "_modules") != nil && get(o.state, "_parameters") != nil
}

func (w *moduleWalk) module(o *object, path string, depth int) error {
	if depth > maxModuleDepth || len(path) > maxNameBytes {
		return fmt.Errorf("module %.100s: over %d modules within each other; the file is damaged", path, maxModuleDepth)
	}
	if strings.HasPrefix(o.class.module, "__torch__") {
		return w.script(o, path, depth)
	}
	// A module of Python's: its attributes in three dictionaries.
	for _, p := range pairs(get(o.state, "_modules")) {
		if inner, ok := isModule(p.Value); ok {
			if err := w.child(inner, path, p.Key, depth); err != nil {
				return err
			}
		}
	}
	passing := get(o.state, "_non_persistent_buffers_set")
	for _, kind := range []string{"_parameters", "_buffers"} {
		for _, p := range pairs(get(o.state, kind)) {
			name, ok := p.Key.(string)
			if !ok || p.Value == nil || has(passing, name) {
				continue
			}
			if err := w.tensor(p.Value, path, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *moduleWalk) script(o *object, path string, depth int) error {
	attributes := w.declared[o.class.String()]
	for _, p := range pairs(o.state) {
		name, ok := p.Key.(string)
		if !ok {
			continue
		}
		if inner, ok := isModule(p.Value); ok {
			if err := w.child(inner, path, name, depth); err != nil {
				return err
			}
		} else if _, ok := p.Value.(*tensorRef); ok && (w.declared == nil || slices.Contains(attributes, name)) {
			if err := w.tensor(p.Value, path, name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *moduleWalk) child(o *object, path string, key any, depth int) error {
	name, ok := key.(string)
	if !ok {
		return fmt.Errorf("module %.100s: a part without a name; the file is damaged", path)
	}
	if w.nodes++; w.nodes > maxModuleNodes {
		return fmt.Errorf("over %d modules; the file is damaged", maxModuleNodes)
	}
	return w.module(o, path+name+".", depth+1)
}

func (w *moduleWalk) tensor(v any, path, name string) error {
	if w.nodes++; w.nodes > maxModuleNodes || len(path)+len(name) > maxNameBytes {
		return fmt.Errorf("tensor %.100s: over %d tensors, or a name of over %d bytes; the file is damaged", path+name, maxModuleNodes, maxNameBytes)
	}
	w.refs[path+name] = v
	return nil
}
