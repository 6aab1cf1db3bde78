package cli

import (
	"fmt"
	"os"
	"path/filepath"

	"arf/clip"
	"arf/eval"
	"arf/torch"

	"github.com/spf13/cobra"
)

func newInterpolate(s *settings) *cobra.Command {
	var out string
	var alpha float64
	c := &cobra.Command{
		Use:   "interpolate PRETRAINED FINETUNED",
		Short: "Average the weights of two models (WiSE-FT)",
		Long: `Write the model (1-alpha)*PRETRAINED + alpha*FINETUNED, which often keeps most of
the finetuned accuracy and regains much of what finetuning lost (WiSE-FT,
Wortsman et al. 2022). A run measures the whole curve by itself: eval.wise_alphas.`,
		Example: "  arf interpolate models/icon-clip runs/icons/train/arf/seed-0/model --alpha 0.5 --out wise",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			device, err := s.engine()
			if err != nil {
				return err
			}
			if _, err := os.Stat(out); err == nil {
				return fmt.Errorf("--out %s is there already; give a new folder", out)
			}
			for i, ref := range args {
				dir, err := findModel(cmd.Context(), ref)
				if err != nil {
					return err
				}
				args[i] = dir
				if _, err := os.Stat(filepath.Join(dir, "head.safetensors")); err == nil {
					return fmt.Errorf("%s has a linear classifier beside its towers (method ft), which one folder of weights can't average; set eval.wise_alphas and use arf eval", dir)
				}
			}
			pretrained, err := clip.Load(args[0], device)
			if err != nil {
				return err
			}
			finetuned, err := clip.Load(args[1], device)
			if err != nil {
				return err
			}
			model, err := eval.Interpolate(pretrained, finetuned, alpha)
			if err != nil {
				return err
			}
			if err := model.Save(out, torch.Float32, map[string]string{"wise_alpha": fmt.Sprint(alpha)}); err != nil {
				return err
			}
			if err := eval.CopyZeroShot(args[1], out); err != nil {
				return err
			}
			fmt.Println(out)
			return nil
		},
	}
	c.Flags().Float64Var(&alpha, "alpha", 0.5, "share of the finetuned weights, 0 to 1")
	c.Flags().StringVar(&out, "out", "", "folder of the new model")
	_ = c.MarkFlagRequired("out")
	return c
}
