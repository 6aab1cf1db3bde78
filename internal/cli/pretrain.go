package cli

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"arf/dataset"
	"arf/pretrain"
	"arf/torch"
	"arf/train"

	"github.com/spf13/cobra"
)

func newPretrain(s *settings) *cobra.Command {
	c := &cobra.Command{
		Use:   "pretrain",
		Short: "Train the small models that are shipped",
	}
	c.AddCommand(newPretrainCLIP(s), newPretrainCaptioner(s))
	return c
}

func newPretrainCLIP(s *settings) *cobra.Command {
	var out, precision string
	var steps, stopAfter int
	var seed uint64
	c := &cobra.Command{
		Use:   "clip CONFIG",
		Short: "Pretrain a small CLIP on image-text pairs",
		Long: `Pretrain a small CLIP on image-text pairs. The run can be stopped at any time;
the same command goes on with it. The model is written to OUT/model, with its
accuracy on held-out pairs and the training's log.`,
		Example: "  arf pretrain clip configs/pretrain-icon-clip.yaml --out runs/pretrain-icon-clip",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := pretrain.ReadConfig(args[0])
			if err != nil {
				return err
			}
			if steps > 0 {
				cfg.Train.Steps = steps
			}
			if cmd.Flags().Changed("seed") {
				cfg.Seed = seed
			}
			device, err := s.engine()
			if err != nil {
				return err
			}
			dtype, err := parsePrecision(precision, device)
			if err != nil {
				return err
			}
			pairs, err := dataset.OpenPairs(cmd.Context(), cfg.Data)
			if err != nil {
				return err
			}
			heldOut, err := dataset.OpenPairs(cmd.Context(), cfg.HeldOut)
			if err != nil {
				return err
			}
			model, err := pretrain.NewModel(cfg, pairs, out)
			if err != nil {
				return err
			}
			t := cfg.Train
			bar := newProgress("pretrain", t.Steps)
			hash, err := cfg.Hash(cmd.Context(), pairs)
			if err != nil {
				return err
			}
			err = pretrain.Run(cmd.Context(), model, pairs, pretrain.Options{
				BatchSize: t.BatchSize, Steps: t.Steps, LR: t.LR, WarmupSteps: t.WarmupSteps, Cooldown: t.Cooldown,
				WeightDecay: t.WeightDecay, GradClip: t.GradClip, Augment: cfg.Augment(), AlternateTexts: t.AlternateTexts,
				WordWeight: t.WordWeight, WordSteps: t.WordSteps, Seed: cfg.Seed, Precision: dtype, Device: device,
				Workers: runtime.NumCPU(), CacheBytes: t.CacheMiB << 20, CheckpointEvery: t.CheckpointEvery, KeepCheckpoints: 2,
				HeldOut: heldOut, ValidateEvery: t.ValidateEvery,
				Dir: out, Hash: hash, StopAfter: stopAfter, Progress: bar.step,
			})
			if err != nil {
				return err
			}
			h, err := pretrain.Measure(cmd.Context(), model, heldOut, dtype)
			if err != nil {
				return err
			}
			fmt.Printf("held-out pairs: top-1 %.1f%%, top-5 %.1f%% of %d images among %d texts\n", 100*h.Top1, 100*h.Top5, h.Images, h.Texts)
			return pretrain.Export(out, model, pretrain.Training{
				Command: strings.Join(os.Args, " "), Config: cfg, Pairs: pairs.Len(), Precision: dtype.String(), HeldOut: h,
			})
		},
	}
	c.Flags().StringVar(&out, "out", "runs/pretrain-clip", "run folder: checkpoints, metrics.jsonl, model")
	c.Flags().StringVar(&precision, "precision", "auto", "of the towers: auto, bf16 or fp32")
	c.Flags().IntVar(&steps, "steps", 0, "steps of the whole run, in place of the config's")
	c.Flags().Uint64Var(&seed, "seed", 0, "in place of the config's")
	c.Flags().IntVar(&stopAfter, "stop-after", 0, "stop after that many steps, resumable")
	return c
}

// parsePrecision reads a precision; auto is bf16 where the device computes it.
func parsePrecision(name string, d torch.Device) (torch.DType, error) {
	switch name {
	case "auto":
		return train.AutoPrecision(d), nil
	case "bf16":
		return torch.BFloat16, nil
	}
	return torch.Float32, checkPrecision(name)
}

func checkPrecision(name string) error {
	if !slices.Contains([]string{"auto", "bf16", "fp32"}, name) {
		return fmt.Errorf("--precision %q: want auto, bf16 or fp32", name)
	}
	return nil
}
