package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/anchor"
)

// A BLIP of the hub captions a run, by search and with a prompt; the run names
// it as the config does.
func TestCaptionsOfBLIP(t *testing.T) {
	dir := prepare(t)
	t.Setenv("HF_HUB_CACHE", filepath.Join(dir, "cache"))
	t.Setenv("HF_HUB_OFFLINE", "1")
	cfg := load(t, dir, "anchors.captions.captioner=org/blip", "anchors.captions.temperature=0", "anchors.captions.beams=3",
		"anchors.captions.per_image=2", "anchors.captions.prompt=a picture of", "anchors.captions.max_length=6")
	if err := cfg.CheckFiles(); err != nil {
		t.Fatal(err)
	}
	if err := Run(context.Background(), cfg, Captions, Options{}); err == nil || !strings.Contains(err.Error(), "anchors.captions.captioner") {
		t.Errorf("without the captioner: %v", err)
	}
	repo := filepath.Join(dir, "cache", "models--org--blip")
	commit := strings.Repeat("b", 40)
	write(t, filepath.Join(repo, "refs", "main"), []byte(commit))
	if err := os.CopyFS(filepath.Join(repo, "snapshots", commit), os.DirFS("../captioner/testdata/blip/base")); err != nil {
		t.Fatal(err)
	}
	if err := Run(context.Background(), cfg, Captions, Options{}); err != nil {
		t.Fatal(err)
	}
	records, err := anchor.ReadCaptions(filepath.Join(Dir(cfg), "anchors", "captions.jsonl"))
	if err != nil || len(records) != 18 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, r := range records {
		if r.Captioner != "org/blip" || len(r.Captions) != 2 || r.Captions[0].Text == r.Captions[1].Text {
			t.Errorf("%+v", r)
		}
		for _, c := range r.Captions {
			if !strings.HasPrefix(c.Text, "a picture of") || !(c.LogProb < 0) {
				t.Errorf("%s: %+v", r.Key, c)
			}
		}
	}
}
