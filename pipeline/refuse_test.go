package pipeline

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/internal/cliptest"
)

func TestOneClassIsRefused(t *testing.T) {
	dir := prepare(t)
	cliptest.Folder(t, filepath.Join(dir, "one"), []string{"disc"}, 2, 0)
	err := Run(context.Background(), load(t, dir, "data.finetune.path="+filepath.Join(dir, "one"), "data.validation.path="), Finetune, Options{})
	if err == nil || !strings.Contains(err.Error(), `data.finetune`) || !strings.Contains(err.Error(), `one class, "disc"`) {
		t.Error(err)
	}
}

// Whoever wants a model and nothing else gets it without an error.
func TestARunWithoutTestSets(t *testing.T) {
	dir := prepare(t)
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	cfg := load(t, dir, "methods=[flyp]", "data.validation.path=", "eval.suites=[]", "eval.drift.samples=0", "train.epochs=1")
	if err := Run(context.Background(), cfg, "", Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(Dir(cfg), "train/flyp/seed-0/model/model.safetensors")); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "there is no report") {
		t.Error(log.String())
	}
}
