package train

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"arf/checkpoint"
	"arf/internal/atomicfile"
	"arf/nn"
	"arf/torch"
)

const (
	modelFile     = "model.safetensors"
	optimizerFile = "optimizer.safetensors"
	stateFile     = "state.json"
	// partialSuffix marks what a killed run was writing.
	partialSuffix = ".partial"
	// keepDefault checkpoints let a run fall back when the newest is damaged.
	keepDefault = 2
)

// state is a checkpoint's state.json, written last. Schedule, order of the data
// and every random draw are functions of the step.
type state struct {
	Step    int               `json:"step"`
	Updates int               `json:"updates"`           // steps less those skipped
	Skipped int               `json:"skipped,omitempty"` // the last steps, in a row
	Hash    string            `json:"hash"`              // of what the run was started with; see Options.Hash
	SHA256  map[string]string `json:"sha256"`            // of the other files
	// Machine is what rounds: with another, a resumed run has other last bits.
	Machine string `json:"machine,omitempty"`
	// Sum is of the fields above; checkpoints of earlier versions have none.
	Sum string `json:"state_sha256,omitempty"`
}

func (s state) sum() string {
	s.Sum = ""
	data, err := json.Marshal(s) // maps are written in order
	if err != nil {
		panic(err) // texts and numbers always encode
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func machine(d torch.Device) string {
	return fmt.Sprintf("libtorch %s, %s, %d threads", torch.Version(), d, torch.Threads())
}

func stepDir(dir string, step int) string { return filepath.Join(dir, fmt.Sprintf("step-%d", step)) }

// save writes checkpoints/step-N whole or not at all, and removes all but the last o.KeepCheckpoints.
func save(dir string, step, skipped int, o Options, params []nn.Param, opt *torch.AdamW, names [][]string) (err error) {
	final := stepDir(dir, step)
	partial := final + partialSuffix
	defer func() {
		if err != nil {
			// A full disk shouldn't stay full of half a checkpoint.
			_ = os.RemoveAll(partial)
			err = fmt.Errorf("save checkpoint %s: %w", final, err)
		}
	}()
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
	s := state{Step: step, Updates: opt.Steps, Skipped: skipped, Hash: o.Hash, SHA256: map[string]string{}, Machine: machine(o.Device)}
	for file, tensors := range map[string]checkpoint.Tensors{modelFile: model, optimizerFile: moments} {
		path := filepath.Join(partial, file)
		if err := checkpoint.WriteSafetensors(path, tensors, nil); err != nil {
			return err
		}
		sum, err := digest(path)
		if err != nil {
			return err
		}
		s.SHA256[file] = sum
	}
	s.Sum = s.sum()
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(partial, stateFile), data, 0o644); err != nil {
		return err
	}
	if err := os.RemoveAll(final); err != nil {
		return err
	}
	// Synced in this order, a machine that loses power has the new checkpoint or
	// those before.
	if err := syncFolder(partial); err != nil {
		return err
	}
	if err := os.Rename(partial, final); err != nil {
		return err
	}
	if err := syncFolder(dir); err != nil {
		return err
	}
	return prune(dir, step, cmp.Or(o.KeepCheckpoints, keepDefault))
}

// syncFolder has the names in a folder reach the disk.
func syncFolder(dir string) error {
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return err // some network file systems can't
	}
	return nil
}

// prune keeps the newest checkpoints up to step. Those of later steps are
// damaged: the run went on from one before them.
func prune(dir string, step, keep int) error {
	for _, n := range listSteps(dir) {
		if n <= step && keep > 0 {
			keep--
			continue
		}
		if err := os.RemoveAll(stepDir(dir, n)); err != nil {
			return err
		}
	}
	left, err := fs.Glob(os.DirFS(dir), "step-*"+partialSuffix)
	for _, name := range left {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, name)))
	}
	return err
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

var (
	errDifferentRun   = errors.New("different run")
	errDifferentModel = errors.New("different model")
)

