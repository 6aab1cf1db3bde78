package cli

import (
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"arf/corpus"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

func newData() *cobra.Command {
	c := &cobra.Command{Use: "data", Short: "Build data sets"}
	var out string
	icons := &cobra.Command{
		Use:   "icons",
		Short: "Build the icon corpus from the npm package @iconify/json",
		Long: `Build the icon corpus: pretraining corpus, candidate pool, finetune set, and
tests in distribution, under domain shift and zero-shot. docs/benchmark.md says
how. A build that was stopped goes on; a finished one is left as it is.`,
		Example: "  npm ci --prefix corpus/draw\n  arf data icons --out data/icons",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			manifest, err := corpus.Build(cmd.Context(), corpus.Options{Out: out, Progress: stages()})
			if err != nil {
				return err
			}
			return printManifest(manifest)
		},
	}
	icons.Flags().StringVar(&out, "out", "data/icons", "folder of the corpus")
	c.AddCommand(icons)
	return c
}

func printManifest(m *corpus.Manifest) error {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%s %s\timages\tclasses\tsets\tsha256\n", m.Package, m.Version)
	for _, name := range sortedKeys(m.Parts) {
		p := m.Parts[name]
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.12s\n", name, p.Images, p.Classes, p.Sets, p.SHA256)
	}
	return w.Flush()
}

// stages shows work that goes through named stages: a bar each on a terminal,
// else a line when a stage begins and every few seconds.
func stages() func(stage string, done, total int) {
	var current string
	var bar *progressbar.ProgressBar
	var last time.Time
	shown := -1
	onTerminal := term.IsTerminal(int(os.Stderr.Fd()))
	return func(stage string, done, total int) {
		begins := stage != current
		if onTerminal {
			if begins {
				bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetDescription(stage),
					progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionThrottle(200*time.Millisecond),
					progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(24))
			}
			_ = bar.Set(done)
		} else if now := time.Now(); begins || done == total && shown != total || now.Sub(last) >= lineEvery {
			last, shown = now, done
			fmt.Fprintf(os.Stderr, "%s %d/%d\n", stage, done, total)
		}
		current = stage
	}
}
