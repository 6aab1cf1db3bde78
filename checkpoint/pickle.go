package checkpoint

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/nlpodyssey/gopickle/pickle"
	"github.com/nlpodyssey/gopickle/types"
)

// pickled is what a pickle holds.
type pickled struct {
	root     any
	length   int                 // of the pickle, in bytes
	storages map[string]*storage // by key; where they are is for others to find
}

// unpickle reads the first pickle in data. It runs nothing: functions that
// rebuild tensors give *tensorRef, and everything else that would be called
// gives an inert *object.
func unpickle(data []byte) (p pickled, err error) {
	if p.length, err = scanPickle(data); err != nil {
		return pickled{}, err
	}
	defer func() {
		// The library takes objects of the wrong kind for granted, such as a
		// list as a key.
		if cause := recover(); cause != nil {
			p, err = pickled{}, fmt.Errorf("a damaged pickle: %.200s", fmt.Sprint(cause))
		}
	}()
	p.storages = map[string]*storage{}
	u := pickle.NewUnpickler(bytes.NewReader(data[:p.length]))
	u.FindClass = findClass
	u.PersistentLoad = func(id any) (any, error) {
		s, err := persistent(id)
		if err == nil && p.storages[s.key] == nil {
			p.storages[s.key] = s
		}
		return s, err
	}
	if p.root, err = u.Load(); err != nil {
		return pickled{}, fmt.Errorf("a damaged pickle: %.200s", err.Error())
	}
	return p, nil
}

func findClass(module, name string) (any, error) {
	c := class{module, name}
	if e, ok := storageTypes[c.String()]; ok {
		return &e, nil
	}
	if f, ok := rebuilders[c.String()]; ok {
		return rebuilder(f), nil
	}
	return &c, nil
}

// class is any class or function that the pickle names.
type class struct{ module, name string }

func (c *class) String() string { return c.module + "." + c.name }

func (c *class) Call(args ...any) (any, error)  { return &object{class: c, args: args}, nil }
func (c *class) PyNew(args ...any) (any, error) { return &object{class: c, args: args}, nil }

// object is what the class would have made: its arguments and its state, for
// modules to be walked, and nothing else.
type object struct {
	class *class
	args  []any
	state any
}

func (o *object) Call(...any) (any, error)  { return &object{class: o.class}, nil }
func (o *object) PyNew(...any) (any, error) { return &object{class: o.class}, nil }
func (o *object) Set(any, any)              {}
func (o *object) Append(any)                {}
func (o *object) Add(any)                   {}
func (o *object) PySetState(state any) error {
	o.state = state
	return nil
}

// storage is the memory behind tensors, as the pickle tells of it.
type storage struct {
	key     string
	element element
	numel   int
}

// persistent tells a storage by its id, ("storage", type, key, location,
// elements), which is the only kind of persistent id in a checkpoint.
func persistent(id any) (*storage, error) {
	t, ok := id.(*types.Tuple)
	if !ok || t.Len() < 5 || t.Get(0) != "storage" {
		return nil, errors.New("a persistent id that is no storage")
	}
	var s storage
	switch c := t.Get(1).(type) {
	case *element:
		s.element = *c
	case *class:
		s.element = element{name: c.String()}
	default:
		return nil, errors.New("a storage without a type")
	}
	var isKey, isNumel bool
	s.key, isKey = t.Get(2).(string)
	s.numel, isNumel = t.Get(4).(int)
	if !isKey || !isNumel || s.numel < 0 {
		return nil, errors.New("a storage without a key or a size")
	}
	if t.Len() > 5 && t.Get(5) != nil {
		return nil, fmt.Errorf("storage %s is a view of another, as PyTorch before 0.4 wrote; load and save the file again with PyTorch 1.6 or later", s.key)
	}
	return &s, nil
}

// tensorRef is a tensor that isn't read yet: a view of a storage.
type tensorRef struct {
	storage       *storage
	element       element
	offset        int // elements
	shape, stride []int
	err           error // why it can't be read
}

// rebuilder makes tensors from their pickled parts, as the function of
// torch._utils of that name does.
type rebuilder func(args []any) (any, error)

// Call's errors wait for the tensor to be asked for, to be told with its name.
func (f rebuilder) Call(args ...any) (made any, _ error) {
	made, err := f(args)
	if err == nil {
		return made, nil
	}
	return &tensorRef{err: err}, nil
}

var rebuilders map[string]func(args []any) (any, error)

func init() { // rebuildFromType looks into the map itself
	rebuilders = map[string]func(args []any) (any, error){
		"torch._utils._rebuild_tensor":               rebuildTensor,
		"torch._utils._rebuild_tensor_v2":            rebuildTensor,
		"torch._utils._rebuild_tensor_v3":            rebuildTensorV3,
		"torch._utils._rebuild_parameter":            rebuildParameter,
		"torch._utils._rebuild_parameter_with_state": rebuildParameter,
		"torch._tensor._rebuild_from_type_v2":        rebuildFromType,
	}
}

