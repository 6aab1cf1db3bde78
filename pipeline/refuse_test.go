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
	// Nothing in the config is secret.
	if info, err := os.Stat(filepath.Join(Dir(cfg), "config.yaml")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
	if !strings.Contains(log.String(), "there is no report") {
		t.Error(log.String())
	}
}

// A config with a signature is its owner's alone. The endpoint isn't asked here.
func TestConfigsWithSecretsAreTheOwners(t *testing.T) {
	dir := prepare(t)
	cfg := load(t, dir, "methods=[zeroshot]", "anchors.captions.captioner=", "anchors.captions.endpoint.model=m", "anchors.captions.endpoint.url=http://127.0.0.1:1/v1?sig=SIG")
	if err := Run(context.Background(), cfg, Captions, Options{}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(Dir(cfg), "config.yaml")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
