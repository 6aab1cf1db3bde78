package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"arf/captioner"
	"arf/clip"
	"arf/corpus"
	"arf/dataset"
	"arf/train"

	"github.com/spf13/cobra"
)

func newPretrainCaptioner(s *settings) *cobra.Command {
	var clipDir, data, heldOut, out, precision string
	var stopAfter int
	c := &cobra.Command{
		Use:   "captioner RECIPE",
		Short: "Train a small captioner for the image tower of a CLIP",
		Long: `Train a small captioner for the frozen image tower of a CLIP. The tower's
features are computed once and kept in OUT/features. The run can be stopped at
any time; the same command goes on with it. The model is written to OUT/model
and belongs to that CLIP: it is looked for beside the captioner's folder.`,
		Example: "  arf pretrain captioner configs/pretrain-icon-captioner.yaml --clip models/icon-clip --out runs/pretrain-icon-captioner",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			recipe, err := captioner.ReadRecipe(args[0])
			if err != nil {
				return err
			}
			device, err := s.engine()
			if err != nil {
				return err
			}
			o := recipe.Options()
			if o.Precision, err = parsePrecision(precision, device); err != nil {
				return err
			}
			if data != "" {
				recipe.Data = dataset.Source{Path: data}
			}
			if heldOut != "" {
				recipe.HeldOut = dataset.Source{Path: heldOut}
			}
			pairs, err := dataset.OpenPairs(cmd.Context(), recipe.Data)
			if err != nil {
				return err
			}
			if recipe.HeldOut.Path != "" {
				if o.Heldout, err = dataset.OpenPairs(cmd.Context(), recipe.HeldOut); err != nil {
					return err
				}
			}
			o.DataHash = corpusHash(recipe.Data.Path)
			if clipDir, err = findModel(cmd.Context(), clipDir); err != nil {
				return err
			}
			tower, err := clip.Load(clipDir, device)
			if err != nil {
				return err
			}
			show := stages()
			o.Encoding = func(what string, view, done, total int) {
				show(fmt.Sprintf("encode %s, view %d", what, view), done, total)
			}
			var bar *progress
			o.Planned = func(steps int) { bar = newProgress("captioner", steps) }
			o.Progress = func(m train.Metrics) { bar.step(m) }
			o.Dir, o.CLIPDir, o.StopAfter, o.Command = out, clipDir, stopAfter, strings.Join(os.Args, " ")
			if err := captioner.Train(cmd.Context(), tower, pairs, o); err != nil {
				return err
			}
			fmt.Println(filepath.Join(out, "model"))
			return nil
		},
	}
	c.Flags().StringVar(&clipDir, "clip", "models/icon-clip", "the CLIP whose image tower it looks through: a folder, or organisation/name of the Hugging Face hub")
	c.Flags().StringVar(&data, "data", "", "image-text pairs in place of the recipe's")
	c.Flags().StringVar(&heldOut, "held-out", "", "held-out pairs in place of the recipe's")
	c.Flags().StringVar(&out, "out", "runs/pretrain-captioner", "run folder: features, checkpoints, metrics.jsonl, model")
	c.Flags().StringVar(&precision, "precision", "auto", "of the forward pass: auto, bf16 or fp32")
	c.Flags().IntVar(&stopAfter, "stop-after", 0, "stop after that many steps, resumable")
	return c
}

// corpusHash is the hash that the manifest beside a part of the icon corpus
// has for it, images included; "" for other data.
func corpusHash(path string) string {
	manifest, err := corpus.LoadManifest(filepath.Dir(path))
	if err != nil {
		return ""
	}
	return manifest.Parts[filepath.Base(path)].SHA256
}
