package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/report"
)

// The config's model can be one of the hub; the run names it as the config does.
func TestModelOfTheHub(t *testing.T) {
	dir := prepare(t)
	t.Setenv("HF_HUB_CACHE", filepath.Join(dir, "cache"))
	t.Setenv("HF_HUB_OFFLINE", "1")
	cfg := load(t, dir, "model=org/tiny", "methods=[zeroshot]")
	if err := cfg.CheckFiles(); err != nil {
		t.Fatal(err)
	}
	if err := Run(context.Background(), cfg, Evaluate, Options{}); err == nil || !strings.Contains(err.Error(), "org/tiny@main is not in the cache") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "runs")); err == nil {
		t.Error("a run folder without a model")
	}

	repo := filepath.Join(dir, "cache", "models--org--tiny")
	commit := strings.Repeat("a", 40)
	write(t, filepath.Join(repo, "refs", "main"), []byte(commit))
	if err := os.Mkdir(filepath.Join(repo, "snapshots"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "clip"), filepath.Join(repo, "snapshots", commit)); err != nil {
		t.Fatal(err)
	}
	if err := Run(context.Background(), cfg, Evaluate, Options{}); err != nil {
		t.Fatal(err)
	}
	info, err := readInfo(Dir(cfg))
	if err != nil {
		t.Fatal(err)
	}
	if want := (report.ModelInfo{Name: "org/tiny", SHA256: info.Model.SHA256}); info.Model != want || len(want.SHA256) != 64 {
		t.Errorf("model %+v", info.Model)
	}
}
