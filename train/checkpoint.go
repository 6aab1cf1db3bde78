package train

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"arf/checkpoint"
	"arf/nn"
	"arf/torch"
)

const (
	modelFile     = "model.safetensors"
	optimizerFile = "optimizer.safetensors"
	stateFile     = "state.json"
)

// state is a checkpoint's state.json, written last.
type state struct {
	Step    int               `json:"step"`
	Updates int               `json:"updates"` // steps less those skipped
	Hash    string            `json:"hash"`    // of what the run was started with; see Options.Hash
	SHA256  map[string]string `json:"sha256"`
}

func stepDir(dir string, step int) string { return filepath.Join(dir, fmt.Sprintf("step-%d", step)) }

// save writes checkpoints/step-N whole or not at all, and removes all but the last keep.
func save(dir string, step int, hash string, params []nn.Param, opt *torch.AdamW, names [][]string, keep int) error {
	final := stepDir(dir, step)
	partial := final + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	model, moments := checkpoint.Tensors{}, checkpoint.Tensors{}
	for _, p := range params {
		model[p.Name] = checkpoint.FromTorch(p.Tensor)
	}
	for i, g := range opt.Groups {
		for j, name := range names[i] {
			if g.M != nil {
				moments["m."+name], moments["v."+name] = checkpoint.FromTorch(g.M[j]), checkpoint.FromTorch(g.V[j])
			}
		}
	}
	s := state{Step: step, Updates: opt.Steps, Hash: hash, SHA256: map[string]string{}}
	for file, tensors := range map[string]checkpoint.Tensors{modelFile: model, optimizerFile: moments} {
		path := filepath.Join(partial, file)
		if err := checkpoint.WriteSafetensors(path, tensors, nil); err != nil {
			return fmt.Errorf("save checkpoint %s: %w", final, err)
		}
		sum, err := digest(path)
		if err != nil {
			return err
		}
		s.SHA256[file] = sum
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(partial, stateFile), data, 0o644); err != nil {
		return fmt.Errorf("save checkpoint %s: %w", final, err)
	}
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	if err := os.Rename(partial, final); err != nil {
		return fmt.Errorf("save checkpoint %s: %w", final, err)
	}
	steps := listSteps(dir)
	for _, old := range steps[min(max(keep, 1), len(steps)):] {
		if err := os.RemoveAll(stepDir(dir, old)); err != nil {
			return err
		}
	}
	return nil
}

// listSteps gives the steps that have a checkpoint, the newest first.
func listSteps(dir string) []int {
	entries, _ := os.ReadDir(dir)
	var steps []int
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), "step-")); err == nil && e.IsDir() {
			steps = append(steps, n)
		}
	}
	slices.Sort(steps)
	slices.Reverse(steps)
	return steps
}

var errDifferentRun = errors.New("different run")

// restore loads the newest checkpoint that is undamaged into the model and the
// optimiser, and returns its step; 0 where there is none.
func restore(dir, hash string, model any, opt *torch.AdamW, names [][]string) (int, error) {
	for _, step := range listSteps(dir) {
		path := stepDir(dir, step)
		err := restoreFrom(path, hash, model, opt, names)
		if err == nil {
			return step, nil
		}
		if errors.Is(err, errDifferentRun) {
			return 0, err
		}
		slog.Warn("checkpoint is damaged, falling back to the one before", "checkpoint", path, "error", err)
	}
	return 0, nil
}

func restoreFrom(path, hash string, model any, opt *torch.AdamW, names [][]string) error {
	data, err := os.ReadFile(filepath.Join(path, stateFile))
	if err != nil {
		return err
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return fmt.Errorf("%s: %w", stateFile, err)
	}
	if s.Hash != hash {
		return fmt.Errorf("%s was made with another config or other data (%w); use another run folder, or delete it to start again", path, errDifferentRun)
	}
	for file, want := range s.SHA256 {
		if got, err := digest(filepath.Join(path, file)); err != nil {
			return err
		} else if got != want {
			return fmt.Errorf("%s: checksum does not match", file)
		}
	}
	weights, _, err := checkpoint.ReadSafetensors(filepath.Join(path, modelFile))
	if err != nil {
		return err
	}
	moments, _, err := checkpoint.ReadSafetensors(filepath.Join(path, optimizerFile))
	if err != nil {
		return err
	}
	if err := nn.Import(model, weights); err != nil {
		return err
	}
	opt.Steps = s.Updates
	torch.NoGrad(func() {
		for i := range opt.Groups {
			g := &opt.Groups[i]
			g.M, g.V = nil, nil
			for j, name := range names[i] {
				d := g.Params[j].Device()
				g.M = append(g.M, moments["m."+name].ToTorch(d).Keep())
				g.V = append(g.V, moments["v."+name].ToTorch(d).Keep())
			}
		}
	})
	return nil
}

func digest(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
