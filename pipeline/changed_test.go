package pipeline

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/internal/cliptest"
	"arf/train"
)

// A dataset that changes under an interrupted run: it's told, the run is done
// anew, and with the old data it goes on where it was.
func TestADatasetThatChangesLosesNothing(t *testing.T) {
	dir := prepare(t)
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	sets := func(name string) []string {
		return []string{"name=" + name, "methods=[flyp]", "train.epochs=4", "train.checkpoint_every=1"}
	}
	// run trains up to a step, 0 for the end, and gives the first step that it did.
	run := func(name string, upTo int) (first int) {
		t.Helper()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		o := Options{Training: func(string, int) func(train.Metrics) {
			return func(m train.Metrics) {
				if first == 0 {
					first = m.Step
				}
				if m.Step == upTo {
					cancel()
				}
			}
		}}
		if err := Run(ctx, load(t, dir, sets(name)...), Finetune, o); (err != nil || upTo > 0) && (upTo == 0 || !errors.Is(err, context.Canceled)) {
			t.Fatal(err)
		}
		return first
	}
	weights := func(name string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, "runs", name, "train/flyp/seed-0/model/model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	run("whole", 0)
	run("cut", 3)
	if log.Len() > 0 {
		t.Errorf("a warning without cause: %s", &log)
	}
	more := filepath.Join(dir, "train", "red", "9.png")
	write(t, more, cliptest.Picture(t, "red", "disc", 901))
	if first := run("cut", 2); first != 1 {
		t.Errorf("with other data it went on at step %d", first)
	}
	for _, want := range []string{"the data changed", "data=finetune", "images=19", "before=18", "set aside", filepath.Join("train", "flyp", "before-seed-0-")} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %q in\n%s", want, &log)
		}
	}
	if err := os.Remove(more); err != nil {
		t.Fatal(err)
	}
	if first := run("cut", 0); first != 4 {
		t.Errorf("with the old data again it went on at step %d, want 4", first)
	}
	if weights("cut") != weights("whole") {
		t.Error("the weights differ from an uninterrupted run's")
	}
	// Now the other data's is aside, and only that.
	write(t, more, cliptest.Picture(t, "red", "disc", 901))
	if first := run("cut", 0); first != 3 {
		t.Errorf("with the other data again it went on at step %d, want 3", first)
	}
	if weights("cut") == weights("whole") {
		t.Error("other data, and the same weights")
	}
	if kept, _ := filepath.Glob(filepath.Join(dir, "runs/cut/train/flyp/*")); len(kept) != 2 {
		t.Errorf("kept are %q", kept)
	}
}
