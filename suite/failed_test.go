package suite

import (
	"path/filepath"
	"strings"
	"testing"

	"arf/dataset"
	"arf/internal/cliptest"
)

// TestFailedTest: a test that can't be measured doesn't keep the others from it.
func TestFailedTest(t *testing.T) {
	root := t.TempDir()
	cliptest.Folder(t, filepath.Join(root, "good"), []string{"disc", "bar"}, 2, 0)
	cliptest.Folder(t, filepath.Join(root, "lonely"), []string{"disc"}, 2, 0)
	var tests []Test
	for _, name := range []string{"lonely", "good"} {
		test, err := Own{Source: dataset.Source{Path: filepath.Join(root, name)}}.Open()
		if err != nil {
			t.Fatal(err)
		}
		tests = append(tests, test)
	}
	m := cliptest.Model(t, 3)
	if _, err := Run(t.Context(), m, tests, RunOptions{ModelName: "tiny", ModelHash: "abc"}); err == nil || !strings.Contains(err.Error(), `suite lonely: only the class "disc"`) {
		t.Errorf("accuracy over one class: %v", err)
	}
	var failed []error
	outcomes, err := Run(t.Context(), m, tests, RunOptions{ModelName: "tiny", ModelHash: "abc", Failed: func(err error) { failed = append(failed, err) }})
	if err != nil || len(failed) != 1 || len(outcomes) != 1 || outcomes[0].Test.Name() != "good" || outcomes[0].Class.Images != 4 {
		t.Errorf("%+v, failed %v, %v", outcomes, failed, err)
	}
}

func TestPoints(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00", -0.00001: "0.00", 0.00001: "0.00", -0.01: "-1.00", 0.1234: "+12.34", 0.1: "+10.00"} {
		if got := points(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
