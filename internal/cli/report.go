package cli

import (
	"fmt"
	"os"

	"arf/pipeline"

	"github.com/spf13/cobra"
)

func newReport() *cobra.Command {
	return &cobra.Command{
		Use:     "report RUN",
		Short:   "Write report.html, results.json and results.csv of a run folder",
		Example: "  arf report runs/icons",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if info, err := os.Stat(args[0]); err != nil || !info.IsDir() {
				return fmt.Errorf("%s is no run folder; give one, such as runs/icons (arf run CONFIG makes it)", args[0])
			}
			path, err := pipeline.Report(cmd.Context(), args[0], os.Stdout)
			if err != nil {
				return err
			}
			fmt.Println(path)
			return nil
		},
	}
}
