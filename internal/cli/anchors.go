package cli

import (
	"fmt"
	"os"

	"arf/pipeline"

	"github.com/spf13/cobra"
)

func newAnchors() *cobra.Command {
	c := &cobra.Command{Use: "anchors", Short: "Look at what each finetune image is anchored to"}
	pictures := 500
	show := &cobra.Command{
		Use:   "show RUN",
		Short: "Write anchors.html: images, class prompts, captions, retrieved pairs, and what was left out",
		Long: `Write anchors.html into a run folder: one page, which works offline, of all
finetune images with their class prompts, captions and retrieved pairs with
scores, and of what was left out of the pool and why. It needs the run's arf
caption or arf retrieve, no training. Pictures make the page large, about 50 kB
for an image with ten pairs; images without them show their texts.`,
		Example: "  arf anchors show runs/icons\n  arf anchors show runs/birds --pictures -1",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if info, err := os.Stat(args[0]); err != nil || !info.IsDir() {
				return fmt.Errorf("%s is no run folder; give one, such as runs/icons (arf run CONFIG makes it)", args[0])
			}
			path, err := pipeline.Anchors(cmd.Context(), args[0], pictures)
			if err != nil {
				return err
			}
			fmt.Println(path)
			return nil
		},
	}
	show.Flags().IntVar(&pictures, "pictures", pictures, "finetune images shown with pictures, in turn from each class (-1 = all)")
	var by string
	compare := &cobra.Command{
		Use:   "compare RUN...",
		Short: "Print a table of what the retrieved pairs of runs consist of",
		Long: `Print a table of what the retrieved pairs of runs consist of: how many are
different, how many different texts they have, how many name the class of the
image that they were found for. With --by, also the shares of a property in the
pool's metadata, such as its style or license, beside the pool's own.`,
		Example: "  arf anchors compare runs/icons --by style",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			table, err := pipeline.ComparePairs(cmd.Context(), by, args...)
			if err == nil {
				fmt.Print(table)
			}
			return err
		},
	}
	compare.Flags().StringVar(&by, "by", "", "property in the pool's metadata whose values become columns")
	c.AddCommand(show, compare)
	return c
}
