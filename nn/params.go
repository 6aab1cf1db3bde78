// Package nn has the layers that the models are built of, and binds the fields
// of a model to named weights.
//
// A model is a struct whose fields are its layers. The tag `weight:"name"` of a
// field is its part of the weight's name; parts are joined by dots, entries of a
// slice by their index. So the struct is the architecture, and one walk serves
// loading, saving, initialising and optimising:
//
//	type Block struct {
//		LN1  *LayerNorm `weight:"layer_norm1"`
//		Attn *Attention `weight:"self_attn"`
//	}
package nn

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"arf/checkpoint"
	"arf/torch"
)

// Param is a named tensor of a model.
type Param struct {
	Name   string
	Tensor *torch.Tensor
	Buffer bool // a running statistic: saved, but not trained
	Decay  bool // weight decay applies: matrices and kernels, not biases, norms or scales
}

// Params lists a model's tensors in the order of its fields; nil fields are
// left out. Tags may end in ",buffer" or ",nodecay".
func Params(model any) []Param {
	var params []Param
	walk(reflect.ValueOf(model), "", "", &params)
	return params
}

func walk(v reflect.Value, name, options string, params *[]Param) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		if t, ok := reflect.TypeAssert[*torch.Tensor](v); ok {
			*params = append(*params, Param{
				Name: name, Tensor: t,
				Buffer: strings.Contains(options, "buffer"),
				Decay:  len(t.Shape()) > 1 && !strings.Contains(options, "nodecay"),
			})
			return
		}
		walk(v.Elem(), name, options, params)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			walk(v.Index(i), join(name, strconv.Itoa(i)), options, params)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			tag, ok := field.Tag.Lookup("weight")
			if !ok || !field.IsExported() {
				continue
			}
			part, rest, _ := strings.Cut(tag, ",")
			walk(v.Field(i), join(name, part), rest, params)
		}
	}
}

func join(name, part string) string {
	if name == "" || part == "" {
		return name + part
	}
	return name + "." + part
}

// Export copies a model's tensors to the host.
func Export(model any) checkpoint.Tensors {
	tensors := checkpoint.Tensors{}
	for _, p := range Params(model) {
		tensors[p.Name] = checkpoint.FromTorch(p.Tensor)
	}
	return tensors
}

// TensorError is what is wrong with a tensor of a checkpoint.
type TensorError struct{ Name, Problem string }

func (e *TensorError) Error() string { return "tensor " + e.Name + " " + e.Problem }

func tensorError(name, format string, args ...any) error {
	return &TensorError{Name: name, Problem: fmt.Sprintf(format, args...)}
}

// Import overwrites a model's tensors. A missing, an extra or a wrongly shaped
// tensor, and a NaN or infinite weight, is a *TensorError; then the model may
// be half overwritten.
func Import(model any, tensors checkpoint.Tensors) error {
	params := Params(model)
	known := make(map[string]bool, len(params))
	for _, p := range params {
		known[p.Name] = true
	}
	for _, name := range tensors.Names() {
		if !known[name] {
			return tensorError(name, "is not part of this architecture")
		}
	}
	for _, p := range params {
		source, ok := tensors[p.Name]
		if !ok {
			return tensorError(p.Name, "is missing")
		}
		if want := p.Tensor.Shape(); torch.Elements(want) != torch.Elements(source.Shape) || (len(want) > 0 && len(source.Shape) > 0 && !slices.Equal(want, source.Shape)) {
			return tensorError(p.Name, "has shape %v, the architecture needs %v", source.Shape, want)
		}
		finite := true
		torch.Scope(func() {
			torch.NoGrad(func() {
				t := source.ToTorch(p.Tensor.Device())
				finite = t.Cast(torch.Float32).AllFinite()
				p.Tensor.Copy_(t.Reshape(p.Tensor.Shape()...))
			})
		})
		if !finite {
			return tensorError(p.Name, "holds NaN or infinite values")
		}
	}
	return nil
}

// Move puts a model's tensors on device d.
func Move(model any, d torch.Device) {
	move(reflect.ValueOf(model), d)
}

func move(v reflect.Value, d torch.Device) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return
		}
		if t, ok := reflect.TypeAssert[*torch.Tensor](v); ok {
			if t.Device() != d {
				v.Set(reflect.ValueOf(t.ToDevice(d).Keep()))
			}
			return
		}
		move(v.Elem(), d)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			move(v.Index(i), d)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Field(i)
			if _, ok := field.Tag.Lookup("weight"); ok && field.IsExported() {
				move(v.Field(i), d)
			}
		}
	}
}
