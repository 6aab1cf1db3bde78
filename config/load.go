package config

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Error is one mistake in a configuration.
type Error struct {
	Where   string // "file.yaml:12", `--set "train.lr=x"`, or the file alone when the key isn't in it
	Key     string // "train.lr"; empty when the text isn't YAML
	Problem string // what is wrong and how to mend it
}

func (e *Error) Error() string {
	if e.Key == "" {
		return e.Where + ": " + e.Problem
	}
	return e.Where + ": " + e.Key + ": " + e.Problem
}

// Load reads the file over the defaults, applies the overrides ("train.lr=1e-5") in their order, and validates.
// All mistakes are reported together, joined; each is an *Error.
func Load(path string, overrides ...string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	return Parse(path, data, overrides...)
}

// Parse is Load for a text in memory; name stands for the file in messages.
func Parse(name string, data []byte, overrides ...string) (*Config, error) {
	c := Default()
	c.origin = map[string]string{"": name}
	if err := decode(reflect.ValueOf(&c).Elem(), c.origin, name, data, overrides); err != nil {
		return nil, err
	}
	c.Anchors.Pairs.Mix.complete(c.origin)
	// Only now: values that weren't understood are still at their defaults, and judging those would confuse.
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &c, nil
}

// complete sets the weights that weren't given to 0 where others were: {class_text: 1} is that and nothing else.
func (m *Mix) complete(origin map[string]string) {
	const section = "anchors.pairs.mix"
	v := reflect.ValueOf(m).Elem()
	given := func(name string) bool { return origin[join(section, name)] != "" }
	names := fieldNames(v.Type())
	if !slices.ContainsFunc(names, given) {
		return
	}
	for _, name := range names {
		if weight, ok := fieldByName(v, name); ok && !given(name) {
			weight.SetFloat(0)
		}
	}
}

// Decode reads YAML as strictly as Parse into v, a pointer to any struct of texts, numbers, booleans, structs and
// slices of these, which holds the defaults.
func Decode(name string, data []byte, v any, overrides ...string) error {
	return decode(reflect.ValueOf(v).Elem(), nil, name, data, overrides)
}

func decode(v reflect.Value, origin map[string]string, name string, data []byte, overrides []string) error {
	errs := []error{decodeYAML(v, origin, name, data)}
	for _, o := range overrides {
		errs = append(errs, set(v, origin, o))
	}
	return errors.Join(errs...)
}

func decodeYAML(v reflect.Value, origin map[string]string, name string, data []byte) error {
	root, err := parseYAML(data)
	if err != nil {
		where, problem := name, err.Error()
		if e, ok := errors.AsType[yaml.Error](err); ok {
			problem = "not valid YAML: " + e.GetMessage()
			if t := e.GetToken(); t != nil {
				where = fmt.Sprintf("%s:%d", name, t.Position.Line)
			}
		}
		return &Error{Where: where, Problem: problem}
	}
	d := decoder{root: v.Type(), origin: origin, where: func(n ast.Node) string {
		return fmt.Sprintf("%s:%d", name, n.GetToken().Position.Line)
	}}
	d.value(v, root, "")
	return errors.Join(d.errs...)
}

// parseYAML gives the root node, nil for an empty text.
func parseYAML(data []byte) (ast.Node, error) {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, err
	}
	if len(file.Docs) > 1 {
		return nil, errors.New("more than one YAML document; a config is one")
	}
	if len(file.Docs) == 0 {
		return nil, nil
	}
	return file.Docs[0].Body, nil
}

// YAML writes every key with its value, so that it reads back as the same configuration.
func (c *Config) YAML() ([]byte, error) {
	data, err := yaml.MarshalWithOptions(c, yaml.IndentSequence(true))
	if err != nil {
		return nil, fmt.Errorf("write config: %w", err)
	}
	return data, nil
}
