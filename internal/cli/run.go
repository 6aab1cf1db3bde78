package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"arf/anchor"
	"arf/config"
	"arf/corpus"
	"arf/dist"
	"arf/pipeline"
	"arf/report"
	"arf/train"

	"github.com/spf13/cobra"
)

// runFlags are the flags of all commands that work on a config.
type runFlags struct {
	sets    []string
	methods []string
	quiet   bool
	profile int // steps to measure instead of training; see newFinetune
}

func (f *runFlags) add(c *cobra.Command) {
	c.Flags().StringArrayVar(&f.sets, "set", nil, "override a key of the config, as in --set train.lr=1e-5 (repeatable)")
	completeKeys(c, "set")
	c.Flags().StringSliceVar(&f.methods, "method", nil, "methods in place of the config's, in the report too, comma-separated: "+list(config.Methods))
	c.Flags().BoolVar(&f.quiet, "quiet", false, "no progress")
}

func list[T ~string](items []T) string {
	var names []string
	for _, s := range items {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// newRun makes the commands that go through a config's steps up to last.
func newRun(s *settings, use, short, long, example string, last pipeline.Step) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: use + " CONFIG", Short: short, Long: long, Example: example, Args: oneConfig,
		Annotations: map[string]string{together: "yes"},
		RunE:        func(cmd *cobra.Command, args []string) error { return f.run(cmd, s, args[0], last) },
	}
	f.add(c)
	return c
}

// newFinetune also measures instead of training.
func newFinetune(s *settings) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use: "finetune CONFIG", Short: "Finetune every method and seed of a config",
		Long: `Write train/<method>/seed-<s>/model, a folder that loads in Python too.
Steps that it needs and that aren't done yet are done first.

--profile trains nothing: it measures where the time of a few training steps of
the first method goes, prints tables and writes profile.json. What is measured
is the time, FLOPs and bytes of libtorch's operators, by phase of the step,
beside what the machine reaches at best. Of several processes it measures
rank 0, and tells how the sums of gradients overlap with the backward pass.`,
		Example:     "  arf finetune configs/own-data.yaml --method arf\n  arf finetune configs/own-data.yaml --method arf --profile",
		Args:        oneConfig,
		Annotations: map[string]string{together: "yes"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.profile < 0 {
				return fmt.Errorf("--profile %d: want the number of steps to measure, 1 or more", f.profile)
			}
			return f.run(cmd, s, args[0], pipeline.Finetune)
		},
	}
	f.add(c)
	c.Flags().IntVar(&f.profile, "profile", 0, "measure that many training `steps` instead of training (10 if no number is given)")
	c.Flags().Lookup("profile").NoOptDefVal = "10"
	return c
}

func (f *runFlags) run(cmd *cobra.Command, s *settings, path string, last pipeline.Step) error {
	cfg, err := config.Load(path, f.overrides(cmd, s)...)
	if err != nil {
		return err
	}
	if err := cfg.CheckFiles(); err != nil {
		return err
	}
	return inGroup(cmd.Context(), cfg.Device, cfg.Threads, func(ctx context.Context, g *dist.Group) error {
		return f.runIn(ctx, g, cfg, last)
	})
}

// runIn is one process's part of a run; rank 0's speaks for all.
func (f *runFlags) runIn(ctx context.Context, g *dist.Group, cfg *config.Config, last pipeline.Step) error {
	o := pipeline.Options{Version: version(), Command: strings.Join(os.Args, " "), Group: g, ProfileSteps: f.profile}
	if !g.Leads() {
		return pipeline.Run(ctx, cfg, last, o)
	}
	o.Out = os.Stdout
	if !f.quiet {
		o.Stage, o.Fetch = stages(), downloads()
		o.Training = func(name string, steps int) func(train.Metrics) { return newProgress(name, steps).step }
	}
	if err := pipeline.Run(ctx, cfg, last, o); err != nil {
		return err
	}
	dir := pipeline.Dir(cfg)
	if last == pipeline.Captions && cfg.NeedsCaptions() {
		summary, err := anchor.ReadCaptionSummary(filepath.Join(dir, "anchors", "captions.jsonl"))
		if err != nil {
			return err
		}
		if err := summary.Report(os.Stdout); err != nil {
			return err
		}
		gates, err := pipeline.CaptionGates(cfg)
		if err != nil {
			return err
		}
		if err := gates.Report(os.Stdout); err != nil {
			return err
		}
	}
	if last == pipeline.Evaluate {
		results, err := report.Load(dir)
		if err != nil {
			return err
		}
		if err := results.Table(os.Stdout); err != nil {
			return err
		}
	}
	if f.profile > 0 {
		fmt.Println("\n" + pipeline.ProfilePath(cfg))
		return nil
	}
	if last == "" {
		fmt.Println("report: " + filepath.Join(dir, "report.html"))
	} else {
		fmt.Println(dir)
	}
	return nil
}

// overrides puts the global flags that were given before --set's.
func (f *runFlags) overrides(cmd *cobra.Command, s *settings) []string {
	var sets []string
	if cmd.Flags().Changed("device") {
		sets = append(sets, "device="+s.device)
	}
	if cmd.Flags().Changed("threads") {
		sets = append(sets, fmt.Sprintf("threads=%d", s.threads))
	}
	if len(f.methods) > 0 {
		sets = append(sets, "methods=["+strings.Join(f.methods, ", ")+"]")
	}
	return append(sets, f.sets...)
}

// quickSets make the demo a short run of the same path: few images and steps.
// Its numbers mean nothing.
var quickSets = []string{
	"name=icons-quick", "data.finetune.limit=300", "data.pool.limit=3000", "train.epochs=1", "train.warmup_steps=1",
	"anchors.captions.per_image=2", "eval.wise_alphas=[0, 0.5, 1]", "eval.drift.samples=300",
}

func newDemo(s *settings) *cobra.Command {
	var f runFlags
	var quick bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run the whole method on the icon benchmark, from data to report",
		Long: `Run the whole method on the icon benchmark (configs/icons.yaml): build the data,
write captions, retrieve pairs, finetune, evaluate, report. Steps whose result
is there are skipped, so that a second run takes seconds.`,
		Example: "  arf demo\n  arf demo --set seeds=[0,1,2] --set name=three-seeds",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			const data, path = "data/icons", "configs/icons.yaml"
			if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("%s is not here; run arf demo in the repository's folder", path)
			}
			manifest, err := corpus.Build(cmd.Context(), corpus.Options{Out: data, Progress: stages()})
			if err != nil {
				return fmt.Errorf("build %s: %w", data, err)
			}
			if err := printManifest(manifest); err != nil {
				return err
			}
			if quick {
				f.sets = append(append([]string{}, quickSets...), f.sets...)
			}
			return f.run(cmd, s, path, "")
		},
	}
	f.add(c)
	c.Flags().BoolVar(&quick, "quick", false, "few images and steps, to see that everything works; the numbers mean nothing")
	return c
}

// oneConfig wants the one argument that these commands have.
func oneConfig(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("give one CONFIG file, as in: %s my.yaml (configs/own-data.yaml explains its keys)", cmd.CommandPath())
	}
	return nil
}
