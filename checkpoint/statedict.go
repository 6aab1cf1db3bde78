package checkpoint

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nlpodyssey/gopickle/types"
)

// wrappers are the keys under which training checkpoints keep the weights.
var wrappers = []string{"state_dict", "model_state_dict", "model", "module"}

// weights finds the weights in what was pickled: a state dict, a training
// checkpoint with one, or a whole module. The values are *tensorRef, or
// something else that stands in a tensor's place.
func weights(root any, declared map[string][]string) (map[string]any, error) {
	for v, depth := root, 0; depth <= len(wrappers); depth++ {
		if o, ok := isModule(v); ok {
			w := moduleWalk{declared: declared, refs: map[string]any{}}
			if err := w.module(o, "", 0); err != nil {
				return nil, err
			}
			if len(w.refs) == 0 {
				return nil, fmt.Errorf("no weights in it: it holds a module %s without parameters", kind(v))
			}
			return w.refs, nil
		}
		if inner := wrapped(v); inner != nil {
			v = inner
			continue
		}
		refs := map[string]any{}
		for _, p := range pairs(v) {
			name, ok := p.Key.(string)
			if !ok || strings.HasSuffix(name, "_extra_state") { // whatever a module wants to keep
				continue
			}
			switch p.Value.(type) {
			case *tensorRef, *object:
				if len(name) > maxNameBytes {
					return nil, fmt.Errorf("tensor %.100s…: a name of over %d bytes; the file is damaged", name, maxNameBytes)
				}
				refs[name] = p.Value
			}
		}
		if !slices.ContainsFunc(slices.Collect(maps.Values(refs)), func(v any) bool { _, ok := v.(*tensorRef); return ok }) {
			return nil, notWeights(v)
		}
		return refs, nil
	}
	return nil, errors.New("weights within weights; the file is damaged")
}

// wrapped gives what a training checkpoint keeps under one of the wrappers.
func wrapped(v any) any {
	for _, key := range wrappers {
		inner := get(v, key)
		if _, ok := isModule(inner); ok || len(pairs(inner)) > 0 {
			return inner
		}
	}
	return nil
}

func notWeights(v any) error {
	var keys []string
	for _, p := range pairs(v) {
		if name, ok := p.Key.(string); ok && len(keys) < 10 {
			keys = append(keys, fmt.Sprintf("%.50q", name))
		}
	}
	if keys == nil {
		return fmt.Errorf("it holds %s in place of a model's weights; give a state dict, or a checkpoint with one under %s", kind(v), strings.Join(wrappers, ", "))
	}
	return fmt.Errorf("no weights in it: its keys are %s; give a state dict, or a checkpoint with one under %s", strings.Join(keys, ", "), strings.Join(wrappers, ", "))
}

// readTensors reads what weights found, in order of names.
func readTensors(refs map[string]any, r *tensorReader) (Tensors, error) {
	out := make(Tensors, len(refs))
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		ref, ok := refs[name].(*tensorRef)
		if !ok {
			return nil, fmt.Errorf("tensor %s is made by %s, which is not run; save tensors of PyTorch, such as a state dict", name, kind(refs[name]))
		}
		t, err := r.read(ref)
		if err != nil {
			return nil, fmt.Errorf("tensor %s: %w", name, err)
		}
		out[name] = t
	}
	return out, nil
}

// stripPrefixes takes off what DistributedDataParallel and torch.compile put
// before all names of a model.
func stripPrefixes(t Tensors) Tensors {
	for len(t) > 0 {
		prefix := ""
		for _, p := range []string{"module.", "_orig_mod."} {
			if all(t, p) {
				prefix = p
			}
		}
		if prefix == "" {
			break
		}
		stripped := make(Tensors, len(t))
		for name, tensor := range t {
			stripped[strings.TrimPrefix(name, prefix)] = tensor
		}
		t = stripped
	}
	return t
}

func all(t Tensors, prefix string) bool {
	for name := range t {
		if !strings.HasPrefix(name, prefix) {
			return false
		}
	}
	return true
}

// has tells whether a pickled set has a name in it. Protocol 2, which PyTorch
// uses, writes a set as a call with a list.
func has(set any, name string) bool {
	if o, ok := set.(*object); ok && o.class.name == "set" && len(o.args) == 1 {
		list, ok := o.args[0].(*types.List)
		return ok && slices.Contains(*list, any(name))
	}
	s, ok := set.(*types.Set)
	return ok && s.Has(name)
}
