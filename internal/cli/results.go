package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"arf/internal/atomicfile"
	"arf/results"

	"github.com/spf13/cobra"
)

func newResults() *cobra.Command {
	var sweep []string
	var out string
	c := &cobra.Command{
		Use:   "results RUN...",
		Short: "Compare methods over runs of several pretrained models: tables, intervals, figures",
		Long: `Compare methods over runs of one config with several seeds and pretrained models.
Writes OUT/results.json, the figures OUT/results-shift.svg and
OUT/results-zero-shot.svg, and the tables of OUT/results.md where that is there:
those between <!-- results: NAME --> and <!-- end -->, with NAME main, shifts,
differences, drift or sweep. Intervals are bootstrapped over classes and seeds.`,
		Example: "  arf results runs/icons --sweep runs/icons --sweep runs/icons-lr-1e-4 --sweep runs/icons-lr-1e-3 --out docs",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return writeResults(args, sweep, out)
		},
	}
	c.Flags().StringArrayVar(&sweep, "sweep", nil, "run of some learning rate, for the figures' curves; give the main runs too (repeatable)")
	c.Flags().StringVar(&out, "out", "results", "folder to write into")
	return c
}

func newCompare() *cobra.Command {
	return &cobra.Command{
		Use:     "compare RUN...",
		Short:   "Print a table of runs: the settings in which they differ, and their accuracies",
		Example: "  arf compare runs/lr-*",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			table, err := results.Settings(args...)
			if err == nil {
				fmt.Print(table)
			}
			return err
		},
	}
}

func writeResults(runs, sweep []string, out string) error {
	table, err := results.Load(runs...)
	if err != nil {
		return err
	}
	comparisons, err := table.Compare()
	if err != nil {
		return err
	}
	points, err := results.Sweep(sweep...)
	if err != nil {
		return err
	}
	files := map[string][]byte{}
	if files["results.json"], err = table.JSON(comparisons, points); err != nil {
		return err
	}
	files["results.json"] = append(files["results.json"], '\n')
	for _, axis := range []results.Axis{results.Shift, results.ZeroShot} {
		if files["results-"+string(axis)+".svg"], err = table.Figure(axis, points); err != nil {
			return err
		}
	}
	const document = "results.md"
	if text, err := os.ReadFile(filepath.Join(out, document)); err == nil {
		filled, err := table.Document(string(text), comparisons, points)
		if err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(out, document), err)
		}
		files[document] = []byte(filled)
	} else if !os.IsNotExist(err) {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for _, name := range sortedKeys(files) {
		path := filepath.Join(out, name)
		if err := atomicfile.Write(path, files[name], 0o644); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		fmt.Println(path)
	}
	return nil
}
