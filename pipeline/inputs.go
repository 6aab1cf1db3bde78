package pipeline

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"arf/config"
	"arf/eval"
	"arf/internal/atomicfile"
	"arf/remote"
)

// inputs are what a step's result is made from, in the order of its hash. Their
// names are for people: a key of the config, a whole section of it, or contentOf
// something, whose value is a hash that tells nobody anything.
type inputs []input

type input struct {
	name  string
	value any
}

const contentOf = "content of "

func (in *inputs) add(name string, value any) { *in = append(*in, input{name, value}) }

// hash identifies the inputs of a step; names don't count.
func (in inputs) hash(step string) string {
	parts := []any{step}
	for _, i := range in {
		parts = append(parts, i.value)
	}
	return hash(parts...)
}

// texts are the inputs as people read them, sections key by key, without secrets.
func (in inputs) texts() map[string]string {
	out := map[string]string{}
	for _, i := range in {
		value := i.value
		if classes, ok := value.([]eval.Class); ok {
			value = prompts(classes)
		}
		maps.Copy(out, config.Settings(i.name, value))
	}
	for key, text := range out {
		out[key] = remote.RedactedText(text)
	}
	return out
}

// inputsFile has the texts of what a step in its folder was begun from.
const inputsFile = ".inputs" // without .json, as results have it

func (in inputs) save(dir string) error {
	data, err := json.MarshalIndent(in.texts(), "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(dir, inputsFile), data, 0o644); err != nil {
		return fmt.Errorf("write what a step is made from: %w", err)
	}
	return nil
}

// changes names the inputs that aren't those that the step in dir was begun
// from, with the old and the new value; "" where there are none, or dir doesn't
// tell.
func (in inputs) changes(dir string) string {
	data, err := os.ReadFile(filepath.Join(dir, inputsFile))
	var before map[string]string
	if err != nil || json.Unmarshal(data, &before) != nil {
		return ""
	}
	now := in.texts()
	names := maps.Clone(before)
	maps.Copy(names, now)
	var changes []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, had := before[name]
		is, has := now[name]
		switch {
		case was == is, !had && unset(is), !has && unset(was): // the latter: a key that only another version has
		case strings.HasPrefix(name, contentOf):
			changes = append(changes, name)
		default:
			from, to := shorten(was, had), shorten(is, has)
			if from == to { // in what is cut off
				changes = append(changes, name)
				continue
			}
			changes = append(changes, fmt.Sprintf("%s: %s → %s", name, from, to))
		}
	}
	const most = 10
	if more := len(changes) - most; more > 1 {
		changes = append(changes[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(changes, "; ")
}

// unset tells whether a text is of a zero value.
func unset(text string) bool { return slices.Contains([]string{"", "0", "false", "[]", "map[]"}, text) }

// shorten makes a value fit into a message.
func shorten(text string, known bool) string {
	const most = 80
	switch runes := []rune(text); {
	case !known || text == "":
		return "none"
	case len(runes) > most:
		return string(runes[:most-1]) + "…"
	}
	return text
}
