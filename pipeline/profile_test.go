package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"arf/profile"
)

// A profile measures steps of the first method that trains, with its anchors,
// and leaves no model.
func TestProfile(t *testing.T) {
	dir := prepare(t)
	cfg := load(t, dir, "methods=[zeroshot, arf]", "train.grad_clip=1")
	var table bytes.Buffer
	if err := Run(context.Background(), cfg, Finetune, Options{ProfileSteps: 4, Out: &table}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(ProfilePath(cfg))
	if err != nil {
		t.Fatal(err)
	}
	var r profile.Report
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	sum, gflop := 0.0, map[string]float64{}
	for _, p := range r.Phases {
		sum += p.Seconds
		gflop[p.Name] = p.GFLOP
	}
	if r.Method != "arf" || r.Steps != 4 || r.Samples != 8 || math.Abs(sum-r.StepSeconds) > 0.05*r.StepSeconds || r.PeakMemoryBytes == 0 {
		t.Errorf("%+v, phases together %g s", r, sum)
	}
	// Twice the forward pass's FLOPs, less those of gradients that nobody needs.
	forward := gflop["image tower"] + gflop["text tower"]
	if ratio := gflop["backward"] / forward; ratio < 1.5 || ratio > 2.1 {
		t.Errorf("backward has %.2f times forward's FLOPs: %v", ratio, gflop)
	}
	for _, phase := range []string{"data wait", "pixels", "loss", "gradient norm", "optimiser"} {
		if _, ok := gflop[phase]; !ok || !strings.Contains(table.String(), phase) {
			t.Errorf("no phase %q", phase)
		}
	}
	if _, err := os.Stat(filepath.Join(Dir(cfg), "train")); !os.IsNotExist(err) {
		t.Errorf("a profile left a train folder: %v", err)
	}
	cfg = load(t, dir, "methods=[zeroshot]")
	if err := Run(context.Background(), cfg, Finetune, Options{ProfileSteps: 1}); err == nil || !strings.Contains(err.Error(), "--method") {
		t.Errorf("without a method that trains: %v", err)
	}
}