// rebuildTensor has the arguments storage, offset, shape, stride, and in
// version 2 requires_grad, hooks, and bits to apply later.
func rebuildTensor(args []any) (any, error) {
	if len(args) < 4 {
		return nil, fmt.Errorf("a tensor of %d parts", len(args))
	}
	s, ok := args[0].(*storage)
	if !ok {
		return nil, errors.New("a tensor without a storage")
	}
	t := &tensorRef{storage: s, element: s.element}
	if t.offset, ok = args[1].(int); !ok {
		return nil, errors.New("a tensor without an offset")
	}
	var err error
	if t.shape, err = integers(args[2]); err != nil {
		return nil, fmt.Errorf("shape: %w", err)
	}
	if t.stride, err = integers(args[3]); err != nil {
		return nil, fmt.Errorf("strides: %w", err)
	}
	if len(args) > 6 {
		for _, bit := range pairs(args[6]) {
			if bit.Value == true {
				return nil, fmt.Errorf("a tensor that is kept as its %v", bit.Key)
			}
		}
	}
	return t, nil
}

// rebuildTensorV3 is for element types that have no storage type: the sixth
// argument is the type, the storage one of bytes.
func rebuildTensorV3(args []any) (any, error) {
	if len(args) < 7 {
		return nil, fmt.Errorf("a tensor of %d parts", len(args))
	}
	made, err := rebuildTensor(slices.Concat(args[:6], args[7:]))
	if err != nil {
		return nil, err
	}
	c, ok := args[6].(*class)
	if !ok {
		return nil, errors.New("a tensor without an element type")
	}
	t := made.(*tensorRef)
	t.element = element{name: c.String()}
	for _, e := range storageTypes {
		if e.name == c.String() {
			t.element = e
		}
	}
	return t, nil
}

// rebuildParameter has the tensor as its first argument.
func rebuildParameter(args []any) (any, error) {
	if len(args) == 0 {
		return nil, errors.New("a parameter without a tensor")
	}
	t, ok := args[0].(*tensorRef)
	if !ok {
		return nil, fmt.Errorf("a parameter made from %s", kind(args[0]))
	}
	return t, nil
}

// rebuildFromType has the arguments function, type, its arguments, state.
func rebuildFromType(args []any) (any, error) {
	if len(args) < 3 {
		return nil, fmt.Errorf("a tensor of %d parts", len(args))
	}
	f, isFunction := args[0].(rebuilder)
	inner, isTuple := args[2].(*types.Tuple)
	if !isFunction || !isTuple {
		return nil, fmt.Errorf("a tensor made by %s", kind(args[0]))
	}
	// A function that is its own argument would go on for ever.
	if inner.Len() > 0 {
		if _, nested := inner.Get(0).(rebuilder); nested {
			return nil, errors.New("a tensor made by a function of functions")
		}
	}
	return f(*inner)
}

func integers(v any) ([]int, error) {
	t, ok := v.(*types.Tuple)
	if !ok {
		return nil, fmt.Errorf("%s in place of a tuple", kind(v))
	}
	out := make([]int, t.Len())
	for i := range out {
		if out[i], ok = t.Get(i).(int); !ok {
			return nil, fmt.Errorf("%s in place of an integer", kind(t.Get(i)))
		}
	}
	return out, nil
}

// pairs gives the items of a dictionary, none of anything else.
func pairs(v any) []types.DictEntry {
	switch d := v.(type) {
	case *types.Dict:
		return *d
	case *types.OrderedDict:
		out := make([]types.DictEntry, 0, d.Len())
		for e := d.List.Front(); e != nil; e = e.Next() {
			entry := e.Value.(*types.OrderedDictEntry)
			out = append(out, types.DictEntry{Key: entry.Key, Value: entry.Value})
		}
		return out
	}
	return nil
}

// get gives the last value of a string key of a dictionary.
func get(v any, key string) any {
	var found any
	for _, p := range pairs(v) {
		if p.Key == key {
			found = p.Value
		}
	}
	return found
}

// kind names what an object is, for errors.
func kind(v any) string {
	switch o := v.(type) {
	case nil:
		return "None"
	case *object:
		return o.class.String()
	case *class:
		return o.String()
	case *element:
		return o.storage()
	case *types.Dict, *types.OrderedDict:
		return "a dictionary"
	case *types.List:
		return "a list"
	case *types.Tuple:
		return "a tuple"
	case *tensorRef:
		return "a tensor"
	case string:
		return "text"
	case int, float64, bool:
		return "a number"
	}
	return fmt.Sprintf("%T", v)
}