// restore loads the newest checkpoint that is undamaged into the model and the
// optimiser, and returns its step and how many up to it were skipped in a row;
// 0 where there is none.
func restore(dir string, o Options, model any, opt *torch.AdamW, names [][]string) (step, skipped int, err error) {
	steps := listSteps(dir)
	for _, step := range steps {
		path := stepDir(dir, step)
		s, err := restoreFrom(path, o, model, opt, names)
		if err == nil {
			return step, s.Skipped, nil
		}
		if errors.Is(err, errDifferentRun) || errors.Is(err, errDifferentModel) {
			return 0, 0, err
		}
		slog.Warn("checkpoint is damaged, falling back to the one before", "checkpoint", path, "error", err)
	}
	if len(steps) > 0 {
		// Starting again would overwrite the metrics of what was done.
		return 0, 0, fmt.Errorf("none of the checkpoints in %s can be read; restore one, or delete the folder to start again", dir)
	}
	return 0, 0, nil
}

func restoreFrom(path string, o Options, model any, opt *torch.AdamW, names [][]string) (s state, err error) {
	data, err := os.ReadFile(filepath.Join(path, stateFile))
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%s: %w", stateFile, err)
	}
	if s.Sum != "" && s.Sum != s.sum() {
		return s, fmt.Errorf("%s: checksum does not match", stateFile)
	}
	if filepath.Base(path) != filepath.Base(stepDir("", s.Step)) || s.Updates < 0 || s.Skipped < 0 || s.Updates > s.Step-s.Skipped {
		return s, fmt.Errorf("%s: it is of step %d with %d updates", stateFile, s.Step, s.Updates)
	}
	if s.Hash != o.Hash {
		return s, fmt.Errorf("%s was made with another config or other data (%w); use another run folder, or delete it to start again", path, errDifferentRun)
	}
	for _, file := range []string{modelFile, optimizerFile} {
		if got, err := digest(filepath.Join(path, file)); err != nil {
			return s, err
		} else if got != s.SHA256[file] {
			return s, fmt.Errorf("%s: checksum does not match", file)
		}
	}
	// The files are as they were written, so what doesn't fit from here on is no
	// damage: an older checkpoint would not fit either.
	if err := load(path, s.Updates, model, opt, names); err != nil {
		return s, fmt.Errorf("resume from %s: %w (%w); use another run folder, or delete it to start again", path, err, errDifferentModel)
	}
	opt.Steps = s.Updates
	if now := machine(o.Device); s.Machine != "" && s.Machine != now {
		slog.Warn("the run goes on where sums are rounded otherwise, so its weights will differ in their last bits from an uninterrupted run's",
			"checkpoint", path, "before", s.Machine, "now", now)
	}
	return s, nil
}

func load(path string, updates int, model any, opt *torch.AdamW, names [][]string) error {
	weights, _, err := checkpoint.ReadSafetensors(filepath.Join(path, modelFile))
	if err != nil {
		return err
	}
	moments, _, err := checkpoint.ReadSafetensors(filepath.Join(path, optimizerFile))
	if err != nil {
		return err
	}
	if err := restoreMoments(moments, updates, opt, names); err != nil {
		return err
	}
	return nn.Import(model, weights)
}

func restoreMoments(moments checkpoint.Tensors, updates int, opt *torch.AdamW, names [][]string) (err error) {
	defer torch.Catch(&err)
	if updates == 0 {
		return nil // the optimiser has not begun
	}
	for i := range opt.Groups {
		g := &opt.Groups[i]
		g.M, g.V = nil, nil
		for j, name := range names[i] {
			for prefix, list := range map[string]*[]*torch.Tensor{"m.": &g.M, "v.": &g.V} {
				source, ok := moments[prefix+name]
				if want := g.Params[j].Shape(); !ok || !slices.Equal(source.Shape, want) {
					return fmt.Errorf("tensor %s%s has shape %v, the model needs %v", prefix, name, source.Shape, want)
				}
				*list = append(*list, source.ToTorch(g.Params[j].Device()).Keep())
			}
		}
	}
	return nil
}

func digest(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
