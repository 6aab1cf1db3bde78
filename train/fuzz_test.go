package train

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/nn"
)

// FuzzMetrics: whatever a killed run left, what is kept are lines of steps up to
// the checkpoint's, and keeping them again changes nothing.
func FuzzMetrics(f *testing.F) {
	f.Add([]byte("{\"step\":1,\"loss\":2}\n{\"step\":2,\"held_out_top1\":0.5}\n{\"step\":3}\n{\"st"), 2)
	f.Add([]byte("\x00\x00\n{\"step\":1e99}\n[]\n{\"step\":\"1\"}\n{\"Step\":1}\r\n\n"), 9)
	f.Fuzz(func(t *testing.T, content []byte, step int) {
		first, err := linesUpTo(bytes.NewReader(content), step)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(first)) {
			var m struct{ Step int }
			if err := json.Unmarshal([]byte(line), &m); err != nil || m.Step < 1 || m.Step > step || !bytes.Contains(content, []byte(line)) {
				t.Errorf("kept %q of a run at step %d (%v)", line, step, err)
			}
		}
		if second, err := linesUpTo(bytes.NewReader(first), step); err != nil || !bytes.Equal(first, second) {
			t.Errorf("kept %q, then %q (%v)", first, second, err)
		}
	})
}

// FuzzState: a state that isn't whole is an error, and changes no weight.
func FuzzState(f *testing.F) {
	dir := f.TempDir()
	task := newRegression()
	params := nn.Params(task.model)
	opt, names := optimizer(params, options("", 4))
	if err := save(dir, 3, 0, options("", 4), params, opt, names); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(dir, "step-3")
	whole, err := os.ReadFile(filepath.Join(path, stateFile))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"step":3,"hash":"a"}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(filepath.Join(path, stateFile), content, 0o644); err != nil {
			t.Fatal(err)
		}
		other := newRegression()
		opt, names := optimizer(nn.Params(other.model), options("", 4))
		before := other.weights()
		_, err := restoreFrom(path, options("", 4), other.model, opt, names)
		if err != nil && other.weights() != before {
			t.Error("a refused checkpoint changed the weights")
		}
		var s state
		if err == nil && (json.Unmarshal(content, &s) != nil || s.Step != 3 || opt.Steps != s.Updates || s.Updates > 3) {
			t.Errorf("took %q, and went on with %d updates", content, opt.Steps)
		}
	})
}
